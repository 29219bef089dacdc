"""Read transactions that are held while something long is read in pieces.

LMDB can't reuse a page that a reader may still see, and has room for a number of readers only.  So:

* all who begin at the same state share one transaction;
* it is held for HELD_SECONDS at most, however slowly its readers go, and there are at most MOST of them.

Who is not through by then takes another, which shows the present state.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import lmdb

from svcdns.store.environment import Store

from .transaction import read_revision

HELD_SECONDS = 2.0
MOST = 8


@dataclass(slots=True, eq=False)
class HeldSnapshot:
    """One state of the registry; not to be read when it `is_over`."""

    txn: lmdb.Transaction
    revision: int
    number: int
    """Another one for each."""
    users: int = 0
    is_over: bool = False
    timer: asyncio.TimerHandle | None = None


class HeldSnapshots:
    """The snapshots that are held now; belongs to one event loop."""

    def __init__(self, store: Store) -> None:
        """`store` has to be closed after this."""
        self._store = store
        self._held: list[HeldSnapshot] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._held)

    def take(self) -> HeldSnapshot:
        """Return a snapshot of the present state, to be given back."""
        newest = self._held[-1] if self._held else None
        if newest is None or newest.txn.id() != self._store.env.info()["last_txnid"]:
            newest = self._begin()
        newest.users += 1
        return newest

    def give_back(self, snapshot: HeldSnapshot) -> None:
        """Let go of a snapshot."""
        snapshot.users -= 1
        if not snapshot.users:
            self._end(snapshot)

    def close(self) -> None:
        """End all of them."""
        for snapshot in list(self._held):
            self._end(snapshot)

    def _begin(self) -> HeldSnapshot:
        while len(self._held) >= MOST:
            self._end(self._held[0])
        txn = self._store.read()
        self._count += 1
        snapshot = HeldSnapshot(txn, read_revision(txn, self._store.tables), self._count)
        self._held.append(snapshot)
        snapshot.timer = asyncio.get_running_loop().call_later(HELD_SECONDS, self._end, snapshot)
        return snapshot

    def _end(self, snapshot: HeldSnapshot) -> None:
        if snapshot.is_over:
            return
        snapshot.is_over = True
        snapshot.txn.abort()
        self._held.remove(snapshot)
        if snapshot.timer is not None:
            snapshot.timer.cancel()
