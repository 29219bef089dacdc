"""Parsing zone files in a process of its own, and reading their rows from there.

A zone file is text from outside and dnspython keeps all of it in memory, so a parser that hangs, dies or
wants too much memory must be an error of that file and never of the server, nor of other files:

* one process reads many files, one after the other, as most of what a small file costs is its start;
* it is replaced after a file that it died of or was ended for, and goes on with the file behind;
* a file that it dies of, or has no memory for, is tried again in a new process if others were before it: so
  only the file itself is to blame;
* each frame must come in time and whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import msgspec

from .frames import LENGTH, ROWS, SKIP, Refusal, Rows, ZoneHead, unpack_rows
from .zone_file_error import ZoneFileError

PARSER: tuple[str, ...] = (sys.executable, "-P", "-m", "svcdns.zonefiles.parser")

_PACKAGE = str(Path(__file__).resolve().parents[2])
_STREAM_OCTETS = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a parser may take for a file: seconds from one frame to the next, octets of address space."""

    seconds: float = 300
    octets: int = 2 << 30


LIMITS = Limits()


class TookTooLong(ZoneFileError):
    """The parser did not come to an end with a file in time."""


class _Died(ZoneFileError):
    """The parser ended before it was done with a file."""


class _Spent(ZoneFileError):
    """A file is refused by a parser that has no memory left for it."""


@dataclass(slots=True)
class ZoneStream:
    """A zone as it comes from the parser: its head, then its rows."""

    source: str
    _child: asyncio.subprocess.Process
    _seconds: float
    head: ZoneHead = field(init=False)
    _at: str = ""
    """How far it was read: "", "head", "rows" or "end"."""

    async def read_head(self, seconds: float) -> None:
        """Take the first frame, for which there are so many seconds.  Raises ZoneFileError if refused."""
        self._say(json.dumps(self.source).encode() + b"\n")
        try:
            head = msgspec.msgpack.decode(await self._next(seconds), type=ZoneHead | Refusal)
        except msgspec.DecodeError as broken:
            raise ZoneFileError(self.source, 0, f"the parser gave no zone: {broken}") from None
        if isinstance(head, Refusal):
            self._at = "" if head.spent else "end"
            kind = _Spent if head.spent else ZoneFileError
            raise kind(head.source or self.source, head.line, head.text, head.included)
        self.head, self._at = head, "head"

    async def frames(self) -> AsyncIterator[Rows]:
        """Yield lists of at most ROWS_A_FRAME (key, row); raises ZoneFileError if the parser ends early."""
        self._at = "rows"
        self._say(ROWS)
        count = 0
        while octets := await self._next(self._seconds):
            rows = list(unpack_rows(octets))
            count += len(rows)
            yield rows
        if count != self.head.rows:
            raise ZoneFileError(self.source, 0, f"the parser gave {count} of {self.head.rows} names")
        self._at = "" if self.head.spent else "end"

    def leave(self) -> bool:
        """Have done with it, however far it was read; return whether the parser can go on to another file."""
        if self._at == "head" and not self.head.spent:
            self._say(SKIP)
            self._at = "end"
        return self._at == "end"

    def _say(self, line: bytes) -> None:
        assert self._child.stdin is not None
        with suppress(ConnectionError):  # then nothing comes back either
            self._child.stdin.write(line)

    async def _next(self, seconds: float) -> bytes:
        stream = self._child.stdout
        assert stream is not None
        try:
            async with asyncio.timeout(seconds):
                (octets,) = LENGTH.unpack(await stream.readexactly(LENGTH.size))
                return await stream.readexactly(octets)
        except TimeoutError:
            text = f"the parser took longer than {seconds:g} s and was ended"
            raise TookTooLong(self.source, 0, text) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            ended = await self._child.wait()
        how = f"by signal {-ended}" if ended < 0 else f"with exit code {ended}"
        raise _Died(self.source, 0, f"the parser ended {how} before it was done")


class Parser:
    """Parses zone files, one at a time; a context manager that leaves no process behind."""

    def __init__(self, command: Sequence[str] = PARSER, limits: Limits = LIMITS) -> None:
        """Nothing is started before there is a file; `command` is given the octets that it may take."""
        self._command = command
        self._limits = limits
        self._child: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """That of the process that there is now; 0: none."""
        return self._child.pid if self._child else 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    @asynccontextmanager
    async def parse(self, path: Path, seconds: float | None = None) -> AsyncIterator[ZoneStream]:
        """Parse a zone file, with its head in so many seconds (or as limited).

        Raises ZoneFileError for a file that is refused, and for a parser that dies or takes too long.
        """
        zone = await self._zone(str(path), self._limits.seconds if seconds is None else seconds)
        try:
            yield zone
        finally:
            if not zone.leave():
                await self._end()

    async def _zone(self, source: str, seconds: float) -> ZoneStream:
        """Return a zone whose head was read, from a new process if one that was there fails."""
        while True:
            is_new = self._child is None
            self._child = self._child or await self._start()
            zone = ZoneStream(source, self._child, self._limits.seconds)
            try:
                await zone.read_head(seconds)
                return zone
            except (_Died, _Spent):
                if is_new:
                    raise
            finally:
                if not hasattr(zone, "head") and not zone.leave():
                    await self._end()

    async def _start(self) -> asyncio.subprocess.Process:
        search = os.pathsep.join(filter(None, (_PACKAGE, os.environ.get("PYTHONPATH"))))
        return await asyncio.create_subprocess_exec(
            *self._command,
            str(self._limits.octets),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": search},
            limit=_STREAM_OCTETS,
        )

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
