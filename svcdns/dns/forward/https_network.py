"""Connections for httpcore on asyncio's streams: connect where we say, close when we say.

httpcore's own ones leave a socket behind when a TLS handshake is cancelled, and an exchange that waits on
a connection doesn't notice that the pool is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

import httpcore


class Network(httpcore.AsyncNetworkBackend):
    """Opens TLS connections to one place, whatever host stands in the URL, and knows them all."""

    def __init__(self, host: str, port: int) -> None:
        self.place = (host, port)
        self.streams: set[Stream] = set()

    async def connect_tcp(self, *_: object, **__: object) -> Stream:
        """Return what will be a connection: it is made together with its TLS."""
        return Stream(self)

    async def close(self) -> None:
        """Close all connections; whoever waits on one sees its end."""
        for stream in list(self.streams):
            await stream.aclose()


class Stream(httpcore.AsyncNetworkStream):
    """One connection.  Time limits are the caller's (asyncio.timeout)."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Stream:
        """Connect.  Raises OSError."""
        host, port = self._network.place
        self._reader, self._writer = await asyncio.open_connection(
            host, port, ssl=ssl_context, server_hostname=server_hostname
        )
        self._network.streams.add(self)
        return self

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come; b"" at the end."""
        assert self._reader is not None
        return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send.  Raises OSError."""
        assert self._writer is not None
        self._writer.write(buffer)
        await self._writer.drain()

    async def aclose(self) -> None:
        """Close at once: a TLS close would wait for the other side."""
        self._network.streams.discard(self)
        if self._writer is not None:
            self._writer.transport.abort()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for: the TLS object, and whether an idle connection has ended."""
        if self._writer is None or self._reader is None:
            return None
        if info == "is_readable":
            return self._reader.at_eof() or self._writer.is_closing()
        return self._writer.get_extra_info(info)
