"""Cascades: owners that were deleted, and whose dependents have not all been seen to yet.

    "cascade" uid -> JSON     in `meta`, parts ended by NUL: by the owner's uid, how it was deleted

A deletion sees to the dependents of its owner in its own transaction.  Where a transaction holds only so much
(a registry on etcd), it sees to as many as there is room for, and puts a cascade: that there are others, and
what is to become of them.  Whoever finds one goes on with it (`unfinished_deletions`), so it outlives those
who began it.  The one that finds no dependents left ends it.  A registry in its store alone has none.
"""

from __future__ import annotations

import lmdb
import msgspec

from svcdns.store.environment import Tables

from .owners import may_be_ours
from .transaction import WriteTransaction, encode, joined, scan_keys

_PREFIX = "cascade"


class Cascade(msgspec.Struct, frozen=True):
    """How an owner was deleted that may have dependents left."""

    propagation: str
    """Background: the owner is gone, they go.  Foreground, Orphan: it waits until they go, or are free."""
    kind: str
    namespace: str
    name: str


_decode = msgspec.json.Decoder(Cascade).decode


def put(write: WriteTransaction, uid: str, cascade: Cascade) -> None:
    """Note that an owner was deleted so, and may have dependents left."""
    _change(write, uid, encode(cascade))


def end(write: WriteTransaction, uid: str) -> None:
    """Note that no dependent of an owner is left to be seen to."""
    _change(write, uid, None)


def _change(write: WriteTransaction, uid: str, value: bytes | None) -> None:
    if write.txn.get(joined(_PREFIX, uid), db=write.tables.meta) == value:
        return
    take(write.txn, write.tables, uid, value)
    write.cascades[uid] = value
    write.operations += 1
    write.changed = True


def take(txn: lmdb.Transaction, tables: Tables, uid: str, value: bytes | None) -> None:
    """Take a cascade as it stands in etcd, None where it has ended.  What is no uid of ours is left."""
    if not may_be_ours(uid):
        return
    key = joined(_PREFIX, uid)
    if value is None:
        txn.delete(key, db=tables.meta)
    else:
        txn.put(key, value, db=tables.meta)


def clear(txn: lmdb.Transaction, tables: Tables) -> None:
    """Forget all cascades."""
    for uid in all_uids(txn, tables):
        take(txn, tables, uid, None)


def find(txn: lmdb.Transaction, tables: Tables, uid: str) -> Cascade | None:
    """Return how an owner was deleted that may have dependents left, None where it has none."""
    value = txn.get(joined(_PREFIX, uid), db=tables.meta)
    if value is None:
        return None
    try:
        return _decode(value)
    except msgspec.MsgspecError:  # written by hand
        return Cascade("Background", "", "", "")


def all_uids(txn: lmdb.Transaction, tables: Tables) -> list[str]:
    """Return the uids of all owners that may have dependents left."""
    prefix = joined(_PREFIX)
    return [key[len(prefix) : -1].decode() for key in scan_keys(txn, tables.meta, prefix)]
