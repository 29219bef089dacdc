"""What rows of answers were before each change of a zone: who has an earlier state asks (RFC 1995).

    number u64 -> msgpack (key of the zone, serial before, serial after, [(key of a row, row before or nil)])

It is written in the transaction of the change, while somebody may transfer zones.  A state is known as far
back as serials follow on each other without a gap; who knows an older one gets the whole zone.
"""

from __future__ import annotations

from collections.abc import Iterator

import lmdb
import msgspec

KEEP = 2_000
"""Changes kept."""
KEEP_OCTETS = 16 << 20
"""Octets of the pages that they may take."""
_TRIM_AT_ONCE = 64

Row = tuple[bytes, bytes | None]
"""A key, and what stood there; None: nothing."""


class Change(msgspec.Struct, array_like=True, frozen=True):
    """What one commit did to a zone."""

    zone: bytes
    old: int
    """The serial before."""
    new: int
    before: list[Row]
    """The rows that changed, as they were."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Change).decode


def append(txn: lmdb.Transaction, table: lmdb._Database, change: Change) -> None:
    """Write one change; the oldest ones make room."""
    with txn.cursor(db=table) as cursor:
        number = int.from_bytes(cursor.key()) + 1 if cursor.last() else 1
    txn.put(number.to_bytes(8), _encode(change), db=table, append=True)
    _trim(txn, table)


def rows_at(
    txn: lmdb.Transaction, table: lmdb._Database, zone: bytes, old: int, new: int
) -> dict[bytes, bytes | None] | None:
    """Return the rows of a zone that have changed from one serial to a later one, as they were at the first.

    None where that is not known, or is more than is worth to look at.
    """
    rows: dict[bytes, bytes | None] = {}
    at = new
    for change in _newest_first(txn, table):
        if change.zone != zone:
            continue
        if change.new != at:
            return None
        rows.update(change.before)  # what is earlier was so before
        if change.old == old:
            return rows
        at = change.old
    return None


def clear(txn: lmdb.Transaction, table: lmdb._Database) -> None:
    """Forget everything: the answers were made anew."""
    txn.drop(table, delete=False)


def _newest_first(txn: lmdb.Transaction, table: lmdb._Database) -> Iterator[Change]:
    with txn.cursor(db=table) as cursor:
        if cursor.last():
            for value in cursor.iterprev(keys=False):
                yield _decode(value)


def _trim(txn: lmdb.Transaction, table: lmdb._Database) -> None:
    """Delete the oldest changes where there are too many, some more than that at a time."""
    stat = txn.stat(db=table)
    pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    if stat["entries"] <= KEEP and pages * stat["psize"] <= KEEP_OCTETS:
        return
    with txn.cursor(db=table) as cursor:
        for _ in range(min(_TRIM_AT_ONCE, stat["entries"] - 1)):
            if cursor.first():
                cursor.delete()
