"""Sockets that wait for one datagram: an epoll object holds them all, and the event loop watches that.

    arrivals.watch(sock, take); ...; arrivals.end(sock)

* The loop's own add_reader and remove_reader take two system calls a socket, and much Python.  Here it is
  one: a socket leaves the epoll object when it is closed, which only `end` does.
* All that have something to read are called when the loop wakes up; one that doesn't read what has come is
  called again.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable

_AT_ONCE = 256


class Arrivals:
    """Calls when one of many sockets can be read; used in one event loop."""

    def __init__(self) -> None:
        """Nothing is opened before the first socket is there."""
        self._epoll: select.epoll | None = None
        self._takers: dict[int, Callable[[], object]] = {}

    def watch(self, sock: socket.socket, take: Callable[[], object]) -> None:
        """Have `take` called, which closes no socket, whenever the socket can be read.  Raises OSError."""
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._call, self._epoll)
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._takers[sock.fileno()] = take

    def end(self, sock: socket.socket) -> None:
        """Close a socket, watched or not."""
        self._takers.pop(sock.fileno(), None)
        sock.close()

    def close(self) -> None:
        """Call nothing any more; sockets that are left are still to be ended."""
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _call(self, epoll: select.epoll) -> None:
        for number, _ in epoll.poll(0, _AT_ONCE):
            self._takers[number]()
