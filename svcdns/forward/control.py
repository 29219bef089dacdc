"""What the forwarder can be told while it runs: a Unix stream socket in the data folder, one line each way.

    {"flush": "example.com."}     forget the name and all below it; null forgets everything
    {"flushed": 12}               or {"error": "what is wrong"}

Rules:

* the socket is of mode 0600 from its first moment on, in a folder of mode 0700: who can connect could
  remove the cache as well;
* whoever connects gets one answer and is bounded in octets and time; the few connections that there may be
  at once are no room for anybody to wait in;
* a folder's path may be longer than a socket's address (108 octets), so it is named by its descriptor;
* forwarding doesn't wait for it: where the socket can't be made, one warning says so and `keep` tries again;
  it makes one anew, too, that somebody removed.
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

from svcdns.wire.key import key_of_labels

SOCKET = "forwarder"
MOST_CONNECTIONS = 4
MOST_OCTETS = 1024
SECONDS = 5.0
AGAIN_SECONDS = 10.0
"""From one `keep` to the next."""
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
        why = str(wrong).rstrip(".").lower().replace("dns", "DNS")
        raise BadRequest(f"{name[:80]!r} is no domain name: {why}; allowed: such as example.com") from None
    return key_of_labels(list(labels[:-1]))


class Control:
    """Listens for the lines that `svcdns cache` sends."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """`seconds` is what a client gets to ask, and again to take the answer; a flush has no limit."""
        self._seconds = seconds
        self._server: asyncio.Server | None = None
        self._ends = False
        self._connections: set[asyncio.Task[None]] = set()
        self._folder = Path()
        self._flush: Flush | None = None
        self._inode = 0
        """Of the socket that is ours, 0 before there is one."""
        self._told = False
        """Whether that there is none was the last that was told."""

    async def start(self, folder: Path, flush: Flush) -> None:
        """Listen in this folder, now or later; a socket that a killed forwarder left is replaced."""
        self._folder, self._flush = folder, flush
        await self.keep()

    async def keep(self) -> None:
        """To be called every AGAIN_SECONDS: make the socket if it isn't there.  Never raises OSError."""
        if self._ends or self._is_there():
            return
        is_new = not self._inode and not self._told
        try:
            await self._listen()
        except OSError as failed:
            self._tell(failed)
            return
        self._told = False
        if not is_new:
            log.info("`svcdns cache flush` reaches this server again")

    def _is_there(self) -> bool:
        try:
            return self._server is not None and (self._folder / SOCKET).stat().st_ino == self._inode
        except OSError:
            return False

    def _tell(self, failed: OSError) -> None:
        """Warn, once until it is there."""
        if not self._told:
            log.warning(
                "`svcdns cache flush` can't reach this server: %s: %s; tried again every %g s",
                self._folder / SOCKET,
                failed.strerror or failed,
                AGAIN_SECONDS,
            )
        self._told = True

    async def _listen(self) -> None:
        """Listen on a new socket and no longer on the one before."""
        listener = _bound(self._folder)
        try:
            inode = (self._folder / SOCKET).stat().st_ino
            server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MOST_OCTETS)
        except BaseException:
            listener.close()
            raise
        if self._server is not None:
            self._server.close()
        self._server, self._inode = server, inode

    async def stop(self) -> None:
        """Stop listening, end what is connected, and take the socket away."""
        if self._server is None:
            return
        self._ends = True  # for those who were let in and have had no turn yet
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        with contextlib.suppress(OSError):
            if self._is_there():
                (self._folder / SOCKET).unlink()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._flush is None or self._ends:
            writer.transport.abort()
            return
        is_one_too_many = len(self._connections) >= MOST_CONNECTIONS
        self._connections.add(task)
        try:
            answer = _busy() if is_one_too_many else await self._answer(reader, self._flush)
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


def _bound(folder: Path) -> socket.socket:
    """Return a listener on a new socket file, which takes the place of one that is there.  Raises OSError."""
    fresh = folder / (SOCKET + ".new")
    fresh.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(made.fileno(), _MODE)  # what bind gives to the file
        with address_in(folder, fresh.name) as address:
            made.bind(address)
        made.listen(MOST_CONNECTIONS)
        fresh.replace(folder / SOCKET)
    except BaseException:
        made.close()
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    return made


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
