"""The event log: what changed, in commit order, for watchers; in the same transaction as the change.

    revision u64 -> msgpack (type, kind, namespace, object after, what selectors saw before)

`before` holds only what a selector can look at, so that a watcher can tell a transition into or out of
its selection; the object itself is stored once.  Large objects are deflated: a slice of 100 endpoints
changes with each of them, and shrinks to a tenth.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import lmdb
import msgspec

from .environment import Store

KEEP = 10_000
"""Events kept; a watch that begins further back gets 410 Expired."""
_DEFLATE_FROM = 4096
_TRIM_SLACK = 256


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One event as stored; `revision` stands in the key."""

    type: str
    """ADDED, MODIFIED or DELETED."""
    kind: str
    namespace: str
    after: bytes
    """The object as JSON; of DELETED its last state, with the revision of the deletion."""
    before: bytes | None
    """What selectors can look at, as JSON, before the change; None for ADDED."""
    deflated: bool = False

    def object(self) -> bytes:
        """Return the object as JSON."""
        return zlib.decompress(self.after) if self.deflated else self.after


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def append(
    txn: lmdb.Transaction,
    table: lmdb._Database,
    revision: int,
    entry: tuple[str, str, str],
    after: bytes,
    before: bytes | None,
) -> None:
    """Write one event; `entry` is (type, kind, namespace)."""
    deflated = len(after) >= _DEFLATE_FROM
    octets = zlib.compress(after, 1) if deflated else after
    stored = _encode(Entry(*entry, octets, before, deflated))
    txn.put(revision.to_bytes(8), stored, db=table, append=True)


def trim(txn: lmdb.Transaction, table: lmdb._Database) -> None:
    """Delete the oldest events; a little late, so that this is not done at each commit."""
    count = txn.stat(db=table)["entries"]
    if count <= KEEP + _TRIM_SLACK:
        return
    with txn.cursor(db=table) as cursor:
        for _ in range(count - KEEP):
            if not cursor.first():
                return
            cursor.delete()


def oldest(txn: lmdb.Transaction, table: lmdb._Database) -> int | None:
    """Return the revision of the oldest event kept, None where there is none."""
    with txn.cursor(db=table) as cursor:
        return int.from_bytes(cursor.key()) if cursor.first() else None


def after(store: Store, revision: int, limit: int) -> list[tuple[int, Entry]]:
    """Return up to `limit` committed events whose revision is greater than the one given, in order."""
    with store.read() as txn, txn.cursor(db=store.tables.log) as cursor:
        if not cursor.set_range((revision + 1).to_bytes(8)):
            return []
        return list(_take(cursor, limit))


def _take(cursor: lmdb.Cursor, limit: int) -> Iterator[tuple[int, Entry]]:
    for (key, value), _ in zip(cursor.iternext(), range(limit), strict=False):
        yield int.from_bytes(key), _decode(value)
