"""svcdns, and kube-apiserver with etcd and CoreDNS, as kubernetes.py starts them: the same to a client.

Both serve TLS with the same certificate and know one user by a token; both write where they are told to.
What is not said here is as each comes: svcdns with two workers and its audit log, kube-apiserver with a
watch cache, priority and fairness, and no audit log.  No controllers run beside kube-apiserver (it would
take kube-controller-manager to make EndpointSlices of Pods), so the admission plugin that wants a
ServiceAccount for Pods is off.

Rules: `start` returns when a client could write and DNS answers, `stop` when no process is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cpu_per_query import Place
from measuring import Calls, RunningServer, wait_for
from toolbox.calls import Broken
from toolbox.running_server import svcdns
from toolbox.waiting import GUARD_SECONDS

PROGRAMS = {"KUBE_APISERVER": "kube-apiserver", "ETCD": "etcd", "COREDNS": "coredns"}
"""Variables that name a program, and its name in PATH."""
CLUSTER_IPS = "10.96.0.0/12"


@dataclass(frozen=True)
class Credentials:
    """A certificate for 127.0.0.1, who signed it, and the token of a user who may do everything."""

    folder: Path
    token: str

    def file(self, name: str) -> Path:
        """Return a file of `svcdns certs`."""
        return self.folder / "certs" / name


class Site(Protocol):
    """What a client can do with either."""

    name: str

    def start(self) -> None:
        """Start it, again perhaps, with the data that it has."""

    def stop(self) -> None:
        """End it as a service manager would."""

    def close(self) -> None:
        """End it in any case."""

    def check(self) -> None:
        """Raise AssertionError, with its log, where one of its programs has ended by itself."""

    def calls(self) -> Calls:
        """Return a client of its API, with a connection of its own."""

    def dns(self) -> Place:
        """Return where it answers DNS."""

    def roots(self) -> Mapping[str, int]:
        """Return the first process of each program."""


def made_credentials(folder: Path) -> Credentials:
    """Make a CA, a certificate and a token in a folder.  Raises AssertionError with what the command says."""
    certs = svcdns("certs", "init", "--dir", folder / "certs", "--host", "127.0.0.1")
    assert certs.returncode == 0, certs.stderr
    token = svcdns("token", "create", "--file", folder / "tokens", "--name", "bench", "--role", "admin")
    assert token.returncode == 0, token.stderr
    return Credentials(folder, token.stdout.strip())


def found_programs() -> dict[str, str]:
    """Return where the programs of Kubernetes are.  Raises LookupError with those that are missing."""
    found = {name: shutil.which(os.environ.get(name, program)) for name, program in PROGRAMS.items()}
    missing = [f"{PROGRAMS[name]} (or {name}=PATH)" for name, path in found.items() if path is None]
    if missing:
        raise LookupError(f"not found: {', '.join(missing)}")
    return {name: path for name, path in found.items() if path}


class _Client:
    """Clients that trust the certificate and show the token."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._tls = ssl.create_default_context(cafile=str(credentials.file("ca.crt")))

    def to(self, url: str) -> Calls:
        return Calls(url, self._tls, self.credentials.token)


class Svcdns:
    """`svcdns serve` with two workers."""

    name = "svcdns"

    def __init__(self, credentials: Credentials, folder: Path) -> None:
        """`folder` holds its data, and is there."""
        self._client = _Client(credentials)
        config = f'[api]\ntls_cert = "{credentials.file("server.crt")}"\n'
        config += (
            f'tls_key = "{credentials.file("server.key")}"\ntokens = "{credentials.folder / "tokens"}"\n'
        )
        self._server = RunningServer(workers=2, config=config, data=folder / "data")

    def start(self) -> None:
        """Start it."""
        self._server.launch()
        wait_for(lambda: self._server._addresses() is not None, "svcdns to listen")

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    def close(self) -> None:
        """End it in any case, and remove what its configuration stands in."""
        self._server.close()

    def check(self) -> None:
        """Raise AssertionError where it has ended."""
        assert self._server.process is not None
        assert self._server.process.poll() is None, f"svcdns ended:\n{self._server.log()[-2000:]}"

    def calls(self) -> Calls:
        """Return a client."""
        return self._client.to(self._server.api.replace("http:", "https:"))

    def dns(self) -> Place:
        """Return where it answers."""
        return self._server.dns

    def roots(self) -> Mapping[str, int]:
        """Return the supervisor."""
        assert self._server.process is not None
        return {"svcdns": self._server.process.pid}


