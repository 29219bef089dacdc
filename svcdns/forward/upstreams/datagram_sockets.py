"""The sockets from which one upstream is asked over UDP, and what is under way on each.

What makes a spoofed reply unlikely to be taken (RFC 5452):

* Each socket has a port that the kernel chooses at random (of some 28,000, see
  net.ipv4.ip_local_port_range), and is connected: what comes from any other address never gets here.
* A query gets a new socket, as long as fewer than KEPT are open.  That is so for all whose questions come
  slower than KEPT in KEEP_SECONDS.  Beyond that, opening and closing a socket for each query costs as much as
  all the rest of asking, and it gets one of the KEPT, drawn at random.
* One socket asks QUERIES at most, and none that has been open for KEEP_SECONDS, or on which a query had no
  reply, asks another one: what comes late meets no other query, and an address that this host no longer has
  is soon forgotten.
* IDs and draws are the system's own random numbers.  No two queries under way on one socket share an ID.
"""

from __future__ import annotations

import asyncio
import os
import socket
from array import array
from collections.abc import Callable
from functools import partial

from svcdns.wire.query import Query

from .datagram_poller import DatagramPoller
from .upstream import OnOutcome

KEPT = 256
QUERIES = 64
KEEP_SECONDS = 2.0
ENOUGH = 64
"""So many open ones are drawn from where no other can be opened."""
_SWEEP_SECONDS = 0.5
_DATAGRAM = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
_RANDOM_OCTETS = 1024
_16_BITS = 16


class Exchange:
    """One query, which is under way from `DatagramSockets.begin` to `end`."""

    __slots__ = ("deadline", "edns", "ident", "kept", "on_outcome", "query")

    ident: int
    kept: KeptSocket

    def __init__(self, query: Query, on_outcome: OnOutcome, deadline: float, *, edns: bool) -> None:
        """`deadline` is on the loop's clock; `edns` says whether the query has an OPT."""
        self.query = query
        self.on_outcome = on_outcome
        self.deadline = deadline
        self.edns = edns


class KeptSocket:
    """A connected socket, and what is under way on it by ID."""

    __slots__ = ("is_retired", "opened", "queries", "sock", "under_way")

    def __init__(self, sock: socket.socket, opened: float) -> None:
        self.sock = sock
        self.opened = opened
        self.queries = 0
        """How many it has been chosen for."""
        self.under_way: dict[int, Exchange] = {}
        self.is_retired = False
        """Whether it is drawn no more; it is closed once nothing is under way on it."""


class DatagramSockets:
    """Opens, draws and closes them; used in one event loop."""

    def __init__(
        self, host: str, port: int, poller: DatagramPoller, on_readable: Callable[[KeptSocket], object]
    ) -> None:
        """`host` is an address, with its interface where it is link-local."""
        self._place = (host, port)
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._poller = poller
        self._on_readable = on_readable
        self._loop = asyncio.get_running_loop()
        self._open: list[KeptSocket] = []
        """Those that may be drawn."""
        self._retired: set[KeptSocket] = set()
        self._numbers: array[int] = array("H")
        self._sweeping: asyncio.TimerHandle | None = None

    def begin(self, exchange: Exchange, *, anew: bool = False) -> KeptSocket:
        """Choose the socket and the ID of an exchange, which is under way from now on.  Raises OSError.

        `anew`: it is to be a new socket.
        """
        kept = self._drawn() if len(self._open) >= KEPT and not anew else self._opened()
        ident = self._random()
        while ident in kept.under_way:
            ident = self._random()
        exchange.ident, exchange.kept = ident, kept
        kept.under_way[ident] = exchange
        kept.queries += 1
        if kept.queries == QUERIES:
            self.retire(kept)
        return kept

    def end(self, exchange: Exchange, *, replied: bool) -> None:
        """Let go of an exchange that is under way, and where its reply may still come, of its socket."""
        kept = exchange.kept
        del kept.under_way[exchange.ident]
        if not replied:
            self.retire(kept)
        elif kept.is_retired and not kept.under_way:
            self._close(kept)

    def retire(self, kept: KeptSocket) -> None:
        """Draw a socket no more, and close it as soon as nothing is under way on it."""
        if not kept.is_retired:
            kept.is_retired = True
            self._open.remove(kept)
            self._retired.add(kept)
        if not kept.under_way:
            self._close(kept)

    def under_way(self) -> list[Exchange]:
        """Return all that is under way."""
        return [exchange for kept in (*self._open, *self._retired) for exchange in kept.under_way.values()]

    def close(self) -> None:
        """Close all, once nothing is under way on them."""
        for kept in list(self._open):
            self.retire(kept)
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def _opened(self) -> KeptSocket:
        try:
            sock = socket.socket(self._family, _DATAGRAM)
        except OSError:
            if len(self._open) < ENOUGH:
                raise
            return self._drawn()
        kept = KeptSocket(sock, self._loop.time())
        try:
            sock.connect(self._place)
            self._poller.watch(sock, partial(self._on_readable, kept))
        except BaseException:
            self._poller.close_socket(sock)
            raise
        self._open.append(kept)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        return kept

    def _drawn(self) -> KeptSocket:
        return self._open[self._random() * len(self._open) >> _16_BITS]

    def _close(self, kept: KeptSocket) -> None:
        if kept in self._retired:
            self._retired.remove(kept)
            self._poller.close_socket(kept.sock)

    def _sweep(self) -> None:
        """Retire what has been open for long, as long as there is anything open."""
        oldest = self._loop.time() - KEEP_SECONDS
        for kept in [kept for kept in self._open if kept.opened <= oldest]:
            self.retire(kept)
        self._sweeping = self._loop.call_later(_SWEEP_SECONDS, self._sweep) if self._open else None

    def _random(self) -> int:
        """Return a number of 16 bits."""
        if not self._numbers:
            self._numbers.frombytes(os.urandom(_RANDOM_OCTETS))
        return self._numbers.pop()
