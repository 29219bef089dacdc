"""The event log: what changed, in commit order, for watchers; in the same transaction as the change.

    revision u64 -> msgpack (type, kind, namespace, object after, what selectors saw before)
    0 u64        -> revision u64: events up to this one have been deleted (missing: none has)

There are two such tables.  Events (what svcdns reports about the others) and Leases (which are renewed every
few seconds) have one of their own, so that they do not push out of the log what watchers of Services and Pods
have yet to see.
Revisions are shared: in either table there are gaps where the other has its rows.

`before` holds only what a selector can look at, so that a watcher sees a transition into or out of
its selection; the object itself is stored once.  Large objects are deflated: a slice of 100 endpoints
changes with each of them, and shrinks to a tenth.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import islice

import lmdb
import msgspec

from .environment import Store

KEEP = 10_000
"""Events kept; a watch that begins further back gets 410 Expired."""
KEEP_OF_EVENTS = 2_000
"""The same, of the table for Events and Leases."""
_FLOOR = (0).to_bytes(8)
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

    def inflated(self) -> Entry:
        """Return the event with its object as JSON."""
        return msgspec.structs.replace(self, after=self.object(), deflated=False) if self.deflated else self


Change = tuple[int, Entry]
"""An event and its revision."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def append(
    txn: lmdb.Transaction,
    table: lmdb._Database,
    revision: int,
    entry: tuple[str, str, str],
    after: bytes,
    before: bytes | None,
) -> Entry:
    """Write one event and return it; `entry` is (type, kind, namespace)."""
    deflated = len(after) >= _DEFLATE_FROM
    octets = zlib.compress(after, 1) if deflated else after
    written = Entry(*entry, octets, before, deflated)
    txn.put(revision.to_bytes(8), _encode(written), db=table, append=True)
    return written


def trim(txn: lmdb.Transaction, table: lmdb._Database, keep: int) -> None:
    """Delete the oldest events; a little late, so that this is not done at each commit."""
    count = txn.stat(db=table)["entries"]
    if count <= keep + _TRIM_SLACK:
        return
    count -= floor(txn, table) > 0
    last = b""
    with txn.cursor(db=table) as cursor:
        for _ in range(count - keep):
            if not cursor.set_range((1).to_bytes(8)):
                break
            last = bytes(cursor.key())
            cursor.delete()
    if last:
        txn.put(_FLOOR, last, db=table)


def begin_after(txn: lmdb.Transaction, table: lmdb._Database, revision: int) -> None:
    """Delete all events: a watch that begins before this revision gets 410."""
    txn.drop(table, delete=False)
    txn.put(_FLOOR, revision.to_bytes(8), db=table)


def floor(txn: lmdb.Transaction, table: lmdb._Database) -> int:
    """Return the revision up to which events have been deleted: a watch may begin there or later."""
    stored = txn.get(_FLOOR, db=table)
    return 0 if stored is None else int.from_bytes(stored)


def after(
    store: Store, table: lmdb._Database, revision: int, limit: int
) -> tuple[list[tuple[int, Entry]], bool]:
    """Return up to `limit` committed events of a greater revision, in order; and whether none is missing."""
    with store.read() as txn:
        complete = floor(txn, table) <= revision
        return list(islice(entries(txn, table, revision), limit)), complete


def entries(txn: lmdb.Transaction, table: lmdb._Database, revision: int) -> Iterator[tuple[int, Entry]]:
    """Yield what a transaction sees of the events of a greater revision, in order."""
    with txn.cursor(db=table) as cursor:
        if cursor.set_range((revision + 1).to_bytes(8)):
            for key, value in cursor.iternext():
                yield int.from_bytes(key), _decode(value)
