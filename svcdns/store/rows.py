"""Keys of rows that several rooms read, and reading the rows under a prefix.

Parts of a key are each ended by NUL, so that one name is never the beginning of another.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import cast

import lmdb

from svcdns.objects.kinds import Kind

_MOST_IN_BATCH = 128
"""Keys that are read before anything is done with them, where the table may be written meanwhile."""


def joined(*parts: str) -> bytes:
    """Parts of a key, each ended by NUL; at least one."""
    return ("\0".join(parts) + "\0").encode()


def last_of(key: bytes) -> str:
    """Return the last part of a key whose parts are each ended by NUL."""
    return key[:-1].rpartition(b"\0")[2].decode()


def object_key(kind: Kind, namespace: str, name: str) -> bytes:
    """Key in `objects`."""
    return f"{kind.name}\0{namespace}\0{name}".encode()


def pair_key(namespace: str, pair: str, *name: str) -> bytes:
    """Key in `selectors` and `labels`; pairs are hashed, for a label may be longer than a key."""
    return joined(namespace, _pair_hash(pair), *name)


@functools.lru_cache(maxsize=4096)  # a write asks several times for each of its pairs
def _pair_hash(pair: str) -> str:
    return hashlib.blake2b(pair.encode(), digest_size=16).hexdigest()


def scan(
    txn: lmdb.Transaction, table: lmdb._Database, prefix: bytes, after: bytes = b""
) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of all keys with a prefix, those behind the key `after` where one is given.

    The table must not be written meanwhile.
    """
    with txn.cursor(db=table) as cursor:
        if not cursor.set_range(after + b"\0" if after else prefix):
            return
        rows = cast(Iterator[tuple[bytes, bytes]], cursor.iternext())
        yield from takewhile(lambda row: row[0].startswith(prefix), rows)


def scan_keys(
    txn: lmdb.Transaction, table: lmdb._Database, prefix: bytes, after: bytes = b""
) -> Iterator[bytes]:
    """Yield the keys that `scan` yields, without reading values."""
    with txn.cursor(db=table) as cursor:
        if not cursor.set_range(after + b"\0" if after else prefix):
            return
        keys = cast(Iterator[bytes], cursor.iternext(values=False))
        yield from takewhile(lambda key: key.startswith(prefix), keys)


def scan_keys_in_batches(
    txn: lmdb.Transaction, table: lmdb._Database, prefix: bytes, after: bytes = b""
) -> Iterator[bytes]:
    """Yield the keys that `scan` yields; other than there, the table may be written meanwhile."""
    size = 1  # who wants the first alone pays for no others
    while batch := list(islice(scan_keys(txn, table, prefix, after), size)):
        yield from batch
        after, size = batch[-1], min(2 * size, _MOST_IN_BATCH)


def has_any(txn: lmdb.Transaction, table: lmdb._Database, prefix: bytes) -> bool:
    """Return whether there is a key with a prefix."""
    with txn.cursor(db=table) as cursor:
        return cursor.set_range(prefix) and bytes(cursor.key()).startswith(prefix)
