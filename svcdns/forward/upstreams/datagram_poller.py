"""Sockets that wait for one datagram: one epoll object holds them all, and the event loop watches that.

    poller.watch(sock, on_readable); ...; poller.close_socket(sock)

* The loop's own add_reader and remove_reader take two system calls a socket, and much Python.  Here it is
  one: closing a socket takes it out of the epoll object, and only `close_socket` does.
* When the loop wakes up, the callbacks of all sockets that can be read are called.  A callback that does not
  read is called again.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable

_MOST_EVENTS = 256
"""Taken at one wake-up; the others wait for the next."""


class DatagramPoller:
    """Calls back when one of many sockets can be read; used in one event loop."""

    def __init__(self) -> None:
        """Open nothing before the first socket is there."""
        self._epoll: select.epoll | None = None
        self._callbacks: dict[int, Callable[[], object]] = {}

    def watch(self, sock: socket.socket, on_readable: Callable[[], object]) -> None:
        """Call `on_readable` whenever the socket can be read, also once when it can't.  Raises OSError."""
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._call, self._epoll)
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._callbacks[sock.fileno()] = on_readable

    def close_socket(self, sock: socket.socket) -> None:
        """Close a socket, watched or not."""
        self._callbacks.pop(sock.fileno(), None)
        sock.close()

    def close(self) -> None:
        """Call nothing any more; sockets that are left still have to be closed."""
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _call(self, epoll: select.epoll) -> None:
        callbacks = self._callbacks
        for number, _ in epoll.poll(0, _MOST_EVENTS):
            # A callback may have closed the socket of one that comes after it, whose number may be another's.
            if (on_readable := callbacks.get(number)) is not None:
                on_readable()
