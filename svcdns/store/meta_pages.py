"""How long data.mdb has to be: what its meta pages say, read before anybody maps it.

Reading a map behind the end of its file is no error but the end of the process (SIGBUS).  Standard library
only: the supervisor asks, which never opens the store.  The format is LMDB 0.9's (mdb.c, struct MDB_meta).
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

_META = struct.Struct("=16x II Q Q IHHQQQQQ IHHQQQQQ Q Q")
"""Page header, magic, version, address, map size, the free and the main table, last page, transaction."""
_MAGIC = 0xBEEFC0DE
_PAGE_SIZES = [2**power for power in range(9, 17)]


def missing_octets(file: Path) -> int:
    """Return how many octets a file is too short; 0 when it is long enough, or is none of LMDB's.

    Some may be missing by right: pages that a transaction took and gave back are never written.
    Raises OSError when it can't be read.
    """
    with file.open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        first = _fields(opened.read(_META.size))
        if first is None:
            return 0
        page, pages, transaction = first
        opened.seek(page)
        second = _fields(opened.read(_META.size))
    if second is not None and second[2] > transaction:
        pages = second[1]
    return max(0, page * pages - size)


def _fields(octets: bytes) -> tuple[int, int, int] | None:
    """Return (octets of a page, pages in use, transaction) of a meta page; None for anything else."""
    if len(octets) < _META.size:
        return None
    magic, _version, _address, _map_size, page, *_tables, last_page, transaction = _META.unpack(octets)
    if magic != _MAGIC or page not in _PAGE_SIZES:
        return None
    return page, last_page + 1, transaction
