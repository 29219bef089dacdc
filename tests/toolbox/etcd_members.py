"""etcd of several members in a test, each on loopback or on a host of its own, and what befalls them."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from toolbox.hosts import Host
from toolbox.running_etcd import free_port
from toolbox.waiting import GUARD_SECONDS, wait_for


class Member:
    """One member; what it stores stays from one `start` to the next."""

    def __init__(self, name: str, folder: Path, address: str = "127.0.0.1", host: Host | None = None) -> None:
        """Start nothing yet; without a host it is on loopback, on ports that the kernel chose."""
        self.name, self.host, self.address = name, host, address
        ports = (2379, 2380) if host is not None else (free_port(), free_port())
        self.client, self.peer = (f"http://{address}:{port}" for port in ports)
        self._folder, self._log = folder / name, folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self, cluster: str, *more: str, state: str = "new") -> None:
        """Start it without waiting for anything; `cluster` says which members there are."""
        command = [
            *("etcd", "--data-dir", str(self._folder), "--name", self.name),
            *("--listen-client-urls", self.client, "--advertise-client-urls", self.client),
            *("--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.peer),
            *("--initial-cluster", cluster, "--initial-cluster-state", state, *more),
        ]
        command = self.host.command(*command) if self.host is not None else command
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def answers(self) -> bool:
        """Whether it is a part of what has a leader."""
        assert self.process is not None
        assert self.process.poll() is None, self._log.read_text()[-4000:]
        entered = self.host.entered() if self.host is not None else contextlib.nullcontext()
        try:
            with entered, urllib.request.urlopen(f"{self.client}/health", timeout=5) as answer:
                return b"true" in answer.read()
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(GUARD_SECONDS)

    def forget(self) -> None:
        """Have it lose what it stores."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Members:
    """A context manager that starts and stops all of them."""

    def __init__(
        self, hosts: Sequence[tuple[Host, str]] = (), count: int = 3, arguments: Sequence[str] = ()
    ) -> None:
        """`hosts` are such with their addresses, without them `count` members are on loopback."""
        self._folder = Path(tempfile.mkdtemp(prefix="etcd-members-"))
        self._arguments = arguments
        places = [(address, host) for host, address in hosts] or [("127.0.0.1", None)] * count
        self.all = [
            Member(f"m{number}", self._folder, *place) for number, place in enumerate(places, start=1)
        ]
        self.endpoints = [member.client for member in self.all]

    @property
    def _cluster(self) -> str:
        return ",".join(f"{member.name}={member.peer}" for member in self.all)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.all:
            member.kill()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start all, again perhaps, and return when all answer."""
        for member in self.all:
            member.launch(self._cluster, *self._arguments)
        for member in self.all:
            wait_for(member.answers, f"{member.name} to answer")

    def restart(self, member: Member) -> None:
        """Start one that was killed, and return when it answers."""
        member.launch(self._cluster, *self._arguments)
        wait_for(member.answers, f"{member.name} to answer")

    def replace(self, member: Member) -> None:
        """Take one that was killed out, and have one that knows nothing in its place."""
        others = [other for other in self.all if other is not member]
        member.forget()
        wait_for(lambda: self._is_anew(member, others), f"{member.name} to be replaced")
        member.launch(self._cluster, *self._arguments, state="existing")
        wait_for(member.answers, f"{member.name} to answer")

    def _is_anew(self, member: Member, others: Sequence[Member]) -> bool:
        """Take a step towards that; etcd refuses them until those who are left have found to each other."""
        with contextlib.suppress(subprocess.CalledProcessError):
            known = json.loads(self.ctl(others, "member", "list", "-w", "json"))["members"]
            (stands,) = [one for one in known if member.peer in one["peerURLs"]] or [None]
            if stands is None:
                self.ctl(others, "member", "add", member.name, f"--peer-urls={member.peer}")
            elif "name" in stands:  # of what has run
                self.ctl(others, "member", "remove", f"{stands['ID']:x}")
            else:
                return True
        return False

    def leader(self) -> Member:
        """Return who leads now."""

        def found() -> Member | None:
            for member in self.all:
                with contextlib.suppress(subprocess.CalledProcessError, ValueError, LookupError):
                    (status,) = json.loads(self.ctl([member], "endpoint", "status", "-w", "json"))
                    if status["Status"]["leader"] == status["Status"]["header"]["member_id"]:
                        return member
            return None

        leader = wait_for(found, "a leader")
        assert leader is not None
        return leader

    def ctl(self, of: Sequence[Member] | None, *arguments: str) -> str:
        """Run etcdctl where it reaches these members, None: all.  Raises CalledProcessError."""
        members = of or self.all
        endpoints = ",".join(member.client for member in members)
        command = ["etcdctl", f"--endpoints={endpoints}", *arguments]
        if members[0].host is not None:
            command = members[0].host.command(*command)
        env: dict[str, Any] = {**os.environ, "ETCDCTL_API": "3"}
        return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout
