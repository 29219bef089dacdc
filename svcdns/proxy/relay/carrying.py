"""What all listeners, connections and flows of a relay share."""

from __future__ import annotations

import socket
import time
from typing import Protocol

from svcdns.proxy.relay.limits import Limits
from svcdns.proxy.relay.loop import Loop
from svcdns.proxy.relay.picking import Target
from svcdns.proxy.relay.pipes import Pipes

BUFFER_OCTETS = 64 << 10
_MOST_HOPS = 4
_MOST_NOTES = 10_000


class Dialling(Protocol):
    """A connection whose endpoint has not taken it yet."""

    deadline: float

    def dial_another(self) -> None:
        """Leave this endpoint for another."""

    def close(self) -> None:
        """End it."""


class Hops:
    """Services whose endpoints are Services: one that leads back to itself must not take all descriptors.

    What the relay dials at one of its own listeners is noted with its depth, and found again by its address
    when that listener takes it.
    """

    def __init__(self) -> None:
        """Begin with no listener."""
        self.listeners: set[tuple[int, tuple[str, int]]] = set()
        """Kind of socket and address of each."""
        self._depths: dict[tuple[int, str, int], int] = {}

    def note(self, dialled: socket.socket, target: Target, depth: int) -> None:
        """Remember a socket that has been connected to one of our own listeners."""
        if (dialled.type, target.address) in self.listeners:
            name = dialled.getsockname()
            if len(self._depths) >= _MOST_NOTES:
                self._depths.pop(next(iter(self._depths)))
            self._depths[dialled.type, name[0], name[1]] = depth

    def depth(self, kind: int, host: str, port: int) -> int:
        """Return how many of our listeners a client has been carried through, this one included."""
        return self._depths.pop((kind, host, port), 0) + 1 if self._depths else 1

    def is_too_deep(self, depth: int) -> bool:
        """Whether this looks like a circle."""
        return depth > _MOST_HOPS


class Carrying:
    """The loop, what is lent (pipes, one buffer), what is counted, and what is being dialled."""

    def __init__(self, loop: Loop, limits: Limits) -> None:
        """Begin with nothing open."""
        self.loop, self.limits = loop, limits
        self.pipes = Pipes()
        self.hops = Hops()
        self.buffer = memoryview(bytearray(BUFFER_OCTETS))
        """For what is read and written within one handler."""
        self.open: set[Dialling] = set()
        """All TCP connections."""
        self._dialling: dict[Dialling, None] = {}
        self._looks = False

    def dialling(self, connection: Dialling) -> None:
        """Have `dial_another` called at its deadline, about; deadlines only grow."""
        self._dialling[connection] = None
        if not self._looks:
            self._looks = True
            self.loop.later(1.0, self._look)

    def dialled(self, connection: Dialling) -> None:
        """Wait for it no longer; it may not be waited for."""
        self._dialling.pop(connection, None)

    def ended(self, connection: Dialling) -> None:
        """Count a connection that has ended."""
        self.open.discard(connection)
        self.limits.give_back()

    def _look(self) -> None:
        now = time.monotonic()
        late = [one for one in self._dialling if one.deadline <= now]
        for connection in late:
            connection.dial_another()
        self._looks = bool(self._dialling)
        if self._looks:
            self.loop.later(1.0, self._look)
