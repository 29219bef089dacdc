"""The two ways in which the events of a watch travel: lines of an HTTP answer, messages of a WebSocket.

Both carry the same octets, an event as JSON and a newline.  A client that asks for a WebSocket (RFC 6455)
gets one text message an event, as from kube-apiserver: no compression, nothing but pongs in between, and
Close at the end.  The first subprotocol that is offered is taken, but for one that holds a token.

Of what a WebSocket's client sends nothing is wanted but Close and Ping:

* other messages are read and dropped; one of LARGEST_MESSAGE octets or more, or what is no frame, ends the
  stream (1009, 1002), and so do more messages than FREE_MESSAGES and MESSAGES_A_SECOND allow (1008);
* a ping that comes while the pong before it waits for a client that doesn't read has no pong (section 5.5.3).

https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/handlers/watch.go (HandleHTTP, HandleWS)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from aiohttp import web
from aiohttp.http import WSCloseCode, WSMsgType

from svcdns.objects.errors import bad_request

from .negotiation import JSON, TOKEN_PROTOCOL, subprotocols, wants_web_socket
from .sending import send

LARGEST_MESSAGE = 4096
"""Octets of a message from here on which a client is sent away."""
CLOSE_SECONDS = 2.0
"""What a client has to take the end of its stream, and to say Close itself."""
FREE_MESSAGES = 100
MESSAGES_A_SECOND = 10
_ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
_FOR_EVER = 86400.0
"""Seconds; how long a client's Close is waited for is said where a stream ends."""


class WatchTransport(Protocol):
    """Carries events to one client."""

    @property
    def answer(self) -> web.StreamResponse:
        """The answer to the request."""

    async def open(self, client_left: Callable[[], None]) -> None:
        """Send the head of the answer; `client_left` is called when a WebSocket's client has ended it."""

    async def send(self, lines: bytes) -> None:
        """Send events, a line each; wait while the client does not read.  Raises ConnectionError."""

    async def finish(self, seconds: float | None) -> None:
        """End the stream properly, in so many seconds if not None.  Raises TimeoutError, ConnectionError."""

    def release(self) -> None:
        """Let go of all; what could not be sent by now is given up."""


def transport_of(request: web.Request) -> WatchTransport:
    """Return what a watch is to be answered by.  Raises StatusError 400 for a bad handshake."""
    if not wants_web_socket(request):
        return _Lines(request)
    transport = _Messages(request)
    if not transport.answer.can_prepare(request):
        raise bad_request("the WebSocket handshake has no good Sec-WebSocket-Key or another version than 13")
    return transport


class _Lines:
    """One HTTP answer without an end of its own."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        headers = {"Content-Type": JSON, "Cache-Control": "no-cache, private"}
        self.answer = web.StreamResponse(headers=headers)

    async def open(self, client_left: Callable[[], None]) -> None:
        if self._request.version >= (1, 1):
            self.answer.enable_chunked_encoding()
        await self.answer.prepare(self._request)

    async def send(self, lines: bytes) -> None:
        await send(self.answer, lines, until=b"\n")

    async def finish(self, seconds: float | None) -> None:
        async with asyncio.timeout(seconds):
            await self.answer.write_eof()

    def release(self) -> None:
        pass


class _Messages:
    """A WebSocket."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.answer = web.WebSocketResponse(
            timeout=_FOR_EVER,
            autoclose=False,
            autoping=False,
            protocols=[word for word in subprotocols(request) if not word.startswith(TOKEN_PROTOCOL)],
            compress=False,
            max_msg_size=LARGEST_MESSAGE,
        )
        self._reading: asyncio.Task[None] | None = None
        self._pong: asyncio.Task[None] | None = None
        self._flooded = False

    async def open(self, client_left: Callable[[], None]) -> None:
        await self.answer.prepare(self._request)
        self._reading = asyncio.create_task(self._read(client_left))

    async def send(self, lines: bytes) -> None:
        for line in lines.splitlines(keepends=True):
            await self.answer.send_frame(line, WSMsgType.TEXT)

    async def finish(self, seconds: float | None) -> None:
        if self._reading is not None:
            self._reading.cancel()
        code = WSCloseCode.POLICY_VIOLATION if self._flooded else WSCloseCode.OK
        patience = CLOSE_SECONDS if seconds is None else seconds
        try:
            # Who floods us is not listened to until it says Close.
            async with asyncio.timeout(0 if self._flooded else patience):
                await self.answer.close(code=code)
        except TimeoutError:  # it has had its time to read and to say Close
            if self._request.transport is not None:
                self._request.transport.abort()

    def release(self) -> None:
        for task in (self._reading, self._pong):
            if task is not None:
                task.cancel()
        transport = self._request.transport
        # A TLS transport that is closed can't be asked, and asyncio ends it in half a minute.
        with suppress(AttributeError):
            if transport is not None and transport.get_write_buffer_size():
                transport.abort()

    async def _read(self, client_left: Callable[[], None]) -> None:
        """Read until the client says Close, or has said too much."""
        clock = asyncio.get_running_loop().time
        begun, count = clock(), 0
        with suppress(ConnectionError):
            while (message := await self.answer.receive()).type not in _ENDS:
                count += 1
                if count > FREE_MESSAGES + (clock() - begun) * MESSAGES_A_SECOND:
                    self._flooded = True
                    break
                if message.type is WSMsgType.PING and (self._pong is None or self._pong.done()):
                    self._pong = asyncio.create_task(self._send_pong(message.data))
        client_left()

    async def _send_pong(self, octets: bytes) -> None:
        with suppress(ConnectionError):
            await self.answer.pong(octets)
