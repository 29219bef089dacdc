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
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import msgspec

from svcdns.names.packed import LAYOUT
from svcdns.store.snapshot import Nsec3Parameters

from .errors import Included, ZoneFileError
from .includes import Includes, open_file
from .master_file import RULES, CompiledZone, compile_zone
from .zone_text import decode

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
    signed: bool = False
    nsec3: Nsec3Parameters | None = None
    expires: int = 0
    expiring: str = ""
    remarks: tuple[str, ...] = ()
    included: Included = ()


class Refusal(msgspec.Struct, tag="refusal", frozen=True):
    """Why there is no zone, by file (`source`, "" for the zone file) and line, 0 for the file as a whole."""

    line: int
    text: str
    source: str = ""
    included: Included = ()


def digest_of_file(path: Path, included: Iterable[str] = ()) -> bytes:
    """Return the digest of a file's text and of what it includes, which may be larger than memory.

    `included` are paths within its folder.  Raises OSError.
    """
    with ExitStack() as opened:
        files = {}
        for name in included:
            if (file := open_file(path.parent / name)) is not None:
                opened.enter_context(file)
            files[name] = file
        with path.open("rb") as text:
            return digest_of(text, files)


def digest_of(text: BinaryIO, included: Mapping[str, BinaryIO | None]) -> bytes:
    """Return a value that differs whenever the rows of this text may differ from those stored."""
    digest = hashlib.sha256(b"%d.%d\n" % (LAYOUT, RULES))
    for name, file in {"": text, **included}.items():
        inner = hashlib.file_digest(file, "sha256").digest() if file is not None else b""  # type: ignore[arg-type]
        digest.update(b"%s\0%d\0%s" % (os.fsencode(name), len(inner), inner))
    return digest.digest()


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
            raise ZoneFileError(head.source or self.source, head.line, head.text, head.included)
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
    include = Includes(path.parent)
    try:
        octets = path.read_bytes()
        zone = compile_zone(decode(octets), None, str(path), include)
        head = _head(zone, octets, include)
    except ZoneFileError as refused:
        refusal = Refusal(refused.line, refused.text, refused.source, include.included())
        return _write(out, msgspec.msgpack.encode(refusal))
    except OSError as unreadable:
        return _write(out, msgspec.msgpack.encode(Refusal(0, f"can't be read: {unreadable.strerror}")))
    except MemoryError:
        refusal = Refusal(0, "needs more memory than a zone file may take", included=include.included())
        return _write(out, msgspec.msgpack.encode(refusal))
    _write(out, msgspec.msgpack.encode(head))
    rows = zone.rows()
    while batch := list(islice(rows, ROWS_A_FRAME)):
        _write(out, b"".join(_ROW.pack(len(key), len(row)) + key + row for key, row in batch))
    return _write(out, b"")


def _head(zone: CompiledZone, octets: bytes, include: Includes) -> ZoneHead:
    texts = {name: None if text is None else io.BytesIO(text) for name, text in include.octets.items()}
    return ZoneHead(
        origin=zone.origin,
        key=zone.key,
        serial=zone.serial,
        cuts=zone.cuts,
        wildcards=zone.wildcards,
        rows=len(zone),
        digest=digest_of(io.BytesIO(octets), texts),
        signed=zone.signing.signed,
        nsec3=zone.signing.nsec3,
        expires=zone.signing.expires,
        expiring=zone.signing.expiring,
        remarks=zone.remarks,
        included=include.included(),
    )


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
