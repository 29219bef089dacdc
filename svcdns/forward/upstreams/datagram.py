"""An upstream over UDP, and over TCP for replies that are too long (RFC 7766 section 5).

What makes a spoofed reply unlikely to be taken (RFC 5452): random ports of connected sockets, random IDs (see
`datagram_sockets`), and the question of a reply has to be ours.

A datagram that is longer than what we take is as good as a truncated one.  Where TCP fails, the truncated
reply is what there is: it shows life, and is handed on as it is.

What fails the check is counted and waiting goes on, so that nobody can end a try with one bad datagram.
A connected socket also says at once when nothing listens there (ECONNREFUSED).

Callbacks, no datagram protocol of asyncio, and no task for a reply that comes and is whole: these cost
several times as much as all else.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from svcdns.wire import header
from svcdns.wire.garbage import Garbage, Unusable
from svcdns.wire.query import Query, encode_query
from svcdns.wire.response import Response, read

from .datagram_poller import DatagramPoller
from .datagram_sockets import DatagramSockets, Exchange, KeptSocket
from .stream import StreamUpstream
from .upstream import (
    EdnsFallback,
    EdnsRefused,
    NoReply,
    OnOutcome,
    Outcome,
    Silence,
    UselessReply,
    edns_refusal,
    no_reply,
    until,
)

log = logging.getLogger(__name__)

_RECEIVE_OCTETS = 4096
_HEADER_ID = 2
_LEAST_TICK = 0.01
"""Seconds between two looks at what has waited for too long."""


class UdpUpstream:
    """See svcdns.forward.upstreams.upstream.PromptUpstream."""

    def __init__(self, name: str, host: str, port: int) -> None:
        """`host` is an address, with its interface where it is link-local."""
        self.name = name
        self._garbage = 0
        self._tcp = StreamUpstream(name, host, port)
        self._edns = EdnsFallback(drops=True)
        self._poller = DatagramPoller()
        self._loop = asyncio.get_running_loop()
        self._sockets = DatagramSockets(host, port, self._poller, self._receive)
        self._begun: dict[Exchange, None] = {}
        """What waits without a task, in the order in which it began."""
        self._ticking: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def garbage(self) -> int:
        """Messages, over UDP and TCP, that were no reply to what was asked."""
        return self._garbage + self._tcp.garbage

    async def exchange(self, query: Query, seconds: float, first: Outcome | None = None) -> Response:
        """Ask once and return the reply, truncated where TCP fails.  Raises NoReply after `seconds`.

        `first` is what has come of it so far, with EDNS.
        """
        deadline = self._loop.time() + seconds

        async def once(edns: bool) -> Response:
            nonlocal first
            known, first = first if edns else None, None
            if known is None:
                return await self._ask(query, deadline, edns)
            if isinstance(known, NoReply):
                raise known
            return known

        response = await self._edns.exchange(once)
        if response.truncated:
            try:
                return await self._tcp.exchange(query, deadline - self._loop.time())
            except NoReply as wrong:
                log.debug("upstream %s: a truncated reply, and over TCP none: %s", self.name, wrong)
        return response

    def begin(self, query: Query, seconds: float, on_outcome: OnOutcome) -> None:
        """Ask once, without a task as long as one reply over UDP is all that it takes."""
        deadline = self._loop.time() + seconds
        if not self._edns.is_used:
            self._go_on(query, deadline, on_outcome, None)
            return
        then = partial(self._has_come, query, deadline, on_outcome)
        exchange = self._send(Exchange(query, then, deadline, edns=True))
        self._begun[exchange] = None
        if self._ticking is None:
            self._ticking = self._loop.call_at(deadline, self._tick)

    async def close(self) -> None:
        """Close all sockets; what is under way gets NoReply."""
        self._closed = True
        if self._ticking is not None:
            self._ticking.cancel()
        for exchange in self._sockets.under_way():
            self._end(exchange, NoReply("it was closed"), replied=False)
        self._sockets.close()
        self._poller.close()
        await self._tcp.close()
        await asyncio.gather(*self._tasks)

    async def _ask(self, query: Query, deadline: float, edns: bool) -> Response:
        future: asyncio.Future[Response] = self._loop.create_future()
        exchange = self._send(Exchange(query, partial(_settle, future), deadline, edns=edns))
        try:
            return await until(deadline, future)
        finally:
            if exchange.kept.under_way.get(exchange.ident) is exchange:  # it took too long, or is cancelled
                self._sockets.end(exchange, replied=False)

    def _send(self, exchange: Exchange) -> Exchange:
        """Begin an exchange and return it.  Raises NoReply."""
        if self._closed:
            raise NoReply("it was closed")
        try:
            kept = self._sockets.begin(exchange)
            try:
                kept.sock.send(encode_query(exchange.query, exchange.ident, edns=exchange.edns))
            except OSError as wrong:
                self._sockets.end(exchange, replied=False)
                if kept.queries == 1:
                    raise
                # The kernel speaks of a query before this one.
                self._fail(kept, wrong)
                kept = self._sockets.begin(exchange, anew=True)
                kept.sock.send(encode_query(exchange.query, exchange.ident, edns=exchange.edns))
        except OSError as wrong:
            raise no_reply(wrong) from None
        return exchange

    def _receive(self, kept: KeptSocket) -> None:
        """Take one datagram."""
        try:
            wire = kept.sock.recv(_RECEIVE_OCTETS)
        except BlockingIOError:
            return  # a datagram with a wrong checksum wakes us and is not there
        except OSError as wrong:
            self._fail(kept, wrong)
            return
        if len(wire) == _RECEIVE_OCTETS:
            wire = header.with_flags(wire, header.TC)  # the rest of it is lost
        exchange = kept.under_way.get(int.from_bytes(wire[:_HEADER_ID]))
        if exchange is None:
            self._garbage += 1
            return
        query, ident = exchange.query, exchange.ident
        outcome: Outcome | None = edns_refusal(wire, query, ident) if exchange.edns else None
        if outcome is None:
            try:
                outcome = read(wire, query, ident)
            except Unusable as wrong:
                # Whoever knows ID and port could have said anything: it is the upstream's own.
                self._garbage += 1
                outcome = UselessReply(str(wrong))
            except Garbage:
                self._garbage += 1
                return
        self._end(exchange, outcome, replied=True)

    def _fail(self, kept: KeptSocket, wrong: OSError) -> None:
        """End all that is under way on a socket: the kernel doesn't say which query an error is about."""
        for exchange in list(kept.under_way.values()):
            self._end(exchange, no_reply(wrong), replied=False)
        self._sockets.retire(kept)

    def _end(self, exchange: Exchange, outcome: Outcome, *, replied: bool) -> None:
        self._begun.pop(exchange, None)
        self._sockets.end(exchange, replied=replied)
        exchange.on_outcome(outcome)

    def _tick(self) -> None:
        """End what was begun too long ago, and look again when the next one will have been."""
        now = self._loop.time()
        self._ticking = None
        while self._begun:
            exchange = next(iter(self._begun))
            if exchange.deadline > now:
                self._ticking = self._loop.call_at(max(exchange.deadline, now + _LEAST_TICK), self._tick)
                return
            self._end(exchange, Silence("no reply in time"), replied=False)

    def _has_come(self, query: Query, deadline: float, on_outcome: OnOutcome, outcome: Outcome) -> None:
        """Hand on what has come of a query that was begun, or ask on in a task where that isn't all."""
        if isinstance(outcome, Response) and not outcome.truncated:
            self._edns.has_replied()
            on_outcome(outcome)
        elif isinstance(outcome, Response | EdnsRefused):
            self._go_on(query, deadline, on_outcome, outcome)
        else:
            if isinstance(outcome, Silence):
                self._edns.was_silent()
            on_outcome(outcome)

    def _go_on(self, query: Query, deadline: float, on_outcome: OnOutcome, first: Outcome | None) -> None:
        task = self._loop.create_task(self._in_full(query, deadline, on_outcome, first))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_full(
        self, query: Query, deadline: float, on_outcome: OnOutcome, first: Outcome | None
    ) -> None:
        outcome: Outcome
        try:
            outcome = await self.exchange(query, deadline - self._loop.time(), first)
        except NoReply as wrong:
            outcome = wrong
        except Exception as wrong:
            log.exception("upstream %s: %r could not be asked", self.name, query)
            outcome = NoReply(f"internal error: {wrong}")
        on_outcome(outcome)


def _settle(future: asyncio.Future[Response], outcome: Outcome) -> None:
    if future.done():
        return
    if isinstance(outcome, NoReply):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
