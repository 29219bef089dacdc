"""Who holds the name of this node: of two proxies with one name, the one that renews its Lease.

A Lease names its holder as NODE_HOST_MACHINE_PLACE: a host's name for people, a hash of the machine's ID, and
one of its boot and network namespace.

Rules:

* the same machine and place: the same proxy, started again or upgraded; it goes on at once;
* another holder keeps the name while it renews the Lease.  Whether it does is watched, for as long as the
  Lease gives: no clock of another machine is read, and nothing is written meanwhile;
* the same machine in another place has most likely been booted again: it carries traffic while it watches;
* who announces alone answers for its addresses though it renews nothing, so another machine never takes over;
* a holder that another one has followed, as it was late, ends.

Pure, but for `identity`; the time is an argument (time.monotonic()).

https://www.freedesktop.org/software/systemd/man/latest/machine-id.html (why it is hashed)
"""

from __future__ import annotations

import hashlib
import os
import socket
from contextlib import suppress
from enum import Enum
from pathlib import Path

from .members import NAMESPACE, Member, Members

_MACHINE_IDS = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NETWORK = Path("/proc/self/ns/net")


class NodeTaken(Exception):
    """Another proxy has the name of this node.  One line, with what helps."""


class Standing(Enum):
    """What a proxy may do under its name."""

    WAITS = "nothing yet"
    CARRIES = "carry traffic, and write nothing"
    HOLDS = "all"


class NodeHolder:
    """Knows whether this proxy holds its node's name."""

    def __init__(self, node: str, own: str, members: Members) -> None:
        """`own` is the identity of this proxy."""
        self.own = own
        self._node = node
        self._members = members
        self._watched: int | None = None
        """The version of another's Lease when it was first seen."""

    @property
    def foreign(self) -> Member | None:
        """The Lease of this node as another one holds it; None where it is ours to renew."""
        known = self._members.get(self._node)
        if (
            known is None or known.has_left or known.holder == self._node
        ):  # as versions before this one wrote it
            return None
        return None if _places(known.holder) == _places(self.own) else known

    def look(self, now: float, written: int | None) -> Standing:
        """Return what may be done now; `written`: the version of one's own last renewal.

        Raises NodeTaken.
        """
        known = self.foreign
        if known is None:
            return Standing.HOLDS
        if written is not None:
            if known.version > written:
                raise NodeTaken(self._refusal(known, "has taken over, as this proxy was late"))
            return Standing.HOLDS  # an old look
        is_here = _places(known.holder)[:1] == _places(self.own)[:1]
        if known.lasting and not is_here:
            remedy = f"if that machine is gone, delete its Lease ({NAMESPACE}/{self._node})"
            raise NodeTaken(self._refusal(known, f"announces addresses alone; {remedy}"))
        if self._watched is None:
            self._watched = known.version
        if known.version != self._watched:
            raise NodeTaken(self._refusal(known, "renews its Lease"))
        if now >= known.ends_at:
            return Standing.HOLDS
        return Standing.CARRIES if is_here else Standing.WAITS

    def _refusal(self, known: Member, does: str) -> str:
        return (
            f"the node {self._node} has another proxy, {known.holder}, that {does}; "
            "give each proxy a name of its own: --node, or node in [proxy]"
        )


def identity(node: str) -> str:
    """Return who this proxy is, as the holder of its Lease."""
    boot = _read(_BOOT_ID)
    machine = next(filter(None, map(_read, _MACHINE_IDS)), boot)
    network = ""
    with suppress(OSError):
        network = str(os.stat(_NETWORK).st_ino)
    host = socket.gethostname().replace("_", "-")[:63]
    return "_".join((node, host, _hash(machine), _hash(boot + network)))


def _places(holder: str) -> list[str]:
    """Return machine and place."""
    return holder.split("_")[2:]


def _hash(text: str) -> str:
    return hashlib.sha256(f"svcdns proxy {text}".encode()).hexdigest()[:12]


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""
