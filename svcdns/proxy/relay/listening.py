"""A TCP listener of a frontend: it takes connections, and gives each to an endpoint.

Rules:

* it takes one connection an event; epoll says again that there are more, so no listener keeps out the others;
* who is to meet silence never gets here (`silence`), where the kernel has room for that filter; without it
  they get what a refusal is once a connection is taken: a reset.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from svcdns.proxy.relay import silence
from svcdns.proxy.relay.carrying import Carrying
from svcdns.proxy.relay.loop import READABLE
from svcdns.proxy.relay.picking import Picker
from svcdns.proxy.relay.tcp import RESET, Connection

BACKLOG = 4096
"""The kernel takes less where net.core.somaxconn says so."""


class TcpListener:
    """One listening socket."""

    def __init__(self, carrying: Carrying, bound: socket.socket, own: str, picker: Picker) -> None:
        """Listen on a socket that is bound at the address `own`.  Raises OSError."""
        self._carrying, self._socket, self._own, self._picker = carrying, bound, own, picker
        self._has_filter = False
        self._is_closed = False
        self.change()
        bound.listen(BACKLOG)
        carrying.loop.watch(bound.fileno(), READABLE, self._on_event)

    def change(self) -> None:
        """Go by the picker's present rule where clients are to meet silence."""
        tests = self._picker.silent_to(self._own)
        if tests or self._has_filter:
            self._has_filter = silence.attach(self._socket, tests) and bool(tests)

    def close(self) -> None:
        """Refuse connections from now on; those that were taken go on."""
        self._is_closed = True
        self._carrying.loop.forget(self._socket.fileno())
        self._socket.close()

    def _on_event(self, events: int) -> None:
        if not self._carrying.limits.take():
            self._wait()
            return
        try:
            client, name = self._socket.accept()
        except OSError as wrong:
            self._carrying.limits.give_back()
            if not isinstance(wrong, BlockingIOError | ConnectionError):  # no descriptors, no memory
                self._wait()
            return
        try:
            self._carry(client, name)
        except BaseException:
            client.close()
            self._carrying.limits.give_back()
            raise

    def _carry(self, client: socket.socket, name: tuple[str, int]) -> None:
        client.setblocking(False)
        if self._has_filter:  # inherited from the listener; it has done its work
            silence.detach(client)
        side = self._picker.side(name[0], self._own)
        depth = self._carrying.hops.depth(socket.SOCK_STREAM, name[0], name[1])
        if side is None or not side.targets or self._carrying.hops.is_too_deep(depth):
            with suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            self._carrying.limits.give_back()
            return
        connection = Connection(self._carrying, client, name[0], self._picker, side, depth)
        if connection.is_open:
            self._carrying.open.add(connection)

    def _wait(self) -> None:
        """Take no more until a connection has ended."""
        self._carrying.loop.pause(self._socket.fileno())
        self._carrying.limits.wait(self._resume)

    def _resume(self) -> None:
        if not self._is_closed:
            self._carrying.loop.resume(self._socket.fileno())
