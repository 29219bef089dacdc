"""What the forwarder can be told while it runs: a Unix stream socket in the data folder, one line each way.

    {"flush": "example.com."}     forget the name and all below it; null forgets everything
    {"flushed": 12}               or {"error": "what is wrong"}

Rules:

* the socket is of mode 0600 from its first moment on, in a folder of mode 0700: who can connect could
  remove the cache as well;
* whoever connects gets one answer and is bounded in octets and time; the few connections that there may be
  at once are no room for anybody to wait in;
* a folder's path may be longer than a socket's address (108 octets), so it is named by its descriptor.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import dns.exception
import dns.name

from svcdns.names.key import key_of_labels

SOCKET = "forwarder"
MOST_CONNECTIONS = 4
MOST_OCTETS = 1024
SECONDS = 5.0
_MODE = 0o600

Flush = Callable[[bytes], Awaitable[int]]
"""Forgets every answer whose key begins with these octets (b"": all); returns how many."""

log = logging.getLogger(__name__)


class BadRequest(ValueError):
    """A line that means nothing; the text says what is wrong and what is allowed."""


@contextlib.contextmanager
def address_in(folder: Path, name: str = SOCKET) -> Iterator[str]:
    """Give the address of a socket in a folder, whatever the length of its path.  Raises OSError."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def key_of_text(name: str) -> bytes:
    """Return the key of a name in presentation format, escapes and all.  Raises BadRequest."""
    if name in ("", "@"):
        raise BadRequest(f"{name!r} is no domain name; allowed: such as example.com, or . for all names")
    try:
        labels = dns.name.from_text(name).labels
    except (dns.exception.DNSException, UnicodeError) as wrong:
        raise BadRequest(f"{name[:80]!r} is no domain name: {str(wrong).rstrip('.').lower()}") from None
    return key_of_labels(list(labels[:-1]))


class Control:
    """Listens for the lines that `svcdns cache` sends."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """`seconds` is what a client gets to ask, and again to take the answer; a flush has no limit."""
        self._seconds = seconds
        self._server: asyncio.Server | None = None
        self._ends = False
        self._connections: set[asyncio.Task[None]] = set()
        self._path: Path | None = None
        self._inode = 0

    async def start(self, folder: Path, flush: Flush) -> None:
        """Listen in this folder; a socket that a killed forwarder left is replaced.  Raises OSError."""
        listener = self._listen(folder)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(reader, writer, flush)

        self._server = await asyncio.start_unix_server(serve, sock=listener, limit=MOST_OCTETS)

    def _listen(self, folder: Path) -> socket.socket:
        fresh = folder / (SOCKET + ".new")
        fresh.unlink(missing_ok=True)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(made.fileno(), _MODE)  # what bind gives to the file
            with address_in(folder, fresh.name) as address:
                made.bind(address)
            self._inode = fresh.stat().st_ino
            made.listen(MOST_CONNECTIONS)
            fresh.replace(folder / SOCKET)
        except BaseException:
            made.close()
            raise
        self._path = folder / SOCKET
        return made

    async def stop(self) -> None:
        """Stop listening, end what is connected, and take the socket away."""
        if self._server is None:
            return
        self._ends = True  # for those who were let in and have had no turn yet
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._server = None
        if self._path is not None:
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._inode:
                    self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flush: Flush) -> None:
        task = asyncio.current_task()
        if task is None or self._ends:
            writer.transport.abort()
            return
        is_one_too_many = len(self._connections) >= MOST_CONNECTIONS
        self._connections.add(task)
        try:
            answer = _busy() if is_one_too_many else await self._answer(reader, flush)
            async with asyncio.timeout(self._seconds):
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError):
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()  # takes note of a client that left

    async def _answer(self, reader: asyncio.StreamReader, flush: Flush) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._seconds):
                key = await _asked(reader)
        except BadRequest as wrong:
            return {"error": str(wrong)}
        try:
            return {"flushed": await flush(key)}
        except Exception:
            log.exception("the cache can't be flushed")
            return {"error": "the cache can't be flushed: the server's log says more"}


async def _asked(reader: asyncio.StreamReader) -> bytes:
    """Return the key below which all is to be forgotten.  Raises BadRequest."""
    try:
        line = await reader.readline()
    except ValueError:
        raise BadRequest(f"the line is longer than {MOST_OCTETS} octets") from None
    allowed = 'allowed: {"flush": NAME}, or {"flush": null} for all names'
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest(f"the line is no JSON; {allowed}") from None
    if not isinstance(asked, dict) or set(asked) != {"flush"}:
        raise BadRequest(f"nothing is known but flush; {allowed}")
    name = asked["flush"]
    if name is None:
        return b""
    if not isinstance(name, str):
        raise BadRequest(f"flush: is no text; {allowed}")
    return key_of_text(name)


def _busy() -> dict[str, Any]:
    return {"error": f"{MOST_CONNECTIONS} others are connected; try again"}
