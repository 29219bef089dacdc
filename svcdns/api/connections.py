"""The API's connections: how many there may be, of one client and in all, and how long a head may take.

* A head has HEAD_SECONDS from its first octet, the first of a connection from its beginning (TLS included).
* Where a client has as many connections as it may, or all have, the one that has waited longest with no
  request under way makes room: who only holds connections loses them, nobody else.
* Where each has a request under way (watches), a few more are taken in all the same.  They are answered
  /livez, /readyz and /healthz, and for all else which limit it is: 429 for that of one client, 503 for that
  of all.  So a probe always finds room.
* A client that is behind has SEND_SECONDS to take most of what waits for it, which is about HIGH_WATER
  octets; whatever it has asked for, it is cut off then, so nobody holds octets who doesn't read.
* As many descriptors as other things need are left to them, whatever the limit of open files is now.

No sockets here: `server.accepting` accepts, and asks.
"""

from __future__ import annotations

import asyncio
import math
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import cast

from aiohttp import web

from svcdns.objects.errors import StatusError
from svcdns.system import tcp_memory

CONNECTIONS = 8192
OF_CLIENT = 4096
SPARE = 64
"""Connections above the limits that are told so."""
SPARE_SECONDS = 1.0
"""What one of these has to be answered in, when others wait for its place."""
GRACE_SECONDS = 1.0
"""What a connection may wait before it can be made to make room: its request may not have been read yet."""
FILES_LEFT = 96
"""Descriptors that are left to all else: the store, zone files, tokens, and the spare connections."""
HEAD_SECONDS = 10.0
SEND_SECONDS = 10.0
HIGH_WATER = 64 * 1024
"""Octets that may wait for a client before it is behind."""
SWEEP_SECONDS = 1.0


@dataclass(slots=True)
class _Client:
    """The connections of one address."""

    all: set[Connection] = field(default_factory=set)
    waiting: dict[Connection, float] = field(default_factory=dict)
    """Those without a request under way, and since when, in this order."""


