"""What the parser of zone files writes to its standard output, and the process that started it reads.

Each frame is a length (u32) and that many octets; for each file

    head    msgpack, ZoneHead or Refusal
    rows    if they are asked for, at most ROWS_A_FRAME times: key length u16 | row length u32 | key | row
    ...
    end     an empty frame, so that a parser that died half-way is noticed

Nothing here imports dnspython: the writer has no use for it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from struct import Struct
from typing import BinaryIO

import msgspec

from svcdns.names.packed import LAYOUT
from svcdns.store.snapshot import Nsec3Parameters

from .includes import open_file
from .zone_file_error import Included

RULES = 5
"""Raised when the same text gives other rows or flags, so that stored zones are loaded again."""
ROWS_A_FRAME = 500
"""One frame is one write transaction."""
LENGTH = Struct(">I")
_ROW = Struct(">HI")

ROWS, SKIP = b"rows\n", b"skip\n"
"""What the parser is told after a ZoneHead: whether the rows are wanted."""

Rows = list[tuple[bytes, bytes]]


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
    spent: bool = False
    """Whether the parser ends after this file: it has taken much memory."""


class Refusal(msgspec.Struct, tag="refusal", frozen=True):
    """Why there is no zone, by file (`source`, "" for the zone file) and line, 0 for the file as a whole."""

    line: int
    text: str
    source: str = ""
    included: Included = ()
    spent: bool = False
    """Whether the parser ends after this file: it has no memory left for it."""


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


def pack_rows(rows: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the octets of a frame of rows."""
    return b"".join(_ROW.pack(len(key), len(row)) + key + row for key, row in rows)


def unpack_rows(octets: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows of a frame."""
    at = 0
    while at < len(octets):
        key_octets, row_octets = _ROW.unpack_from(octets, at)
        row_at = at + _ROW.size + key_octets
        at = row_at + row_octets
        yield octets[row_at - key_octets : row_at], octets[row_at:at]
