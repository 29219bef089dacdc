"""Parsing a zone file in a process of its own, and reading its rows from there.

A zone file is text from outside and dnspython keeps all of it in memory, so a parser that hangs, dies
or wants too much memory must be an error of that file and never of the server.  The child writes
frames to its standard output, each a length (u32) and that many octets:

    head    msgpack, ZoneHead or Refusal
    rows    at most ROWS_A_FRAME times: key length u16 | row length u32 | key | row
    ...
    end     an empty frame, so that a child that died half-way is noticed
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import resource
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import msgspec

from svcdns.names.packed import LAYOUT

from .master_file import RULES, ZoneFileError, compile_zone

ROWS_A_FRAME = 500
"""One frame is one write transaction."""
PARSER: tuple[str, ...] = (sys.executable, "-P", "-m", "svcdns.zonefiles.parser")

_LENGTH = Struct(">I")
_ROW = Struct(">HI")
_PACKAGE = str(Path(__file__).resolve().parents[2])
_STREAM_OCTETS = 1 << 20

Rows = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a parser may take: seconds from one frame to the next, octets of address space."""

    seconds: float = 300
    octets: int = 2 << 30


LIMITS = Limits()


class ZoneHead(msgspec.Struct, tag="zone", frozen=True):
    """What the parser says of a zone before its rows; `digest` is that of the text it read."""

    origin: str
    key: bytes
    serial: int
    cuts: bool
    wildcards: bool
    rows: int
    digest: bytes


class Refusal(msgspec.Struct, tag="refusal", frozen=True):
    """Why there is no zone; line 0 means the file as a whole."""

    line: int
    text: str


def digest_of_file(path: Path) -> bytes:
    """Return the digest of a file's text, which may be larger than memory.  Raises OSError."""
    with path.open("rb") as file:
        return digest_of(file)


def digest_of(text: io.BufferedReader | io.BytesIO) -> bytes:
    """Return a value that differs whenever the rows of this text may differ from those stored."""
    return hashlib.file_digest(text, lambda: hashlib.sha256(b"%d.%d\n" % (LAYOUT, RULES))).digest()


@dataclass(slots=True)
class ZoneStream:
    """A zone as it comes from the parser: its head, then its rows; each frame must come in time and whole."""

    source: str
    _child: asyncio.subprocess.Process
    _seconds: float
    head: ZoneHead = field(init=False)

    async def read_head(self) -> None:
        """Take the first frame.  Raises ZoneFileError for a file that is refused."""
        try:
            head = msgspec.msgpack.decode(await self._next(), type=ZoneHead | Refusal)
        except msgspec.DecodeError as broken:
            raise ZoneFileError(self.source, 0, f"the parser gave no zone: {broken}") from None
        if isinstance(head, Refusal):
            raise ZoneFileError(self.source, head.line, head.text)
        self.head = head

    async def frames(self) -> AsyncIterator[Rows]:
        """Yield lists of at most ROWS_A_FRAME (key, row); raises ZoneFileError if the parser ends early."""
        count = 0
        while octets := await self._next():
            rows = list(_unpacked(octets))
            count += len(rows)
            yield rows
        if count != self.head.rows:
            raise ZoneFileError(self.source, 0, f"the parser gave {count} of {self.head.rows} names")

    async def _next(self) -> bytes:
        stream = self._child.stdout
        assert stream is not None
        try:
            async with asyncio.timeout(self._seconds):
                (octets,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
                return await stream.readexactly(octets)
        except TimeoutError:
            text = f"the parser took longer than {self._seconds:g} s and was ended"
        except asyncio.IncompleteReadError:
            ended = await self._child.wait()
            how = f"by signal {-ended}" if ended < 0 else f"with exit code {ended}"
            text = f"the parser ended {how} before it was done"
        raise ZoneFileError(self.source, 0, text)


@asynccontextmanager
async def parse(
    path: Path, limits: Limits = LIMITS, parser: Sequence[str] = PARSER
) -> AsyncIterator[ZoneStream]:
    """Parse a zone file in a child process; the child has ended when the block is left.

    Raises ZoneFileError for a file that is refused, and for a parser that dies or takes too long.
    """
    search = os.pathsep.join(filter(None, (_PACKAGE, os.environ.get("PYTHONPATH"))))
    child = await asyncio.create_subprocess_exec(
        *parser,
        str(path),
        str(limits.octets),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": search},
        limit=_STREAM_OCTETS,
    )
    try:
        zone = ZoneStream(str(path), child, limits.seconds)
        await zone.read_head()
        yield zone
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def _unpacked(octets: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(octets):
        key_octets, row_octets = _ROW.unpack_from(octets, at)
        row_at = at + _ROW.size + key_octets
        at = row_at + row_octets
        yield octets[row_at - key_octets : row_at], octets[row_at:at]


def emit(path: Path, out: BinaryIO) -> None:
    """Write the frames of a zone file; what the child process does."""
    try:
        octets = path.read_bytes()
        zone = compile_zone(_decoded(octets, str(path)), None, str(path))
        digest = digest_of(io.BytesIO(octets))
        head = ZoneHead(zone.origin, zone.key, zone.serial, zone.cuts, zone.wildcards, len(zone), digest)
    except ZoneFileError as refused:
        return _write(out, msgspec.msgpack.encode(Refusal(refused.line, refused.text)))
    except OSError as unreadable:
        return _write(out, msgspec.msgpack.encode(Refusal(0, f"can't be read: {unreadable.strerror}")))
    except MemoryError:
        return _write(out, msgspec.msgpack.encode(Refusal(0, "needs more memory than a zone file may take")))
    _write(out, msgspec.msgpack.encode(head))
    rows = zone.rows()
    while batch := list(islice(rows, ROWS_A_FRAME)):
        _write(out, b"".join(_ROW.pack(len(key), len(row)) + key + row for key, row in batch))
    return _write(out, b"")


def _decoded(octets: bytes, source: str) -> str:
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        line = octets.count(b"\n", 0, bad.start) + 1
        raise ZoneFileError(source, line, f"octet 0x{octets[bad.start]:02x} is not UTF-8") from None


def _write(out: BinaryIO, frame: bytes) -> None:
    out.write(_LENGTH.pack(len(frame)) + frame)


def main(path: str, octets: str) -> None:
    """Parse one file; `octets` caps the address space of this process."""
    resource.setrlimit(resource.RLIMIT_AS, (int(octets), int(octets)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)  # answering questions goes first
    with suppress(BrokenPipeError):
        emit(Path(path), sys.stdout.buffer)
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
