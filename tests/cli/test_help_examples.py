"""The examples of each `--help` do what they say: each line is run, in an order in which they make sense.

Places that are good for reading (/var/lib/svcdns, dns.example.org) stand for those of a server of the test.
"""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli.in_process import svcdns
from cli.test_help import command_at, commands
from toolbox.running_server import PYTHONPATH, SOURCE, RunningServer
from toolbox.waiting import GUARD_SECONDS

from svcdns.client import Client, Connection
from svcdns.objects.kinds import POD, SERVICE

ORDER = (
    *("version", "add", "why", "status", "get", "containers", "query", "queries", "top"),
    *("unready", "ready", "resolvconf"),
    *("cache flush", "kubeconfig", "token create", "token list", "token revoke"),
    *("certs client", "certs server", "check", "backup", "restore", "migrate", "upgrade", "reload"),
    *("apply", "delete", "remove", "register", "wait", "proxy check", "proxy status"),
    *("serve", "certs init"),
)
"""All commands, those last that take something away."""
NOT_RUN = re.compile("dig |docker |podman |svcdns proxy|svcdns containers|.*svcdns wait")
"""Lines that take other programs, a proxy or an engine; tests of the pages, the image, of these run them."""
READING = ("why", "get", "query", "unready", "ready", "delete", "remove")
"""Commands whose examples find these Services; all others begin with nothing."""
THERE = (
    "svcdns add web --port http=80 10.0.0.1",
    "svcdns add web -n shop 10.0.0.2",
    "svcdns add first --port http=80 --cluster-ip=10.96.0.1",
    "svcdns add cache 10.0.0.5",
    "svcdns add nas --alias nas.home.arpa 192.168.1.20",
)
ELSEWHERE = ("serve", "certs init", "register", "wait", "migrate")
"""Commands whose examples have a test of their own (test_register.py; replicas/test_migrate_command.py);
those of `wait` take a proxy."""
ANY_PORT = {"SVCDNS_DNS_LISTEN": "127.0.0.1:0"}
SHELL = re.compile(r"[<>|$&]")


def examples(*path: str) -> list[str]:
    """Return the example lines in the help of a command."""
    command = command_at(path)
    lines = inspect.cleandoc(command.help or "").splitlines()
    return [line.strip() for line in lines if line.startswith("    ") and line.strip()]


@dataclass(frozen=True)
class World:
    """A folder like one in which somebody tries things out: servers, files and certificates."""

    folder: Path
    plain: RunningServer
    secure: RunningServer

    def here(self, example: str) -> str:
        """Return an example for this folder and these servers."""
        data = "restored" if " restore " in example else "svcdns-data"
        for read, meant in (
            ("/var/lib/svcdns", data),
            ("/var/backups/", ""),
            ("/etc/svcdns/svcdns.toml", "svcdns.toml"),
            ("https://dns.example.org:8053", self.secure.api.replace("http:", "https:")),
            ("127.0.0.1:1053", "{}:{}".format(*self.plain.dns)),
            ("pip install --upgrade svcdns && ", ""),
        ):
            example = example.replace(read, meant)
        return example

    def clear(self) -> None:
        """Take away what is registered."""
        with Client(Connection(self.plain.api)) as client:
            for kind in (SERVICE, POD):
                for one in client.list(kind):
                    client.delete(kind, one["metadata"]["name"], one["metadata"]["namespace"])

    def run(self, example: str) -> subprocess.CompletedProcess[str]:
        """Run a line as a shell does."""
        command = self.here(example)
        environ = {"SVCDNS_CA": "certs/ca.crt", "SVCDNS_TOKEN": (self.folder / "token").read_text().strip()}
        if not SHELL.search(command):
            return svcdns(
                *shlex.split(command)[1:], cwd=self.folder, stdin=environ["SVCDNS_TOKEN"], **environ
            )
        return subprocess.run(
            ["bash", "-c", command.replace("svcdns ", f"{sys.executable} -m svcdns ", 1)],
            env={**os.environ, "PYTHONPATH": PYTHONPATH, **environ},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=GUARD_SECONDS,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(SOURCE / "examples", folder / "examples")
    (folder / "web.yaml").write_text(
        "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: None}}"
    )
    (folder / "svcdns.toml").write_text('data = "svcdns-data"\n')
    assert svcdns("certs", "init", "--host", "127.0.0.1", cwd=folder).returncode == 0
    made = svcdns("token", "create", "--name", "me", "--role", "admin", "--file", "tokens", cwd=folder)
    (folder / "token").write_text(made.stdout)
    tls = f"""\
[api]
tls_cert = "{folder}/certs/server.crt"
tls_key = "{folder}/certs/server.key"
client_ca = "{folder}/certs/ca.crt"
tokens = "{folder}/tokens"
"""
    nobody = '[forward]\nupstreams = ["127.0.0.1:1"]\n'
    with ExitStack() as running:
        plain = running.enter_context(RunningServer(workers=1, data=folder / "svcdns-data", config=nobody))
        secure = running.enter_context(RunningServer(workers=1, config=tls + nobody))
        there = World(folder, plain, secure)
        assert there.run("svcdns backup svcdns-2026-01-31.mdb").returncode == 0
        yield there


def test_each_command_has_an_example_and_its_place_in_the_order() -> None:
    leaves = {path for path in commands() if path and not hasattr(command_at(path), "commands")}
    assert {tuple(name.split()) for name in ORDER} == leaves
    assert not [path for path in leaves if not examples(*path)]


@pytest.mark.parametrize("command", [name for name in ORDER if name not in ELSEWHERE])
def test_each_example_does_what_it_says(world: World, command: str) -> None:
    for example in examples(*command.split()):
        if NOT_RUN.match(example):
            continue
        world.clear()
        for line in THERE if command in READING else ():
            assert world.run(line).returncode == 0
        ran = world.run(example)
        assert ran.returncode == 0, (example, ran)


def test_the_examples_of_making_certificates(tmp_path: Path) -> None:
    for example in examples("certs", "init"):
        assert svcdns(*shlex.split(example)[1:], cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("example", examples("serve"))
def test_the_examples_of_serving(tmp_path: Path, example: str) -> None:
    (tmp_path / "svcdns.toml").write_text("")
    meant = {
        "192.0.2.53:53": "127.0.0.1:0",
        "[2001:db8::53]:53": "127.0.0.2:0",
        "/var/lib/svcdns": str(tmp_path / "data"),
        "svcdns.toml": str(tmp_path / "svcdns.toml"),
        "examples": str(SOURCE / "examples"),
    }
    words = [meant.get(word, word) for word in shlex.split(example)[2:]]
    data = tmp_path / "data" if "--data" in words else None
    with RunningServer(workers=1, arguments=words, dns=(), environ=ANY_PORT, data=data) as server:
        assert server.ask("dns-version.cluster.local", "TXT").answer