class Connections:
    """All connections of one API."""

    def __init__(
        self,
        *,
        limit: int = CONNECTIONS,
        of_client: int = OF_CLIENT,
        head_seconds: float = HEAD_SECONDS,
        send_seconds: float = SEND_SECONDS,
    ) -> None:
        """`limit` is for all, `of_client` for one address; a small limit of open files lowers both."""
        self._limit = limit
        self._of_client = of_client
        self.head_seconds = head_seconds
        self._send_seconds = send_seconds
        self._clients: dict[str, _Client] = {}
        self._waiting: dict[Connection, float] = {}
        self._heads: dict[Connection, float] = {}
        """Until when a head has to be there, in the order of these times."""
        self._behind: dict[Connection, float] = {}
        """The same of those whose clients have to take what waits for them."""
        self._spare: dict[Connection, float] = {}
        """Those above a limit, and since when."""
        self._of: dict[object, Connection] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count + len(self._spare)

    def limits(self) -> tuple[int, int]:
        """Return how many connections there may be now, in all and of one client."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = self._limit if files == resource.RLIM_INFINITY else files - FILES_LEFT - SPARE
        limit = max(1, min(self._limit, room))
        return limit, max(1, min(self._of_client, limit * 3 // 4))

    def room(self) -> bool:
        """Return whether one more can be taken in, be it only to be told that there is no room.

        Else it had better wait where it is: those who came before it are answered in a moment.
        """
        late = asyncio.get_running_loop().time() - SPARE_SECONDS
        while len(self._spare) >= SPARE:
            first, since = next(iter(self._spare.items()))
            if since > late:
                return False
            first.end()
        return True

    def admit(self, client: str, close: Callable[[], None]) -> Connection:
        """Take in a connection that was accepted; `close` ends it at once, while it has no transport yet."""
        limit, of_client = self.limits()
        known = self._clients.get(client)
        refusal: StatusError | None = None
        late = asyncio.get_running_loop().time() - GRACE_SECONDS
        if known is not None and len(known.all) >= of_client and not _close_first(known.waiting, late):
            refusal = _refusal(429, "TooManyRequests", f"{of_client} of one client")
        elif self._count >= limit and not self.make_room(late):
            refusal = _refusal(503, "ServiceUnavailable", f"{limit} in all")
        connection = Connection(self, client, close, refusal)
        if refusal is not None:
            self._spare[connection] = asyncio.get_running_loop().time()
        else:
            self._clients.setdefault(client, _Client()).all.add(connection)
            self._count += 1
        self.wait(connection, for_head=True)
        return connection

    def make_room(self, late: float = math.inf) -> int:
        """Close what waits since before `late` until there are fewer than allowed; return how many."""
        limit, _ = self.limits()
        closed = 0
        while self._count >= limit and _close_first(self._waiting, late):
            closed += 1
        return closed

    def wait(self, connection: Connection, *, for_head: bool) -> None:
        """Note that a connection has no request under way; its next head has begun, or not."""
        now = asyncio.get_running_loop().time()
        if connection.refusal is None:  # others make room for themselves
            self._clients[connection.client].waiting.setdefault(connection, now)
            self._waiting.setdefault(connection, now)
        if for_head and connection not in self._heads:
            self._heads[connection] = now + self.head_seconds

    def work(self, connection: Connection) -> None:
        """Note that a connection has a request under way."""
        if connection.refusal is None:
            self._clients[connection.client].waiting.pop(connection, None)
            self._waiting.pop(connection, None)
        self._heads.pop(connection, None)

    def fall_behind(self, connection: Connection) -> None:
        """Note that much waits for a client."""
        self._behind[connection] = asyncio.get_running_loop().time() + self._send_seconds

    def catch_up(self, connection: Connection) -> None:
        """Note that it has taken most of it."""
        self._behind.pop(connection, None)

    def forget(self, connection: Connection) -> None:
        """Let go of a connection that has ended."""
        self._of.pop(connection.inner, None)
        self._heads.pop(connection, None)
        self._behind.pop(connection, None)
        self._spare.pop(connection, None)
        known = self._clients.get(connection.client)
        if known is None or connection not in known.all:
            return
        self.work(connection)
        known.all.discard(connection)
        if not known.all:
            del self._clients[connection.client]
        self._count -= 1

    def bind(self, inner: object, connection: Connection) -> None:
        """Note which protocol of aiohttp's a connection has."""
        self._of[inner] = connection

    def of(self, request: web.Request) -> Connection | None:
        """Return the connection of a request; None where it did not come through here (tests)."""
        return self._of.get(request.protocol)

    async def sweep(self) -> None:
        """Close what has waited too long for a head or a reader, once a second until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.close_late(asyncio.get_running_loop().time())

    def close_late(self, now: float) -> None:
        """Close connections whose time for a head, or for reading, is up (now in the loop's seconds)."""
        for connection in list(takewhile(lambda waiting: self._heads[waiting] <= now, self._heads)):
            connection.end()
        for connection in list(takewhile(lambda waiting: self._behind[waiting] <= now, self._behind)):
            connection.is_cut_off = True
            connection.end()


class Connection(asyncio.Protocol):
    """One connection: stands between the transport and aiohttp's protocol."""

    def __init__(
        self, connections: Connections, client: str, close: Callable[[], None], refusal: StatusError | None
    ) -> None:
        """`refusal` is what is answered to all but probes; None: no limit has been reached."""
        self._connections = connections
        self.client = client
        self._close = close
        self.refusal = refusal
        self.is_cut_off = False
        """Whether it was closed because its client reads too slowly."""
        self.inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._working = False

    def serve(self, inner: asyncio.Protocol) -> Connection:
        """Have aiohttp's protocol answer; return what the transport is to be given."""
        self.inner = inner
        self._connections.bind(inner, self)
        return self

    def begin(self) -> None:
        """A request is under way."""
        self._working = True
        self._connections.work(self)

    def finish(self) -> None:
        """It has been answered."""
        self._working = False
        if self._transport is not None:
            self._connections.wait(self, for_head=False)

    def end(self) -> None:
        """Close the connection at once."""
        self._connections.forget(self)
        if self._transport is not None:
            tcp_memory.reset(self._transport)
        else:
            self._close()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS, where there is any, has been agreed on."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        assert self.inner is not None
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Octets of a head, or of a body."""
        assert self.inner is not None
        if not self._working:
            self._connections.wait(self, for_head=True)
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        """The client sends no more."""
        assert self.inner is not None
        return self.inner.eof_received()

    def pause_writing(self) -> None:
        """The client does not read."""
        assert self.inner is not None
        self._connections.fall_behind(self)
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        assert self.inner is not None
        self._connections.catch_up(self)
        self.inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection has ended."""
        assert self.inner is not None
        self._transport = None
        self._connections.forget(self)
        self.inner.connection_lost(error)


KEY = web.AppKey("connections", Connections)
"""Where an application carries them."""


def _close_first(waiting: dict[Connection, float], late: float) -> bool:
    """Close the connection that has waited longest, if that is since before `late`; return whether so."""
    first = next(iter(waiting), None)
    if first is None or waiting[first] >= late:
        return False
    first.end()
    return True


def _refusal(code: int, reason: str, allowed: str) -> StatusError:
    text = f"there are too many connections: {allowed} are allowed"
    return StatusError(code, reason, text, retry_after=1)
