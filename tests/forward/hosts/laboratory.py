"""A network of its own: a server's host and clients' hosts, each a network namespace, on one bridge.

    with Laboratory(ipv6=True) as laboratory:
        with laboratory.server.entered():
            ...                                     # sockets and processes made here live on that host
        host = laboratory.host(ndots=5)             # its resolv.conf names the server
        host.run("getent", "ahosts", "web")

Rules: nothing of the machine is touched but /run/netns and /etc/netns, both under names that carry the
test's own process.  What a killed run left behind is removed by the next.  Nothing sleeps for a
fixed time: a host is handed out when it reaches the server.
"""

import contextlib
import ctypes
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Self

from toolbox.waiting import wait_for

SEARCH = "default.svc.cluster.local svc.cluster.local cluster.local"

_CLONE_NEWNET = 0x40000000
_NAMESPACES = Path("/run/netns")
_FILES = Path("/etc/netns")
"""`ip netns exec NAME` mounts the files in NAME here over those in /etc."""

_BRIDGE = "02:00:00:00:00:01"

_NAME = re.compile(r"svcdns-(\d+)-(\d+)-\d+")
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


class NotAllowed(Exception):
    """Network namespaces cannot be made here; the text says why."""


class Host:
    """One network namespace with its own /etc/resolv.conf."""

    def __init__(self) -> None:
        """Make it, with its loopback interface up; raises NotAllowed."""
        self.name = f"svcdns-{os.getpid()}-{_started(os.getpid())}-{next(_numbers)}"
        made = subprocess.run(["ip", "netns", "add", self.name], capture_output=True, text=True)
        if made.returncode:
            raise NotAllowed(f"no network namespace can be made here: {made.stderr.strip()}")
        self.address = ""
        """Of IPv4, for a client's host."""
        self.ip("link set lo up")

    def ip(self, *commands: str) -> None:
        """Run `ip` commands there, in order."""
        text = "\n".join(commands)
        argv = ["ip", "-n", self.name, "-batch", "-"]
        done = subprocess.run(argv, input=text, capture_output=True, text=True)
        assert done.returncode == 0, f"ip said {done.stderr} to\n{text}"

    def write(self, name: str, text: str) -> None:
        """Give it a file of its own in /etc, for what is started by `command` from now on."""
        folder = _FILES / self.name
        folder.mkdir(parents=True, exist_ok=True)
        if Path("/etc", name).exists():  # a file can only be mounted over one
            (folder / name).write_text(text)

    def command(self, *words: str) -> list[str]:
        """Return the words that run a command on this host, with its own files in /etc."""
        return ["ip", "netns", "exec", self.name, *words]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be on this host, as this thread: for sockets made and processes started meanwhile."""
        with open("/proc/thread-self/ns/net") as before, open(_NAMESPACES / self.name) as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def reaches(self, address: str) -> bool:
        """Whether the host at that address says anything to a connection, a refusal for instance."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.entered(), socket.socket(family) as made:
            made.settimeout(0.2)
            try:
                made.connect((address, 9))
            except ConnectionRefusedError:
                return True
            except OSError:
                return False
        return True


class Laboratory:
    """A server's host and, when asked for, clients' hosts; a context manager that removes them all."""

    def __init__(self, *, ipv6: bool) -> None:
        """Without `ipv6` no host has any IPv6 address but ::1."""
        self.ipv6 = ipv6
        self.addresses = ("10.99.0.1", "fd99::1") if ipv6 else ("10.99.0.1",)
        """Of the server's host."""

    def __enter__(self) -> Self:
        sweep()
        self._hosts: list[Host] = []
        try:
            self.server = self._new()
            # An address of its own: else each port that is added may change it, and hosts that know the
            # former one reach nobody for half a minute.
            bridge = f"link add br0 address {_BRIDGE} type bridge mcast_snooping 0"
            self.server.ip(bridge, *self._interface("br0", 1))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def host(self, *, ndots: int, nameserver: str = "", options: str = "") -> Host:
        """Add a client's host, its only nameserver the server's host (by its last address)."""
        made = self._new()
        number = len(self._hosts) + 8
        self.server.ip(
            f"link add port{number} type veth peer name eth0 netns {made.name}",
            f"link set port{number} master br0 up",
        )
        made.ip(*self._interface("eth0", number))
        made.address = f"10.99.0.{number}"
        asked = nameserver or self.addresses[-1]
        words = f"ndots:{ndots} {options}".strip()
        made.write("resolv.conf", f"nameserver {asked}\nsearch {SEARCH}\noptions {words}\n")
        made.write("hosts", "127.0.0.1 localhost\n")
        made.write("nsswitch.conf", "hosts: files dns\n")  # and not a resolver of the machine
        for address in self.addresses:
            wait_for(partial(made.reaches, address), f"{made.name} to reach {address}")
        return made

    def close(self) -> None:
        """Remove all hosts, and end what still runs there."""
        for host in self._hosts:
            _remove(host.name)
        self._hosts = []

    def _new(self) -> Host:
        made = Host()
        self._hosts.append(made)
        return made

    def _interface(self, name: str, number: int) -> Iterator[str]:
        """Yield what gives an interface its addresses; without duplicate detection they work at once."""
        if not self.ipv6:
            yield f"link set {name} addrgenmode none"
        yield f"link set {name} up"
        yield f"address add 10.99.0.{number}/24 dev {name}"
        if self.ipv6:
            yield f"address add fd99::{number:x}/64 dev {name} nodad"


def sweep() -> None:
    """Remove the hosts of runs that have ended without removing them."""
    names = {path.name for folder in (_NAMESPACES, _FILES) if folder.exists() for path in folder.iterdir()}
    for name in names:
        if (found := _NAME.fullmatch(name)) and _started(int(found[1])) != int(found[2]):
            _remove(name)


def _remove(name: str) -> None:
    """Remove a host with all that runs there."""
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
    for pid in map(int, listed.stdout.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    shutil.rmtree(_FILES / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        _FILES.rmdir()  # where it is empty


def _started(pid: int) -> int:
    """Return when a process was started (ticks since boot): a pid alone may have been used again; 0: gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rpartition(")")[2].split()[19])


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