class Kubernetes:
    """etcd, kube-apiserver and CoreDNS; a restart has the same ports."""

    name = "kube-apiserver, etcd, CoreDNS"

    def __init__(self, credentials: Credentials, folder: Path, programs: Mapping[str, str]) -> None:
        """`folder` holds its data, and is there."""
        self._client = _Client(credentials)
        self._folder, self._programs = folder, programs
        self._etcd, self._peer, self._api, self._dns = _kept_ports(4)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "users.csv").write_text(f'{credentials.token},bench,1,"system:masters"\n')
        (folder / "kubeconfig").write_text(json.dumps(self._kubeconfig()))
        (folder / "Corefile").write_text(
            f"cluster.local:{self._dns} {{\n  bind 127.0.0.1\n  errors\n"
            f"  kubernetes cluster.local {{\n    kubeconfig {folder / 'kubeconfig'} bench\n  }}\n}}\n"
        )

    def start(self) -> None:
        """Start etcd and kube-apiserver at once, CoreDNS when the API is ready."""
        self._run("ETCD", self._etcd_flags())
        self._run("KUBE_APISERVER", self._api_flags())
        wait_for(self._is_ready, "kube-apiserver to be ready", GUARD_SECONDS)
        self._run("COREDNS", ["-conf", str(self._folder / "Corefile")])

    def stop(self) -> None:
        """End all, who reads before who is read."""
        for name in ("COREDNS", "KUBE_APISERVER", "ETCD"):
            if (process := self._running.pop(name, None)) is not None:
                process.terminate()
                process.wait()

    close = stop

    def check(self) -> None:
        """Raise AssertionError where one has ended."""
        for name, process in self._running.items():
            log = self._folder / f"{name}.log"
            assert process.poll() is None, f"{PROGRAMS[name]} ended:\n{log.read_text()[-2000:]}"

    def calls(self) -> Calls:
        """Return a client."""
        return self._client.to(f"https://127.0.0.1:{self._api}")

    def dns(self) -> Place:
        """Return where CoreDNS answers."""
        return "127.0.0.1", self._dns

    def roots(self) -> Mapping[str, int]:
        """Return all three."""
        return {PROGRAMS[name]: process.pid for name, process in self._running.items()}

    def _run(self, name: str, flags: Sequence[str]) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen([self._programs[name], *flags], stdout=log, stderr=log)

    def _is_ready(self) -> bool:
        self.check()
        calls = self.calls()
        try:
            return calls.call("GET", "/api/v1/namespaces/default")[0] == 200
        except (*Broken, ValueError):
            return False
        finally:
            calls.close()

    def _etcd_flags(self) -> list[str]:
        clients, peers = (f"http://127.0.0.1:{port}" for port in (self._etcd, self._peer))
        flags = {
            "data-dir": self._folder / "etcd",
            "listen-client-urls": clients,
            "advertise-client-urls": clients,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"default={peers}",
        }
        return list(_flags(flags))

    def _api_flags(self) -> list[str]:
        made = self._client.credentials
        flags = {
            "etcd-servers": f"http://127.0.0.1:{self._etcd}",
            "bind-address": "127.0.0.1",
            "secure-port": self._api,
            "tls-cert-file": made.file("server.crt"),
            "tls-private-key-file": made.file("server.key"),
            "token-auth-file": self._folder / "users.csv",
            "authorization-mode": "RBAC",
            "service-cluster-ip-range": CLUSTER_IPS,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-signing-key-file": made.file("server.key"),
            "service-account-key-file": made.file("server.crt"),
            "endpoint-reconciler-type": "none",
            "disable-admission-plugins": "ServiceAccount",
            "cert-dir": self._folder / "certs",
        }
        return list(_flags(flags))

    def _kubeconfig(self) -> dict[str, object]:
        made = self._client.credentials
        place = {
            "server": f"https://127.0.0.1:{self._api}",
            "certificate-authority": str(made.file("ca.crt")),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bench", "cluster": place}],
            "users": [{"name": "bench", "user": {"token": made.token}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
            "current-context": "bench",
        }


def _kept_ports(many: int) -> list[int]:
    """Return free ports that no outgoing socket is given meanwhile: below those of ip_local_port_range."""
    found: list[int] = []
    while len(found) < many:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found += [port] if port not in found else []
    return found


def _flags(values: Mapping[str, object]) -> Iterator[str]:
    return (f"--{name}={value}" for name, value in values.items())
