"""etcd in a test: members on loopback, on ports that no outgoing socket gets, with data folders of their own.

Or each on a host of its own (`toolbox.hosts`): then `Members` of `toolbox.etcd_members` has what befalls one.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import pytest
from toolbox.hosts import Host
from toolbox.stopping import stop
from toolbox.upstreams import free_port
from toolbox.waiting import GUARD_SECONDS, wait_for


class Member:
    """One member: its process, and where it is asked."""

    def __init__(
        self,
        folder: Path,
        name: str,
        scheme: str,
        options: Sequence[str],
        host: Host | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.name, self.data, self.host, self.address = name, folder / name, host, address
        ports = (2379, 2380) if host is not None else (free_port(), free_port())
        self.client, self.peer = f"{scheme}://{address}:{ports[0]}", f"http://{address}:{ports[1]}"
        self.advertised = self.peer
        """Where it says that its peers reach it: its id follows from that."""
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / f"{name}.log"
        self._options = options

    def command(self, *words: str) -> list[str]:
        """Return the words that run a command where it is."""
        return self.host.command(*words) if self.host is not None else [*words]

    def launch(self, cluster: str, state: str = "new") -> None:
        """Start it without waiting for anything."""
        command = self.command(
            *("etcd", "--data-dir", str(self.data), "--name", self.name, *self._options),
            *("--listen-client-urls", self.client, "--advertise-client-urls", self.client),
            *("--listen-peer-urls", self.peer, "--initial-advertise-peer-urls", self.advertised),
            *("--initial-cluster", cluster, "--initial-cluster-state", state),
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Have it stand still."""
        assert self.process is not None
        stop(self.process.pid)

    def kill(self) -> None:
        """Kill it."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(GUARD_SECONDS)


class RunningEtcd:
    """A context manager that starts and stops it; what it stores stays from one `start` to the next."""

    def __init__(
        self,
        members: int = 1,
        scheme: str = "http",
        options: Sequence[str] = (),
        more: Sequence[str] = (),
        places: Sequence[tuple[Host | None, str]] = (),
        like: Self | None = None,
    ) -> None:
        """`options` are for each member, `more` for etcdctl; `places` are hosts and their addresses.

        `like`: another one, whose ids this one has too, as those have that were begun in the same way.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="etcd-test-"))
        self.members = [
            Member(self._folder, f"m{n}", scheme, options, *place)
            for n, place in enumerate(places or [(None, "127.0.0.1")] * members, start=1)
        ]
        for member, same in zip(self.members, like.members if like else (), strict=False):
            member.advertised = same.advertised
        self.endpoints = [member.client for member in self.members]
        self._more = more

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    @property
    def _cluster(self) -> str:
        return ",".join(f"{member.name}={member.advertised}" for member in self.members)

    def start(self) -> None:
        """Start it, again perhaps, and return when it answers."""
        self.launch()
        wait_for(self._answers, "etcd to answer")

    def launch(self) -> None:
        """Start it without waiting for anything."""
        for member in self.members:
            member.launch(self._cluster)

    def _answers(self) -> bool:
        for member in self.members:
            assert member.process is not None and member.process.poll() is None, member.log.read_text()
        return self._run("endpoint", "health").returncode == 0

    def freeze(self) -> None:
        """Have all members stand still."""
        for member in self.members:
            member.freeze()

    def thaw(self) -> None:
        """Let them go on."""
        for member in self.members:
            member.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill all members."""
        for member in self.members:
            if member.process is not None:
                member.kill()

    def restore(self, snapshot: Path) -> None:
        """End it, go back to what `etcdctl snapshot save` has saved, and start it again; of one member."""
        self.kill()
        [member] = self.members
        shutil.rmtree(member.data)
        restoring = shutil.which("etcdutl") or "etcdctl"  # etcd 3.6 has it in the first one alone
        command = (
            *(restoring, "snapshot", "restore", str(snapshot), "--data-dir", str(member.data)),
            *("--name", member.name, "--initial-cluster", self._cluster),
            *("--initial-advertise-peer-urls", member.advertised),
        )
        env = {**os.environ, "ETCDCTL_API": "3"}
        subprocess.run(command, capture_output=True, check=True, env=env, timeout=GUARD_SECONDS)
        self.start()

    def ctl(self, *arguments: str, stdin: str = "") -> str:
        """Run etcdctl; return what it says."""
        done = self._run_at(self.members, *arguments, stdin=stdin)
        done.check_returncode()
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run_at(self.members, *arguments)

    def _run_at(
        self, members: Sequence[Member], *arguments: str, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        endpoints = ",".join(member.client for member in members)
        command = members[0].command("etcdctl", f"--endpoints={endpoints}", *self._more, *arguments)
        env = {**os.environ, "ETCDCTL_API": "3"}
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=env, timeout=GUARD_SECONDS
        )


@pytest.fixture(scope="module")
def etcd(need: Callable[..., str]) -> Iterator[RunningEtcd]:
    """Give an etcd of one member, for all tests of a module."""
    need("etcd")
    need("etcdctl")
    with RunningEtcd() as running:
        yield running
