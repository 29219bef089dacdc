"""Three members of etcd and three replicas, each on a host of its own, and what can be done to them.

    members 10.99.0.1 to .3      replicas 10.99.0.11 to .13      a switch, from which all are reached

Clients and witnesses are on the replicas' hosts: whoever is cut off from etcd still has them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from toolbox.after_the_end import after_the_end
from toolbox.calls import Calls
from toolbox.etcd_members import Members
from toolbox.hosts import Host, remove, sweep
from toolbox.running_etcd import Member
from toolbox.running_server import RunningServer
from toolbox.shifted_clock import Clock
from toolbox.small_disk import small_disk
from toolbox.stopping import stop
from toolbox.waiting import wait_for
from toolbox.witness import SERVFAIL, A, Answer, connected, make_question, read_answer

DISK = "size=48m"
PREFIX = "/svcdns/"
LOST_SECONDS = 10.0
"""A question that has no answer by then is lost: generous, the machine may be busy."""
DNS, API = ("127.0.0.1", 53), "127.0.0.1:8053"


class Away(NamedTuple):
    """When a replica could not answer, in nanoseconds."""

    began: int
    ended: int


class ReplicaHost(Host):
    """A host with one replica."""

    def __init__(self, short: str, folder: Path, endpoints: Sequence[str], clock: Clock) -> None:
        """Start nothing yet; `folder` is a file system with little room for the map."""
        super().__init__()
        self.short, self.disk, self.clock = short, folder, clock
        named = ", ".join(f'"{one}"' for one in endpoints)
        self.server = RunningServer(
            workers=1,
            config=f'[store]\netcd = [{named}]\netcd_prefix = "{PREFIX}"\n',
            arguments=("--api", API),
            environ=clock.environ,
            data=folder / "data",
            dns=(f"{DNS[0]}:{DNS[1]}",),
            command=self.command(sys.executable, "-m", "svcdns"),
        )
        self.away: list[Away] = []
        self._left = 0

    @property
    def is_away(self) -> bool:
        """Whether it can't answer now."""
        return bool(self._left)

    def was_away(self, began: int, ended: int) -> bool:
        """Whether it could not answer at any time from one moment to another one."""
        spans = [*self.away, Away(self._left, ended)] if self._left else self.away
        return any(span.began <= ended and began <= span.ended for span in spans)

    def leave(self) -> None:
        """Note that it can't answer from now on."""
        self._left = time.monotonic_ns()

    def be_back(self) -> None:
        """Note that it can."""
        self.away.append(Away(self._left, time.monotonic_ns()))
        self._left = 0

    def calls(self) -> Calls:
        """Return a client of its API, which connects where this thread is."""
        return Calls(f"http://{API}")

    def ask(self, name: str, rrtype: int = A) -> Answer | None:
        """Return the answer to one question, None where none comes; to be called on this host."""
        with connected(DNS) as sock:
            sock.settimeout(LOST_SECONDS)
            question = make_question(name, rrtype, number=os.getpid() & 0xFFFF)
            try:
                sock.send(question)
                return read_answer(question, sock.recv(4096))
            except OSError:
                return None

    def start(self) -> None:
        """Start the replica, again perhaps, and return when it is ready."""
        self.server.start()
        if self._left:
            self.be_back()

    def pids(self) -> list[int]:
        """Return all processes of the replica."""
        listed = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        return [int(pid) for pid in listed.stdout.split()]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the replica."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self) -> None:
        """Have all of its processes stand still."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                stop(pid)

    def kill(self) -> None:
        """Kill all of its processes at once, as a host that loses its power does."""
        self.leave()
        self.freeze()  # so that nobody starts another one meanwhile
        self.signal(signal.SIGKILL)
        assert self.server.process is not None
        self.server.process.wait()
        wait_for(lambda: not self.pids(), "all processes to be gone")


class Site:
    """A context manager that makes all of it and removes it."""

    def __init__(self, folder: Path, gcc: str) -> None:
        """Make the hosts; the clock of each replica can be set."""
        sweep()
        self.switch = Host()
        self._hosts: list[Host] = [self.switch]
        self._stack = contextlib.ExitStack()
        self.switch.ip("link add br0 type bridge", "link set br0 up", "addr add 10.99.0.254/24 dev br0")
        places = [(self._joined(Host(), number), f"10.99.0.{number}") for number in (1, 2, 3)]
        self.etcd = Members(places=places)
        self.replicas: list[ReplicaHost] = []
        for number in (1, 2, 3):
            disk = folder / f"r{number}"
            disk.mkdir()
            (folder / f"clock-{number}").mkdir()
            self._stack.enter_context(small_disk(disk, DISK))
            made = ReplicaHost(
                f"r{number}", disk, self.etcd.endpoints, Clock(folder / f"clock-{number}", gcc)
            )
            self._joined(made, 10 + number)
            self.replicas.append(made)
        folders = [one.server.folder for one in self.replicas] + [self.etcd.members[0].data.parent]
        after_the_end("rm", "-rf", *map(str, folders))

    def _joined(self, host: Host, number: int) -> Host:
        self._hosts.append(host)
        host.address = f"10.99.0.{number}"
        self.switch.ip(
            f"link add v{number} type veth peer name eth0 netns {host.name}",
            f"link set v{number} master br0 up",
        )
        host.ip(f"addr add {host.address}/24 dev eth0", "link set eth0 up")
        return host

    def __enter__(self) -> Self:
        self._stack.enter_context(self.etcd)
        for replica in self.replicas:
            replica.server.launch()
        for replica in self.replicas:
            wait_for(replica.server._is_ready, f"{replica.short} to be ready")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for replica in self.replicas:
            if kind is not None:
                print(f"--- log of {replica.short} ---\n{replica.server.log()[-8000:]}", file=sys.stderr)
            replica.signal(signal.SIGCONT)
            replica.server.close()
        self._stack.close()
        for host in self._hosts:
            remove(host)

    def cut(
        self,
        host: Host,
        others: Sequence[Member | ReplicaHost],
        *,
        incoming: bool,
        outgoing: bool,
        verdict: str = "drop",
    ) -> None:
        """Have packets from members or replicas, or to them, be lost at a host, until `mend`.

        `verdict` is nft's, of what becomes of them.
        """
        addresses = ", ".join(other.address for other in others if other.address != host.address)
        rules = ["add table inet faults"]
        for hook, field, wanted in (("input", "saddr", incoming), ("output", "daddr", outgoing)):
            if wanted:
                rules.append(f"add chain inet faults {hook} {{ type filter hook {hook} priority 0; }}")
                rules.append(f"add rule inet faults {hook} ip {field} {{ {addresses} }} {verdict}")
        subprocess.run(host.command("nft", "-f", "-"), input="\n".join(rules), text=True, check=True)

    def mend(self, host: Host) -> None:
        """Let all packets through again."""
        subprocess.run(host.command("nft", "delete", "table", "inet", "faults"), check=True)


def judged(
    replica: ReplicaHost, name: str, began: int, wanted: Answer | None, got: Answer | None
) -> str | None:
    """Return what is wrong with an answer: only who is away may say nothing, nobody may say what is wrong.

    Without a `wanted` answer any is wrong.
    """
    ended = time.monotonic_ns()
    is_lost = got is None or got.rcode == SERVFAIL
    if (got is not None and got == wanted) or (is_lost and replica.was_away(began, ended)):
        return None
    what = "is lost" if got is None else f"is answered by {got}, wanted {wanted}"
    return f"DNS: {name} at {replica.short} {what}, after {(ended - began) / 1e6:.0f} ms"
