"""The cache of forwarded answers: a second LMDB environment, one process writes it, workers read it.

It knows octets and an order, not DNS.  The oldest written goes first; to put a key again moves it.

    entries  key -> turn u64, value
    order    turn u64 -> key

* A cache that can't be written or read costs answers some time and never fails one: it is given up and
  made anew (see generations).
* So is one whose files were removed or replaced while it was open: readers would find none, or another.
* Killing the writer at any time tears no value: a transaction is seen as a whole or not at all.
* The folder is locked, so that there is one writer also while an upgrade has two forwarders.
* No transaction outlives a call, so no reader keeps pages from being used again.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime

import lmdb

from . import generations
from .generations import NotOurs

log = logging.getLogger(__name__)

_ENTRIES, _ORDER = b"entries", b"order"
_MAP_FOR_EACH_OCTET = 4
_MAP_AT_LEAST = 16 << 20
_PAGE = 4096
_PAGE_HEADER = 16
_TURN = 8
_NODES = 40
"""Octets of LMDB's two nodes of an entry beside what they hold, turns included."""
_LARGEST_NODE = 2030
"""A row larger than this has pages of its own."""
_MAX_KEY = 511
_FLUSH_ROWS = 1000
_MOST_PATIENCE = 60
"""Calls of `chores`, which are 10 s apart."""


def now() -> int:
    """Return the seconds since boot, those asleep included: what setting the clock doesn't change."""
    return int(clock_gettime(CLOCK_BOOTTIME))


