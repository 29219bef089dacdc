"""How the writer, which has the API, has the forwarder forget cached answers: two messages over a link.

    DELETE /cache -> FlushClient.flush -> FlushRequest -> FlushServer -> the cache -> FlushReply

The link is a socket pair that the supervisor made.  Neither end closes when a process dies: the next
forwarder serves what waits, and a reply to a former writer is ignored.  Whoever asks waits FLUSH_SECONDS at
most; what has waited longer is served no more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic

import msgspec

from svcdns.objects.errors import StatusError

FLUSH_SECONDS = 10.0
_LARGEST = 4096
"""Octets; a key has 511 at most."""

log = logging.getLogger(__name__)

Flush = Callable[[bytes], Awaitable[int]]
"""Forgets every answer whose key begins with these octets (b"": all); returns how many."""


class FlushRequest(msgspec.Struct, frozen=True, array_like=True):
    """Asks the forwarder to forget."""

    number: int
    prefix: bytes
    """Of the keys of what is to be forgotten."""
    until: float
    """When nobody waits for the reply any more (time.monotonic(), seconds)."""


class FlushReply(msgspec.Struct, frozen=True, array_like=True):
    """Says how many answers were forgotten; None where that failed."""

    number: int
    flushed: int | None


_encode = msgspec.msgpack.Encoder().encode
_decode_request = msgspec.msgpack.Decoder(FlushRequest).decode
_decode_reply = msgspec.msgpack.Decoder(FlushReply).decode


def unavailable(why: str) -> StatusError:
    """503: the cache can't be flushed now."""
    return StatusError(503, "ServiceUnavailable", f"the cache can't be flushed: {why}")


@dataclass(slots=True)
class FlushClient:
    """The writer's end."""

    _link: socket.socket | None
    """None where nothing is forwarded."""
    _forwarder_lives: Callable[[], bool]
    _seconds: float = FLUSH_SECONDS
    _number: int = field(default_factory=lambda: int.from_bytes(os.urandom(6)))
    """Of the last request; it does not begin at 0, since replies to a former writer may still come."""
    _waiting: dict[int, asyncio.Future[int | None]] = field(default_factory=dict)

    async def flush(self, prefix: bytes) -> int:
        """Have answers forgotten whose keys begin so; return how many.  Raises StatusError 503.

        Once it returns no worker answers from them.
        """
        if self._link is None:
            raise unavailable("nothing is forwarded, as upstreams in [forward] is empty")
        if not self._forwarder_lives():
            raise unavailable("the forwarder is not running; it is being started")
        loop = asyncio.get_running_loop()
        loop.add_reader(self._link.fileno(), self._receive, self._link)
        self._number += 1
        number = self._number
        future: asyncio.Future[int | None] = loop.create_future()
        self._waiting[number] = future
        try:
            self._link.send(_encode(FlushRequest(number, prefix, monotonic() + self._seconds)))
            flushed = await asyncio.wait_for(future, self._seconds)
        except TimeoutError:
            raise unavailable(f"the forwarder did not answer within {self._seconds:g} s") from None
        except OSError:
            raise unavailable("too many others wait for it") from None
        finally:
            del self._waiting[number]
        if flushed is None:
            raise StatusError(500, "InternalError", "the cache can't be flushed: the server's log says more")
        return flushed

    def _receive(self, link: socket.socket) -> None:
        with suppress(BlockingIOError, msgspec.MsgspecError):
            reply = _decode_reply(link.recv(_LARGEST))
            future = self._waiting.get(reply.number)
            if future is not None and not future.done():
                future.set_result(reply.flushed)


@dataclass(slots=True)
class FlushServer:
    """The forwarder's end."""

    _link: socket.socket
    _flush: Flush
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self) -> None:
        """Begin to serve, in the running loop."""
        asyncio.get_running_loop().add_reader(self._link.fileno(), self._receive)

    async def stop(self) -> None:
        """Serve no more; what waits in the link stays there for the next forwarder."""
        asyncio.get_running_loop().remove_reader(self._link.fileno())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _receive(self) -> None:
        with suppress(BlockingIOError, msgspec.MsgspecError):
            request = _decode_request(self._link.recv(_LARGEST))
            if request.until > monotonic():
                task = asyncio.get_running_loop().create_task(self._serve(request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: FlushRequest) -> None:
        flushed: int | None = None
        try:
            flushed = await self._flush(request.prefix)
        except Exception:
            log.exception("the cache can't be flushed")
        with suppress(OSError):  # full of replies to writers that are gone: nobody waits
            self._link.send(_encode(FlushReply(request.number, flushed)))
