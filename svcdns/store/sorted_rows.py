"""Rows that are put many at a time, in the order of their keys: for what is made from nothing.

Put one by one, each row costs a search of its own, and leaves pages half full.  Sorted, what comes behind the
last row of a table is appended, and fills its pages.
"""

from __future__ import annotations

from collections.abc import Iterable

import lmdb

AT_ONCE = 10_000
"""Rows that wait at most."""


class SortedRows:
    """Rows on their way into one table, in one transaction; nobody sees them before `flush`."""

    def __init__(self, txn: lmdb.Transaction, table: lmdb._Database) -> None:
        """No row waits yet."""
        self._txn, self._table = txn, table
        self._waiting: dict[bytes, bytes] = {}

    def put(self, key: bytes, value: bytes) -> None:
        """Have a row put; of one key, the last one counts."""
        self._waiting[key] = value
        if len(self._waiting) >= AT_ONCE:
            self.flush()

    def update(self, rows: dict[bytes, bytes]) -> None:
        """Have some rows put."""
        self._waiting.update(rows)
        if len(self._waiting) >= AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Put the rows that wait."""
        if self._waiting:
            put_sorted(self._txn, self._table, self._waiting.items())
            self._waiting.clear()


def put_sorted(txn: lmdb.Transaction, table: lmdb._Database, rows: Iterable[tuple[bytes, bytes]]) -> None:
    """Put rows of different keys, at least one, in the order of their keys."""
    ordered = sorted(rows)
    with txn.cursor(db=table) as cursor:
        is_behind = not cursor.last() or bytes(cursor.key()) < ordered[0][0]
        cursor.putmulti(ordered, append=is_behind)
