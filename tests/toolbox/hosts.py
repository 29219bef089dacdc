"""A host of a test: a network namespace with files of its own in /etc.

    host = Host()
    with host.entered():
        ...                                     # sockets and processes made here live on that host
    remove(host)

Rules: nothing of the machine is touched but /run/netns and /etc/netns, both under names that carry the
test's own process.  What a killed run left behind is removed as soon as it has ended (`after_the_end`); where
that could not be, by the next one (`sweep`).
"""

import contextlib
import ctypes
import itertools
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from toolbox.after_the_end import after_the_end

_CLONE_NEWNET = 0x40000000
_NAMESPACES = Path("/run/netns")
_FILES = Path("/etc/netns")
"""`ip netns exec NAME` mounts the files in NAME here over those in /etc."""

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
        after_the_end("sh", "-c", _removal(self.name))
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


def why_not() -> str:
    """Return why no hosts can be made here; "" where they can."""
    if os.geteuid():
        return "it takes root to make hosts"
    try:
        remove(Host())
    except NotAllowed as refusal:
        return str(refusal)
    return ""


def remove(host: Host) -> None:
    """Remove a host with all that runs there."""
    _remove(host.name)


def sweep() -> None:
    """Remove the hosts of runs that have ended without removing them."""
    names = {path.name for folder in (_NAMESPACES, _FILES) if folder.exists() for path in folder.iterdir()}
    for name in names:
        if (found := _NAME.fullmatch(name)) and _started(int(found[1])) != int(found[2]):
            _remove(name)


def _remove(name: str) -> None:
    """Remove a host with all that runs there."""
    subprocess.run(["sh", "-c", _removal(name)], capture_output=True)


def _removal(name: str) -> str:
    """Return the shell's words for that; they do nothing where it is gone."""
    return f"""
        for pid in $(ip netns pids {name}); do kill -KILL $pid; done
        ip netns delete {name}
        rm -rf {_FILES / name}
        rmdir {_FILES}
    """  # the last one where it is empty


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
