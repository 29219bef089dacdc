"""The rows of each table, counted: noted with each commit, and compared when the writer opens the store.

A copy that was made of parts of the file at different times opens as a good one does, and shows old tables
beside new ones, or empty ones.  So the last commit notes in `meta` which transaction it is and how many rows
each table has (both cost nothing to ask); a whole store has the same in its tables, in order, one by one.

A store that was made or written by an svcdns that noted none has the layout in four octets, not in eight;
it is taken as it is and gets its counts with the next commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise, starmap
from operator import lt

import lmdb
import msgspec

from .damage import Damaged

COUNTS = b"counts"
LAYOUT = b"layout"
_LAYOUT_OCTETS = 8

ByName = Mapping[str, lmdb._Database]
"""All tables of a store; `meta` is one of them."""
_Counts = tuple[int, dict[str, int]]
"""(transaction, rows by table)."""
_decode = msgspec.msgpack.Decoder(_Counts).decode


def layout_row(layout: int) -> bytes:
    """Return the row under LAYOUT of a store in which each commit notes its counts."""
    return layout.to_bytes(_LAYOUT_OCTETS)


def note(txn: lmdb.Transaction, tables: ByName) -> None:
    """Note the counts; to be called last in each transaction that is committed."""
    meta = tables["meta"]
    if txn.get(COUNTS, db=meta) is None:
        txn.put(COUNTS, b"", db=meta)  # so that it is counted itself
    txn.put(COUNTS, msgspec.msgpack.encode((txn.id(), _entries(txn, tables))), db=meta)


def check(txn: lmdb.Transaction, tables: ByName, *, as_copied: bool = False) -> None:
    """Walk through all tables; raise Damaged, or one of damage.OF_LMDB, where they are not whole.

    In what LMDB has copied (`as_copied`) transactions are numbered anew.
    """
    entries = _entries(txn, tables)
    for name, count in entries.items():
        found = _rows_in_order(txn, tables[name])
        if found != count:
            raise Damaged(f"table {name} has {found} rows in order where it should have {count}")
    layout, noted = (txn.get(key, db=tables["meta"]) for key in (LAYOUT, COUNTS))
    if noted is None or layout is None or len(layout) != _LAYOUT_OCTETS:
        return  # written by an older svcdns
    transaction, counts = _decode(noted)
    for name, count in counts.items():
        if entries.get(name, count) != count:
            raise Damaged(f"table {name} has {entries[name]} rows, its last commit left {count}")
    if transaction != txn.id() and not as_copied:
        text = "parts of it are of other times than the rest, as in a copy that was made while it ran"
        raise Damaged(f"its last commit is number {txn.id()}, its contents are of {transaction}: {text}")


def refuse_to_lack(txn: lmdb.Transaction, meta: lmdb._Database, missing: list[str]) -> None:
    """Raise Damaged when a table is missing that the last commit has counted."""
    noted = txn.get(COUNTS, db=meta)
    gone = [name for name in missing if noted and name in _decode(noted)[1]]
    if gone:
        raise Damaged(f"it lacks the tables {', '.join(gone)}, which its last commit has counted")


def _entries(txn: lmdb.Transaction, tables: ByName) -> dict[str, int]:
    return {name: txn.stat(db=table)["entries"] for name, table in tables.items()}


def _rows_in_order(txn: lmdb.Transaction, table: lmdb._Database) -> int:
    """Return how many rows a walk meets, without those whose key is not behind the one before."""
    with txn.cursor(db=table) as cursor:
        if not cursor.first():
            return 0
        ascending: Iterator[bool] = starmap(lt, pairwise(cursor.iternext(values=False)))
        return 1 + sum(ascending)
