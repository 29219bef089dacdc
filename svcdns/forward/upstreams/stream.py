"""An upstream over TCP (RFC 7766) or TLS (RFC 7858): a few connections that are kept and shared.

* Many queries are under way on one connection and replies come in any order, matched by ID.
* A connection is opened when it is needed, and closed after IDLE_SECONDS without a query.
* One that the upstream closed is replaced, and what was lost with it asked once more, if the upstream
  had answered on it before: upstreams close idle connections when they like.
* One on which a query timed out and nothing came meanwhile gets no new queries: the host behind it may
  be gone without a word, which TCP notices only after minutes.
* TLS always verifies certificate and name.

Streams of asyncio and the standard ssl module: dnspython's transports carry one query at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from dataclasses import dataclass

from svcdns.wire.garbage import Garbage, Unusable
from svcdns.wire.query import Query, encode_query
from svcdns.wire.response import Response, read

from .upstream import EdnsFallback, LocalFault, NoReply, UselessReply, connect, edns_refusal, no_reply, until

IDLE_SECONDS = 10.0
CONNECTIONS = 4
BUSY = 32
"""Queries under way from which on another connection is opened, up to CONNECTIONS."""
QUERIES = 4096
"""Most queries under way on one connection: IDs stay easy to find and hard to guess."""


class _Lost(NoReply):
    """The connection ended before the reply."""


@dataclass(slots=True)
class _Pending:
    query: Query
    edns: bool
    future: asyncio.Future[Response]


class StreamUpstream:
    """See svcdns.forward.upstreams.upstream.Upstream."""

    def __init__(
        self, name: str, host: str, port: int, tls: ssl.SSLContext | None = None, server_name: str = ""
    ) -> None:
        """With `tls` the certificate has to be for `server_name`, or for `host` where that is ""."""
        self.name = name
        self.garbage = 0
        self.place = (host, port)
        self.tls = tls
        self.server_name = server_name or host.partition("%")[0]
        self._edns = EdnsFallback()
        self._connections: set[_Connection] = set()
        self._closed = False

    async def exchange(self, query: Query, seconds: float) -> Response:
        """Ask once and return the reply.  Raises NoReply, after `seconds` at most."""
        deadline = asyncio.get_running_loop().time() + seconds
        return await self._edns.exchange(lambda edns: self._ask(query, deadline, edns))

    async def close(self) -> None:
        """Close all connections; what is under way gets NoReply."""
        self._closed = True
        await asyncio.gather(*(connection.close() for connection in self._connections))

    async def _ask(self, query: Query, deadline: float, edns: bool) -> Response:
        connection = self._choose()
        try:
            return await connection.ask(query, deadline, edns)
        except _Lost:
            if not connection.replies:
                raise
        return await self._choose().ask(query, deadline, edns)

    def _choose(self) -> _Connection:
        """Return the connection with the fewest queries under way, a new one if all are busy."""
        if self._closed:
            raise NoReply("it was closed")
        usable = [connection for connection in self._connections if connection.usable]
        least = min(usable, key=len, default=None)
        if least is None or (len(least) >= BUSY and len(usable) < CONNECTIONS):
            connection = _Connection(self)
            self._connections.add(connection)
            connection.task.add_done_callback(lambda _: self._connections.discard(connection))
            return connection
        if len(least) >= QUERIES:
            raise LocalFault("too many queries are under way to it")
        return least


class _Connection:
    """One connection, from the wish to have it to its end."""

    def __init__(self, upstream: StreamUpstream) -> None:
        self._upstream = upstream
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, _Pending] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._last = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self.replies = 0
        self.usable = True
        self.task = self._loop.create_task(self._run())

    def __len__(self) -> int:
        """Return how many queries are under way."""
        return len(self._pending)

    async def ask(self, query: Query, deadline: float, edns: bool) -> Response:
        """Ask once.  Raises NoReply."""
        ident = int.from_bytes(os.urandom(2))
        while ident in self._pending:
            ident = int.from_bytes(os.urandom(2))
        pending = self._pending[ident] = _Pending(query, edns, self._loop.create_future())
        replies = self.replies
        if self._writer is not None:
            self._send(ident, pending)
        try:
            return await until(deadline, pending.future)
        except NoReply:
            if self.replies == replies and self._loop.time() >= deadline:
                self.usable = False
            raise
        finally:
            self._forget(ident)

    async def close(self) -> None:
        """End it, and return when it has ended."""
        self.task.cancel()
        await asyncio.wait([self.task])

    def _send(self, ident: int, pending: _Pending) -> None:
        assert self._writer is not None
        wire = encode_query(pending.query, ident, edns=pending.edns, padded=self._upstream.tls is not None)
        self._writer.write(len(wire).to_bytes(2) + wire)
        self._last = self._loop.time()

    def _forget(self, ident: int) -> None:
        """Let go of a query; a connection that nobody waits for and that can't be used goes with it."""
        self._pending.pop(ident, None)
        if not self._pending and (self._writer is None or not self.usable):
            self.usable = False
            self.task.cancel()

    async def _run(self) -> None:
        lost: NoReply = NoReply("it was closed")
        try:
            reader = await self._open()
            self._check_idle()
            while True:
                octets = int.from_bytes(await reader.readexactly(2))
                self._take(await reader.readexactly(octets))
        except (OSError, EOFError, ValueError) as wrong:
            lost = no_reply(wrong)
        finally:
            kind = LocalFault if isinstance(lost, LocalFault) else _Lost
            self.usable = False
            if self._timer is not None:
                self._timer.cancel()
            for pending in self._pending.values():
                if not pending.future.done():
                    pending.future.set_exception(kind(str(lost)))
            if self._writer is not None:
                # At once: a TLS close would wait for the other side.
                self._writer.transport.abort()
                with contextlib.suppress(OSError):
                    await self._writer.wait_closed()

    async def _open(self) -> asyncio.StreamReader:
        """Connect, and send what waits."""
        upstream = self._upstream
        reader, self._writer = await connect(*upstream.place, upstream.tls, upstream.server_name)
        for ident, pending in self._pending.items():
            self._send(ident, pending)
        return reader

    def _take(self, wire: bytes) -> None:
        """Give a message to the query that it replies to."""
        ident = int.from_bytes(wire[:2])
        pending = self._pending.get(ident)
        if pending is None or pending.future.done():
            return  # most often one that came too late
        if pending.edns and (refused := edns_refusal(wire, pending.query, ident)):
            self.replies += 1
            pending.future.set_exception(refused)
            return
        try:
            response = read(wire, pending.query, ident)
        except Garbage as wrong:
            # Nobody else can write here, so no better reply will come.
            self._upstream.garbage += 1
            kind = UselessReply if isinstance(wrong, Unusable) else NoReply
            pending.future.set_exception(kind(f"its reply is garbage: {wrong}"))
        else:
            self.replies += 1
            pending.future.set_result(response)

    def _check_idle(self) -> None:
        """Close it if no query has come for long, or check again later."""
        left = IDLE_SECONDS if self._pending else self._last + IDLE_SECONDS - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_idle)
        else:
            self.usable = False
            self.task.cancel()
