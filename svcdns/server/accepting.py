"""Accepting connections of the API, while there are descriptors, and within the limits of api.connections.

asyncio's own server has no limits, and where descriptors run out it logs a traceback for each connection
that waits.  Here that is one line a minute, connections that only wait are closed, and it goes on by itself.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import ssl
import time
from collections.abc import Callable

from svcdns.api.connections import Connection, Connections

_BATCH = 16
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE_SECONDS = 0.25
"""Until accepting is tried again where descriptors have run out."""
WAIT_SECONDS = 0.02
"""The same where connections above the limits are being told so."""
LOG_SECONDS = 60.0

log = logging.getLogger(__name__)


class Acceptor:
    """Accepts on one listening socket, in the running loop."""

    def __init__(
        self, listener: socket.socket, connections: Connections, protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        """`protocol` makes aiohttp's protocol of one connection; the socket stays the caller's."""
        self.context: ssl.SSLContext | None = None
        """For connections from now on; None: plain HTTP."""
        self._listener = listener
        self._connections = connections
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        self._log_from = 0.0
        self._started = False

    def start(self) -> None:
        """Begin to accept, or go on."""
        self._started, self._again = True, None
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def stop(self) -> None:
        """Accept no more."""
        if self._started:
            self._loop.remove_reader(self._listener.fileno())
        if self._again is not None:
            self._again.cancel()

    def close(self) -> None:
        """Close connections that are not open yet."""
        for task in self._opening:
            task.cancel()

    def _accept(self) -> None:
        for _ in range(_BATCH):
            if not self._connections.room():
                self._pause(WAIT_SECONDS)
                return
            try:
                sock, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as failed:
                if failed.errno not in _EXHAUSTED:
                    raise
                self._pause(PAUSE_SECONDS)
                self._make_room(failed)
                return
            self._take(sock, str(address[0]))

    def _take(self, sock: socket.socket, client: str) -> None:
        sock.setblocking(False)
        opening: list[asyncio.Task[None]] = []

        def close() -> None:
            for task in opening:
                task.cancel()

        connection = self._connections.admit(client, close)
        task = self._loop.create_task(self._open(sock, connection))
        opening.append(task)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, sock: socket.socket, connection: Connection) -> None:
        """Give a connection its transport; with TLS that takes what the client takes to agree on it."""
        limit = self._connections.head_seconds if self.context is not None else None
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection.serve(self._protocol()),
                sock,
                ssl=self.context,
                ssl_handshake_timeout=limit,
            )
        except (OSError, asyncio.CancelledError) as failed:  # ssl.SSLError and TimeoutError are OSErrors
            self._connections.forget(connection)
            sock.close()
            log.debug("%s did not open a connection: %s", connection.client, failed or "it was closed")

    def _pause(self, seconds: float) -> None:
        """Accept again a little later; meanwhile connections wait in the socket."""
        self._loop.remove_reader(self._listener.fileno())
        self._again = self._loop.call_later(seconds, self.start)

    def _make_room(self, failed: OSError) -> None:
        closed = self._connections.make_room()
        if time.monotonic() >= self._log_from:
            self._log_from = time.monotonic() + LOG_SECONDS
            files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            text = "%s: no new connection of the API (open files allowed: %d); %d were closed"
            log.error(text, (failed.strerror or str(failed)).lower(), files, closed)
