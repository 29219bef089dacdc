"""Many watchers at once, cheaply: raw sockets, one selector.

    with Watchers(server, 100, "/api/v1/services") as watchers:
        server.patch(...)
        seconds = watchers.all_told(since)

A watcher here doesn't parse what it reads; it counts lines.
"""

import os
import resource
import selectors
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def rss(pid: int) -> int:
    """Return the resident set of a process, octets; without what it maps of files, so without LMDB."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * _PAGE


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def allow_sockets(count: int) -> None:
    """Raise this process' own limit of open files, which the watchers' sockets count against."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 100:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 100, hard), hard))


_UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


class Watchers:
    """Some watches of one collection from now on; a context manager that closes them."""

    def __init__(
        self,
        server: RunningServer,
        count: int,
        path: str,
        *,
        receive_buffer: int = 0,
        web_socket: bool = False,
    ) -> None:
        """`receive_buffer` is the socket's, octets; 0 leaves it to the system."""
        allow_sockets(count)
        self._headers, self._status = (_UPGRADE, b"101") if web_socket else ("", b"200")
        host, _, port = server.api.removeprefix("http://").partition(":")
        self._where = (host, int(port))
        self._selector = selectors.DefaultSelector()
        revision = server.get(f"{path}?limit=1").json["metadata"]["resourceVersion"]
        self.sockets = [self._open(f"{path}?watch=true&resourceVersion={revision}", receive_buffer)
                        for _ in range(count)]  # fmt: skip
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, target: str, receive_buffer: int) -> socket.socket:
        made = socket.socket()
        if receive_buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.connect(self._where)
        made.sendall(f"GET {target} HTTP/1.1\r\nHost: {self._where[0]}\r\n{self._headers}\r\n".encode())
        self._selector.register(made, selectors.EVENT_READ)
        return made

    def _begin(self) -> None:
        """Wait until each has the head of its answer."""
        waiting = set(self.sockets)
        while waiting:
            for one in self._readable():
                head = one.recv(65536)
                assert head.startswith(b"HTTP/1.1 " + self._status) and head.endswith(b"\r\n\r\n"), head
                waiting.remove(one)

    def _readable(self) -> Sequence[socket.socket]:
        found = self._selector.select(GUARD_SECONDS)
        assert found, "the watchers wait for nothing"
        return [key.fileobj for key, _ in found if isinstance(key.fileobj, socket.socket)]

    def all_told(self, since: float) -> float:
        """Read until each has got something; return the seconds from `since` (of time.perf_counter)."""
        waiting = set(self.sockets)
        while waiting:
            for one in self._readable():
                assert one.recv(1 << 20), "a watch has ended"
                waiting.discard(one)
        return time.perf_counter() - since

    def close(self) -> None:
        """Close all."""
        for one in self.sockets:
            one.close()
        self._selector.close()


class Informers:
    """Watches that want the present state first and read it as fast as they can; a context manager.

    They read only when `all_complete` is called.
    """

    MARK = b"k8s.io/initial-events-end"

    def __init__(
        self, url: str, count: int, path: str, *, receive_buffer: int = 0, watch: bool = True
    ) -> None:
        """`receive_buffer` is the socket's, octets; 0 leaves it to the system.  Without `watch`: lists."""
        allow_sockets(count)
        host, _, port = url.removeprefix("http://").partition(":")
        mark = "&" if "?" in path else "?"
        query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        target = f"{path}{mark}{query}" if watch else path
        head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._selector = selectors.DefaultSelector()
        self.octets = 0
        self.sockets = []
        for _ in range(count):
            made = socket.socket()
            if receive_buffer:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            made.connect((host, int(port)))
            made.sendall(head)
            self._selector.register(made, selectors.EVENT_READ)
            self.sockets.append(made)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self.sockets:
            one.close()
        self._selector.close()

    def all_complete(self) -> None:
        """Read until each has been told that it has all there is."""
        tails = dict.fromkeys(self.sockets, b"")
        while tails:
            for key, _ in self._selector.select(GUARD_SECONDS):
                one = key.fileobj
                assert isinstance(one, socket.socket)
                octets = one.recv(1 << 20)
                assert octets, "a watch has ended"
                self.octets += len(octets)
                if self.MARK in tails[one] + octets[-400:] or self.MARK in octets[:400]:
                    del tails[one]
                    self._selector.unregister(one)
                else:
                    tails[one] = (tails[one] + octets[-400:])[-400:]
