"""The listener of the API: plain HTTP or TLS, and new certificates without an end of what is open.

Rules:

* files that changed are taken for new connections once they have been the same at two checks, so that
  nobody meets a half-copied pair; connections that are open go on with what they have;
* files that don't fit together change nothing: the old ones stay in use until the new ones do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

from aiohttp import web

from svcdns.api import connections
from svcdns.config.sections import ApiConfig
from svcdns.system import tcp_memory
from svcdns.system.background import background
from svcdns.system.watched_file import WatchedFile

from .accepting import Acceptor
from .tls import TlsError, context_of, warnings

BACKLOG = 1_024
"""Connections that may wait: after a restart all watchers come back at once, and one that finds no room
tries again only after a second."""
UNREACHABLE_SECONDS = 60.0
"""A client whose host does not acknowledge what was sent for so long has gone."""
LAST_REQUESTS_SECONDS = 0.1
"""What was accepted before the end gets so long to ask, and is answered: a client that has just connected
would find its connection reset otherwise.  Others wait in the backlog, for the next process."""
POLL_SECONDS = 1.0
"""Between two checks of the files."""

log = logging.getLogger(__name__)


class ApiSite:
    """The API's listener: plain HTTP, or TLS with the files as they are now."""

    def __init__(self, runner: web.AppRunner, listener: socket.socket, config: ApiConfig) -> None:
        """`listener` listens already; `runner` is set up."""
        self._listener = listener
        self._config = config
        self._files = WatchedFile(*_files(config))
        self._files.changed_and_stays()
        protocol = cast(Callable[[], asyncio.Protocol], runner.server)
        self._connections = runner.app[connections.KEY]
        self._acceptor = Acceptor(listener, self._connections, protocol)

    def start(self) -> None:
        """Begin to answer.  Raises TlsError."""
        self._acceptor.context = context_of(self._config)
        tcp_memory.bound_unsent(self._listener, UNREACHABLE_SECONDS)
        self._listener.listen(BACKLOG)
        self._acceptor.start()
        for warning in warnings(self._config):
            log.warning("%s", warning)

    async def stop(self) -> None:
        """Take no more connections, and let those that were taken ask."""
        self._acceptor.stop()
        await asyncio.sleep(LAST_REQUESTS_SECONDS)
        self._acceptor.close()

    async def follow(self) -> None:
        """Close late connections, and check the files once a second (HTTP has none), until cancelled."""
        async with background(self._connections.sweep()):
            await self._follow_files()
            await asyncio.Event().wait()

    async def _follow_files(self) -> None:
        while self._config.tls_cert is not None:
            await asyncio.sleep(POLL_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Take the files if they have changed, not since the last check, and fit together."""
        if not self._files.changed_and_stays():
            return
        try:
            # A context of its own has no sessions, so nobody resumes one that an old CA had let in.
            self._acceptor.context = context_of(self._config)
        except TlsError as wrong:
            log.error("%s; the old certificate stays in use", wrong)
            return
        log.info("the certificate files have changed; new connections get the new ones")
        for warning in warnings(self._config):
            log.warning("%s", warning)


def _files(config: ApiConfig) -> Iterator[Path]:
    yield from (path for path in (config.tls_cert, config.tls_key, config.client_ca) if path is not None)


@contextlib.asynccontextmanager
async def serving(
    runner: web.AppRunner, listener: socket.socket, config: ApiConfig
) -> AsyncIterator[ApiSite]:
    """Answer on a socket that listens, while the body runs, and take changed files.  Raises TlsError."""
    await runner.setup()
    site = ApiSite(runner, listener, config)
    try:
        site.start()
        async with background(site.follow()):
            yield site
    finally:
        await site.stop()
        await runner.cleanup()
        listener.close()
