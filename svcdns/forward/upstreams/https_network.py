"""Connections for httpcore on asyncio's streams: they lead where we say, whatever host stands in the URL.

httpcore's own ones leave their socket behind when a TLS handshake is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

import httpcore

from .upstream import connect


class Network(httpcore.AsyncNetworkBackend, httpcore.AsyncNetworkStream):
    """Opens TLS connections to one place."""

    def __init__(self, host: str, port: int) -> None:
        self._place = (host, port)

    async def connect_tcp(self, *_: object, **__: object) -> Network:
        """Return itself: a connection is made together with its TLS."""
        return self

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Stream:
        """Connect.  Raises OSError."""
        return Stream(*await connect(*self._place, ssl_context, server_hostname))


class Stream(httpcore.AsyncNetworkStream):
    """One connection.  Time limits are the caller's (asyncio.timeout)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come; b"" at the end."""
        return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send.  Raises OSError."""
        self._writer.write(buffer)
        await self._writer.drain()

    async def aclose(self) -> None:
        """Close at once: a TLS close would wait for the other side."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for: the TLS object, and whether an idle connection has ended."""
        if info == "is_readable":
            return self._reader.at_eof() or self._writer.is_closing()
        return self._writer.get_extra_info(info)
