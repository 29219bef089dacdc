"""One TCP connection of a client, carried to an endpoint until both sides have ended.

Rules:

* nothing is read before an endpoint has taken the connection; one that does not within DIAL_SECONDS is left
  for another, DIALS in all at most, then the client gets a reset;
* an end of stream is passed on when all before it has been (half-close), a reset as a reset;
* a few octets are copied, since that is cheaper than splice(2); as soon as a read fills the buffer, that
  way is spliced.  A way holds a buffer or a pipe of octets at most, and reads no more until they are gone;
* epoll reports changes only (EPOLLET), so what is readable or writable is remembered until a call says
  otherwise.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from contextlib import suppress

from svcdns.proxy.relay.carrying import Carrying
from svcdns.proxy.relay.loop import EDGES, HUNG_UP, READABLE, WRITABLE, Handler
from svcdns.proxy.relay.picking import Picker, Side, Target
from svcdns.proxy.relay.pipes import PIPE_OCTETS, Pipe

DIAL_SECONDS = 5.0
DIALS = 5
_ROUNDS_A_TURN = 8
RESET = struct.pack("ii", 1, 0)
_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Way:
    """Octets from one socket to the other."""

    __slots__ = (
        "_carrying",
        "_in_pipe",
        "_left",
        "_pipe",
        "_sink",
        "_source",
        "_splices",
        "ended",
        "hung_up",
        "readable",
        "writable",
    )

    def __init__(self, carrying: Carrying, source: socket.socket, sink: socket.socket) -> None:
        """Suppose that there is something to read, and room to write."""
        self._carrying, self._source, self._sink = carrying, source, sink
        self._left = b""
        self._pipe: Pipe | None = None
        self._in_pipe = 0
        self._splices = False
        self.readable = self.writable = True
        self.hung_up = self.ended = False

    @property
    def is_stuck(self) -> bool:
        """Whether it reads nothing, so that it would not learn of a reset either."""
        return self.ended or not self.writable

    def move(self) -> bool:
        """Move what can be moved; return whether to go on in another turn.  Raises OSError (a reset)."""
        for _ in range(_ROUNDS_A_TURN):
            if self._left and not self._write_left():
                return False
            if self._in_pipe and not self._empty_pipe():
                return False
            if self.ended or not self.readable:
                return False
            if not (self._splices and self._splice()):
                self._copy()
        return True

    def close(self) -> None:
        """Give back the pipe."""
        if self._pipe is not None:
            self._carrying.pipes.give_back(self._pipe, empty=not self._in_pipe)
            self._pipe = None

    def _copy(self) -> None:
        buffer = self._carrying.buffer
        try:
            got = self._source.recv_into(buffer)
        except BlockingIOError:
            self.readable = False
            return
        if not got:
            self._end()
            return
        if got == len(buffer):
            self._splices = True
        elif not self.hung_up:  # all that was there: the next octets, or the end, will be an event
            self.readable = False
        octets = buffer[:got]
        try:
            sent = self._sink.send(octets)
        except BlockingIOError:
            sent = 0
        if sent < got:
            self._left, self.writable = bytes(octets[sent:]), False

    def _write_left(self) -> bool:
        if not self.writable:
            return False
        try:
            sent = self._sink.send(self._left)
        except BlockingIOError:
            sent = 0
        self._left = self._left[sent:]
        self.writable = not self._left
        return self.writable

    def _splice(self) -> bool:
        """Read into a pipe; return False where there is none to be had."""
        self._pipe = self._carrying.pipes.lend()
        if self._pipe is None:
            self._splices = False
            return False
        try:
            self._in_pipe = os.splice(self._source.fileno(), self._pipe.writer, PIPE_OCTETS, flags=_SPLICE)
        except BlockingIOError:  # the pipe was empty, so it is the socket that is
            self.readable = False
            self.close()
            return True
        if not self._in_pipe:
            self.close()
            self._end()
        return True

    def _empty_pipe(self) -> bool:
        assert self._pipe is not None
        if not self.writable:
            return False
        while self._in_pipe:
            try:
                self._in_pipe -= os.splice(
                    self._pipe.reader, self._sink.fileno(), self._in_pipe, flags=_SPLICE
                )
            except BlockingIOError:
                self.writable = False
                return False
        self.close()
        return True

    def _end(self) -> None:
        self.ended, self.readable = True, False
        self._sink.shutdown(socket.SHUT_WR)


class Connection:
    """A client's connection and the one to its endpoint.  It keeps going whatever becomes of the rule."""

    __slots__ = (
        "_again",
        "_carrying",
        "_client",
        "_depth",
        "_down",
        "_name",
        "_picker",
        "_server",
        "_side",
        "_tried",
        "_up",
        "deadline",
        "is_open",
    )

    def __init__(
        self,
        carrying: Carrying,
        client: socket.socket,
        name: str,
        picker: Picker,
        side: Side,
        depth: int,
    ) -> None:
        """Take over a connection that is counted already; `name` is the client's address."""
        self._carrying, self._client, self._name = carrying, client, name
        self._picker, self._side, self._depth = picker, side, depth
        self._server: socket.socket | None = None
        self._tried: list[Target] = []
        self._up: Way | None = None
        self._down: Way | None = None
        self._again = False
        self.is_open = True
        self.deadline = 0.0
        """Until when the endpoint that is dialled may take the connection."""
        self._dial(picker.first(side, name, time.monotonic()))

    # Dialling

    def dial_another(self) -> None:
        """Leave the endpoint that did not take it for another; reset the client's where none is left."""
        self._leave_server()
        target = self._picker.other(self._side, self._tried) if len(self._tried) < DIALS else None
        if target is None:
            self.reset()
        else:
            self._dial(target)

    def _dial(self, target: Target) -> None:
        self._tried.append(target)
        try:
            server = socket.socket(target.family, socket.SOCK_STREAM)
        except OSError:  # no descriptors: no other endpoint would help
            self.reset()
            return
        self._server = server
        server.setblocking(False)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        code = server.connect_ex(target.address)
        self._carrying.hops.note(server, target, self._depth)
        if code not in (0, errno.EINPROGRESS):
            self._carrying.loop.again(self._dial_failed)
            return
        self.deadline = time.monotonic() + DIAL_SECONDS
        self._carrying.dialling(self)
        if self._watches(server, self._on_server) and not code:
            self._connected()

    def _dial_failed(self) -> None:
        if self.is_open:
            self.dial_another()

    def _connected(self) -> None:
        assert self._server is not None
        self._carrying.dialled(self)
        self._picker.taken(self._name, self._tried[-1], time.monotonic())
        self._up = Way(self._carrying, self._client, self._server)
        self._down = Way(self._carrying, self._server, self._client)
        self._down.readable = False
        if self._watches(self._client, self._on_client):
            self._move()

    def _watches(self, side: socket.socket, handler: Handler) -> bool:
        """Hear of a side from now on; reset both where epoll has no room for it (max_user_watches)."""
        try:
            self._carrying.loop.watch(side.fileno(), EDGES, handler)
        except OSError:
            self.reset()
            return False
        return True

    def _leave_server(self) -> None:
        self._carrying.dialled(self)
        if self._server is not None:
            self._carrying.loop.forget(self._server.fileno())
            self._server.close()
            self._server = None

    # Carrying

    def _on_server(self, events: int) -> None:
        if self._down is not None:
            assert self._up is not None and self._server is not None
            self._note(events, self._server, self._down, self._up)
        elif self._server is not None and _error(self._server):
            self.dial_another()
        elif events & WRITABLE:
            self._connected()
            if self._down is not None and self.is_open:
                self._on_server(events)

    def _on_client(self, events: int) -> None:
        assert self._up is not None and self._down is not None
        self._note(events, self._client, self._up, self._down)

    def _note(self, events: int, side: socket.socket, source: Way, sink: Way) -> None:
        """Take note of what happened at one side: `source` reads from it, `sink` writes to it."""
        if events & (READABLE | HUNG_UP):
            source.readable = True
            if events & HUNG_UP:
                source.hung_up = True
        if events & (WRITABLE | HUNG_UP):
            sink.writable = True
        if events & select.EPOLLERR and source.is_stuck and _error(side):
            self.reset()
        else:
            self._move()

    def _move(self) -> None:
        assert self._up is not None and self._down is not None
        try:
            more = self._up.move()
            more = self._down.move() or more
        except OSError:
            self.reset()
            return
        if self._up.ended and self._down.ended:
            self.close()
        elif more and not self._again:
            self._again = True
            self._carrying.loop.again(self._go_on)

    def _go_on(self) -> None:
        self._again = False
        if self.is_open:
            self._move()

    # Its end

    def reset(self) -> None:
        """End both sides by a reset."""
        for side in (self._client, self._server):
            if side is not None:
                with suppress(OSError):
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close()

    def close(self) -> None:
        """End both sides; twice is fine."""
        if not self.is_open:
            return
        self.is_open = False
        for way in (self._up, self._down):
            if way is not None:
                way.close()
        self._leave_server()
        self._carrying.loop.forget(self._client.fileno())
        self._client.close()
        self._carrying.ended(self)


def _error(side: socket.socket) -> int:
    return side.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
