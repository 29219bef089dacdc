"""Sending dnstap's frames where they are wanted: to a Unix socket, over TCP, or into a file.

What can't be sent waits, MOST_OCTETS of it; more is thrown away and counted.  A connection that ends, or
can't be made, is made again after a pause that grows; the log says so once.  A file that exists is not
written on, as a stream of frames has one beginning: it is moved to PATH.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable

from svcdns.config.readers import endpoint
from svcdns.system.log_on_change import LogOnChange

from .dnstap import CONTENT_TYPE
from .frame_streams import (
    ACCEPT,
    FINISH,
    READY,
    START,
    STOP,
    NotFrames,
    check_control,
    control,
    control_octets,
    data,
)

MOST_OCTETS = 8 << 20
HANDSHAKE_SECONDS = 5.0
FINISH_SECONDS = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
_AT_ONCE = 64 << 10

log = logging.getLogger(__name__)

Count = Callable[[int], None]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FrameSender:
    """Sends frames to one place; used from one loop."""

    def __init__(self, to: str, sent: Count, lost: Count) -> None:
        """`to` is as dnstap.to has it; `sent` and `lost` are told how many frames were."""
        self._kind, _, self._place = to.partition(":")
        self._to = to
        self._sent, self._lost = sent, lost
        self._frames: deque[bytes] = deque()
        self._octets = 0
        self._more = asyncio.Event()
        self._reopen = False
        self._pause = FIRST_PAUSE
        self._trouble = LogOnChange()

    def put(self, message: bytes) -> None:
        """Have a message sent."""
        if self._octets + len(message) > MOST_OCTETS:
            self._lost(1)
            return
        self._frames.append(data(message))
        self._octets += len(message)
        self._more.set()

    def reopen(self) -> None:
        """End the file and begin another one; a connection is left alone."""
        self._reopen = self._kind == "file"
        self._more.set()

    async def run(self) -> None:
        """Send until cancelled; what waits then is sent as far as that goes quickly."""
        try:
            while True:
                try:
                    await (self._write_file() if self._kind == "file" else self._converse())
                except (OSError, NotFrames, EOFError) as failed:  # TimeoutError is an OSError
                    self._fails(getattr(failed, "strerror", None) or str(failed) or "it does not answer")
                    await asyncio.sleep(self._pause)
                    self._pause = min(LONGEST_PAUSE, 2 * self._pause)
        finally:
            self._lost(len(self._frames))

    # A connection

    async def _converse(self) -> None:
        reader, writer = await self._connected()
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                writer.write(control(READY, CONTENT_TYPE))
                await _expect(reader, ACCEPT, CONTENT_TYPE)
                writer.write(control(START, CONTENT_TYPE))
                await writer.drain()
            self._works()
            ended = asyncio.ensure_future(reader.read(1))
            try:
                await self._send_all(writer, ended)
            finally:
                ended.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await ended
        except asyncio.CancelledError:
            await self._finish(reader, writer)
            raise
        finally:
            writer.close()

    async def _connected(self) -> Streams:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            if self._kind == "unix":
                return await asyncio.open_unix_connection(self._place)
            where = endpoint(self._place)
            return await asyncio.open_connection(where.host, where.port)

    async def _send_all(self, writer: asyncio.StreamWriter, ended: asyncio.Future[bytes]) -> None:
        """Send what comes; raises EOFError where the other end has gone: it says nothing while we send."""
        while True:
            more = asyncio.ensure_future(self._more.wait())
            try:
                await asyncio.wait((more, ended), return_when=asyncio.FIRST_COMPLETED)
            finally:
                more.cancel()
            if ended.done():
                raise EOFError("the connection was ended by who takes the frames")
            while frames := self._next():
                await self._send(writer, frames)

    async def _send(self, writer: asyncio.StreamWriter, frames: list[bytes]) -> None:
        try:
            writer.write(b"".join(frames))
            await writer.drain()
        except OSError:
            self._lost(len(frames))
            raise
        self._sent(len(frames))

    async def _finish(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, NotFrames, EOFError, TimeoutError):
            async with asyncio.timeout(FINISH_SECONDS):
                while frames := self._next():
                    await self._send(writer, frames)
                writer.write(control(STOP))
                await writer.drain()
                await _expect(reader, FINISH)

    # A file

    async def _write_file(self) -> None:
        if os.path.exists(self._place) and os.path.getsize(self._place):
            os.replace(self._place, self._place + ".1")
        self._reopen = False
        file = os.open(self._place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        good = 0
        try:
            good = os.write(file, control(START, CONTENT_TYPE))
            self._works()
            while not self._reopen:
                await self._more.wait()
                good = self._append(file, good)
        finally:
            if good:
                self._append(file, good)
            with contextlib.suppress(OSError):
                os.write(file, control(STOP))
            os.close(file)

    def _append(self, file: int, good: int) -> int:
        """Write what waits behind the first `good` octets; return how many are good now.

        Of frames that the disk takes no more than a part of none is kept: a reader could not go on behind
        them.
        """
        while frames := self._next():
            octets, taken, text = b"".join(frames), 0, "no room is left"
            try:
                taken = os.write(file, octets)
            except OSError as failed:
                text = failed.strerror or str(failed)
            if taken < len(octets):
                os.ftruncate(file, good)
                os.lseek(file, good, os.SEEK_SET)
                self._lost(len(frames))
                self._fails(text)
            else:
                good += taken
                self._sent(len(frames))
                self._works()
        return good

    # Both

    def _next(self) -> list[bytes]:
        """Take the frames that are sent next."""
        taken, octets = [], 0
        while self._frames and octets < _AT_ONCE:
            taken.append(frame := self._frames.popleft())
            octets += len(frame)
            self._octets -= len(frame) - len(data(b""))
        if not self._frames:
            self._more.clear()
        return taken

    def _fails(self, text: str) -> None:
        if self._trouble.is_new(text):
            log.warning("dnstap to %s: %s; tried again until it works", self._to, text)

    def _works(self) -> None:
        self._pause = FIRST_PAUSE
        if self._trouble.is_new(""):
            log.info("dnstap to %s works again", self._to)


async def _expect(reader: asyncio.StreamReader, kind: int, content_type: bytes = b"") -> None:
    """Read a control frame.  Raises NotFrames, and EOFError where the connection ends."""
    rest = await reader.readexactly(control_octets(await reader.readexactly(8)))
    check_control(rest, kind, content_type)