def _cost(key: bytes, row: int) -> int:
    """Return about how many octets of pages an entry takes; `row` is the size of its row.

    Pages whose rows come and go at random are little more than half full.
    """
    if row + len(key) > _LARGEST_NODE:
        pages = -(-(row + _PAGE_HEADER) // _PAGE)
        return pages * _PAGE + 2 * (2 * len(key) + _NODES)
    return 2 * (2 * len(key) + row + _NODES)


class Cache:
    """The cache as its one writer has it.  No method raises for what LMDB or the disk refuses."""

    def __init__(self, folder: Path, octets: int, source: str = "") -> None:
        """Open the cache in the data folder `folder`, or make it.

        `octets` bounds what is kept, LMDB's own needs included; 0 keeps nothing.  `source` says in one line
        where answers come from: what was kept from another one is given up.
        """
        self._source = source
        self._home = generations.home(folder)
        self._bound = octets
        self._map = (_MAP_FOR_EACH_OCTET * octets + _MAP_AT_LEAST) // _PAGE * _PAGE
        self._waiting: dict[bytes, bytes | None] = {}
        """By key, None for what is to be removed."""
        self._env: lmdb.Environment | None = None
        self._stamp: generations.Stamp = ()
        self._lost = False
        """Whether the log says that it is lost."""
        self._held = 0
        """For so many chores it has not been lost."""
        self._patience = 1
        """For so many it has to hold until the log says that it is kept again."""
        self.octets = 0
        """What is kept takes about so many."""
        self.entries = 0
        """How many values are kept."""
        self._turn = 0
        self._lock = -1
        """Descriptor of the lock on the folder, -1 while another process has it."""
        if octets:
            self._open()
        else:
            generations.remove_generations(self._home)

    @property
    def generation(self) -> int:
        """Return the number of the generation that is written, 0 while there is none."""
        return 0 if self._env is None else generations.number_of(self._env)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, also one that waits to be written."""
        if key in self._waiting:
            return self._waiting[key]
        if self._env is None:
            return None
        try:
            txn = self._env.begin(db=self._rows)
            row: bytes | None = txn.get(key)
            txn.abort()
        except lmdb.Error as wrong:
            self._lose(wrong)
            return None
        return None if row is None else row[_TURN:]

    def put(self, key: bytes, value: bytes) -> None:
        """Keep a value from the next commit on; one that is too large for the cache ends the one before."""
        if not 0 < len(key) <= _MAX_KEY or self._env is None:
            return
        if _cost(key, _TURN + len(value)) <= self._bound:
            self._waiting[key] = value
        else:
            self.remove(key)

    def remove(self, key: bytes) -> None:
        """Keep nothing for a key from the next commit on."""
        if 0 < len(key) <= _MAX_KEY and self.get(key) is not None:
            self._waiting[key] = None

    def commit(self) -> None:
        """Write what was put, in one transaction; the oldest entries make room."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, {}
        if self._env is None:
            return
        try:
            with self._env.begin(write=True) as txn:
                for key, value in waiting.items():
                    self._remove(txn, key)
                    if value is not None:
                        self._turn += 1
                        row = self._turn.to_bytes(_TURN) + value
                        txn.put(key, row, db=self._rows)
                        txn.put(row[:_TURN], key, db=self._order, append=True)
                        self.entries += 1
                        self.octets += _cost(key, len(row))
                self._make_room(txn)
        except lmdb.Error as wrong:
            self._lose(wrong)

    def flush_some(self, prefix: bytes) -> tuple[int, bool]:
        """Remove entries whose keys begin so, b"" for all; return how many, and whether none was left.

        Takes milliseconds: whoever removes many gives questions their turn in between.
        """
        self.commit()
        if self._env is None or not self.entries:
            return 0, True
        before = self.entries
        try:
            with self._env.begin(write=True) as txn:
                if prefix:
                    self._remove_some(txn, prefix)
                else:
                    txn.drop(self._rows, delete=False)
                    txn.drop(self._order, delete=False)
                    self.entries = self.octets = 0
        except lmdb.Error as wrong:
            self._lose(wrong)
            return 0, True
        removed = before - self.entries
        return removed, not prefix or removed < _FLUSH_ROWS

    def use_source(self, source: str) -> int:
        """Say where answers come from now; when that is new, remove all entries and return how many."""
        if source == self._source:
            return 0
        self._source = source
        removed, _ = self.flush_some(b"")
        if self._env is not None:
            try:
                generations.set_source(self._env, source)
                self._stamp = generations.stamp(self._env)
            except OSError as wrong:
                self._lose(wrong)
        return removed

    def chores(self) -> None:
        """To be called every 10 s: forget readers that died; make a cache anew that was lost or removed."""
        if self._env is not None and not generations.is_current(self._env, self._stamp):
            self._lose("its files were removed or replaced")
        if self._env is None:
            if self._bound:
                self._open()
            return
        try:
            self._env.reader_check()
        except lmdb.Error as wrong:
            self._lose(wrong)
        else:
            self._holds()

    def close(self) -> None:
        """Write what waits and close; another process may have it then, `chores` opens it again."""
        self.commit()
        self._close()
        self._unlock()

    def _remove(self, txn: lmdb.Transaction, key: bytes) -> None:
        """Remove an entry, if there is one."""
        if (row := txn.pop(key, db=self._rows)) is not None:
            txn.delete(row[:_TURN], db=self._order)
            self.entries -= 1
            self.octets -= _cost(key, len(row))

    def _make_room(self, txn: lmdb.Transaction) -> None:
        """Remove the oldest entries."""
        with txn.cursor(db=self._order) as oldest:
            while self.octets > self._bound and oldest.first():
                key: bytes = oldest.value()  # type: ignore[assignment]
                oldest.delete()
                self._remove(txn, key)

    def _remove_some(self, txn: lmdb.Transaction, prefix: bytes) -> None:
        """Remove the first entries with a prefix."""
        with txn.cursor(db=self._rows) as cursor:
            for _ in range(_FLUSH_ROWS):
                if not cursor.set_range(prefix):
                    return
                key: bytes = cursor.key()  # type: ignore[assignment]
                if not key.startswith(prefix):
                    return
                self._remove(txn, key)

    def _open(self) -> None:
        """Go on with the current generation, or make one; neither while another process has the cache."""
        try:
            if self._lock < 0:
                self._lock = generations.lock(self._home)
        except BlockingIOError:
            return
        except OSError as wrong:
            self._lose(wrong)
            return
        had_no_end = generations.begin_opening(self._home)
        try:
            if had_no_end:
                raise NotOurs("opening it had no end")
            self._open_current()
        except (NotOurs, lmdb.Error, OSError):
            self._close()
            try:
                self._make()
            except (lmdb.Error, OSError) as wrong:
                self._lose(wrong)
        finally:
            generations.end_opening(self._home)

    def _open_current(self) -> None:
        numbers = generations.numbers(self._home)
        if not numbers:
            raise NotOurs("no cache yet")
        env = self._env = generations.open_to_write(self._home, numbers[-1], self._map, self._source)
        self._rows, self._order = (env.open_db(name, create=False) for name in (_ENTRIES, _ORDER))
        self._stamp = generations.stamp(env)
        env.reader_check()
        with env.begin() as txn:
            with txn.cursor(db=self._rows) as cursor:
                for key, row in cursor:
                    self.entries += 1
                    self.octets += _cost(key, len(row))
            with txn.cursor(db=self._order) as cursor:
                if cursor.last():
                    self._turn = int.from_bytes(cursor.key())

    def _make(self) -> None:
        env = self._env = generations.make_generation(self._home, self._map, self._source)
        with env.begin(write=True) as txn:
            self._rows, self._order = (env.open_db(name, txn=txn) for name in (_ENTRIES, _ORDER))
        self._stamp = generations.stamp(env)
        generations.remove_generations(self._home, all_but=generations.number_of(env))

    def _lose(self, wrong: object) -> None:
        """Give everything up; `chores` makes a new cache."""
        if not self._lost:
            log.warning("the cache of forwarded answers is lost (%s); tried again every 10 s", wrong)
            self._lost = True
        self._held = 0
        self._close()
        self._unlock()  # the folder itself may be another one by now
        generations.remove_generations(self._home)

    def _holds(self) -> None:
        """Log that it is kept again; after each time that was too early, only after twice as long."""
        self._held += 1
        if self._lost and self._held >= self._patience:
            self._lost = False
            self._patience = min(2 * self._patience, _MOST_PATIENCE)
            log.info("forwarded answers are kept in the cache again")
        elif not self._lost and self._held > _MOST_PATIENCE:
            self._patience = 1

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _close(self) -> None:
        env, self._env = self._env, None
        self.octets = self.entries = 0
        if env is not None:
            env.close()


class CacheReader:
    """The cache as a worker has it: may be missing, and may be made anew at any time.

    Which generation holds answers of this run is the forwarder's to say: the one with the highest number
    may still be of a run that had other upstreams or other zones.
    """

    def __init__(self, folder: Path) -> None:
        """For the cache in the data folder `folder`: nothing is found until the first `refresh`."""
        self._home = generations.home(folder)
        self._env: lmdb.Environment | None = None

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key as of the last commit.  Never raises for what LMDB refuses."""
        env = self._env
        if env is None:
            return None
        try:
            # LMDB keeps the ended transaction, so a new one costs no more than to renew it.
            txn = env.begin(self._rows)
            row: bytes | None = txn.get(key)
            txn.abort()
        except lmdb.Error:
            self.close()
            return None
        return None if row is None else row[_TURN:]

    def refresh(self, generation: int) -> None:
        """To be called once a second: read the generation of this number, 0 for none, from now on."""
        current = generation if generations.numbers(self._home)[-1:] == [generation] else 0
        if self._env is not None and current == generations.number_of(self._env):
            return
        self.close()
        if not current:
            return
        try:
            self._env = generations.open_to_read(self._home, current)
            self._rows = self._env.open_db(_ENTRIES, create=False)
            self._env.begin(self._rows).abort()  # kept with its place among the readers: no lock from now on
        except (NotOurs, lmdb.Error, OSError):
            self.close()  # being made, or damaged: the writer sees to it

    def close(self) -> None:
        """Close it; nothing is found until the next `refresh`."""
        env, self._env = self._env, None
        if env is not None:
            env.close()
