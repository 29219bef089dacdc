"""The process that parses zone files, one after the other; parsing.py starts it and reads what it writes.

    a line with a path (JSON) -> head (see frames.py) -> a line that says whether rows are wanted -> rows
    -> the next path; the end of its input is its own

It ends by itself after a file that took much memory, so that each file finds as much as the first.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from .frames import LENGTH, ROWS, ROWS_A_FRAME, Refusal, ZoneHead, digest_of, pack_rows
from .includes import Includes
from .master_file import CompiledZone, compile_zone
from .zone_file_error import ZoneFileError
from .zone_text import decode

_SPENT = 8
"""A parser ends when it has taken one part of so many of the memory that it may have."""


def emit(path: Path, source: BinaryIO, out: BinaryIO, most_octets: int) -> bool:
    """Write the frames of a zone file; return whether there may be another file after it."""
    include = Includes(path.parent)
    spent = False
    try:
        octets = path.read_bytes()
        zone = compile_zone(decode(octets), None, str(path), include)
        spent = _peak() > most_octets // _SPENT
        _write(out, msgspec.msgpack.encode(_head(zone, octets, include, spent=spent)))
    except ZoneFileError as refused:
        spent = _peak() > most_octets // _SPENT
        refusal = Refusal(refused.line, refused.text, refused.source, include.included(), spent)
        _write(out, msgspec.msgpack.encode(refusal))
        return not spent
    except OSError as unreadable:
        _write(out, msgspec.msgpack.encode(Refusal(0, f"can't be read: {unreadable.strerror}")))
        return True
    except MemoryError:
        text = "needs more memory than a zone file may take"
        _write(out, msgspec.msgpack.encode(Refusal(0, text, included=include.included(), spent=True)))
        return False
    if source.readline() == ROWS:
        rows = zone.rows()
        while batch := list(islice(rows, ROWS_A_FRAME)):
            _write(out, pack_rows(batch))
        _write(out, b"")
    return not spent


def _peak() -> int:
    """Return the most octets that this program has had in memory.

    Not ru_maxrss: that counts what the process was before it executed this program, a fork of the writer.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _head(zone: CompiledZone, octets: bytes, include: Includes, *, spent: bool) -> ZoneHead:
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
        spent=spent,
    )


def _write(out: BinaryIO, frame: bytes) -> None:
    out.write(LENGTH.pack(len(frame)) + frame)
    out.flush()


def main(octets: str) -> None:
    """Parse files until there are no more; `octets` caps the address space of this process."""
    resource.setrlimit(resource.RLIMIT_AS, (int(octets), int(octets)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(5)  # answering questions goes first
    source, out = sys.stdin.buffer, sys.stdout.buffer
    with suppress(BrokenPipeError):
        while line := source.readline():
            if not emit(Path(json.loads(line)), source, out, int(octets)):
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
