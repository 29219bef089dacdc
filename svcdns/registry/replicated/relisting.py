"""Relisting: a map is brought to what a list of etcd says, all of it at one revision, in one transaction.

So a replica goes on that was away for longer than etcd keeps what changed.  What the map has answers until
the commit; then readers see the new state as a whole.  Watchers get 410 and list again.  Objects that are as
they were are not touched; the others are taken one after the other.  A map that has nothing, or nothing that
may stay, is made by `listing_anew`.
"""

from __future__ import annotations

from collections.abc import Iterable

import lmdb
import msgspec

from svcdns.objects.kinds import (
    ENDPOINTS,
    ENDPOINTSLICE,
    NAMESPACE,
    POD,
    SERVICE,
    STORED,
    Kind,
)
from svcdns.store import counts, log
from svcdns.store.rows import scan_keys

from .. import cascades
from ..commit import answer
from ..transaction import Touched, WriteTransaction, collection_prefix, object_key
from . import revisions
from .applying import Map, Overlapping, change, set_revision, write_position
from .keys import Named
from .left_out import Unreadable

_FIRST = (NAMESPACE, ENDPOINTSLICE, SERVICE, POD, ENDPOINTS)

Found = tuple[Named | None, bytes, int]
"""What is listed of one key: which object it is of, what stands there, and since which revision."""


class Untakeable(Exception):
    """Nothing can be made of an object; what it has changed on the way can't be undone alone."""

    def __init__(self, named: Named) -> None:
        super().__init__(named)
        self.named = named


def take_cascades(txn: lmdb.Transaction, of: Map, found: Iterable[tuple[str, bytes]]) -> None:
    """Have a map know these cascades and no others."""
    cascades.clear(txn, of.store.tables)
    for uid, value in found:
        cascades.take(txn, of.store.tables, uid, value)


class _Metadata(msgspec.Struct, rename={"revision": "resourceVersion"}):
    revision: str


class _Stored(msgspec.Struct):
    metadata: _Metadata


_read_stored = msgspec.json.Decoder(_Stored).decode


def place_of(stored: str, revision: int) -> int:
    """Return the resourceVersion of an object that stands in etcd with this one, since a revision.

    Raises OverflowError where there is no such place.
    """
    try:
        place = revisions.of(revision, int(stored))
    except ValueError:
        place = revisions.of(revision, 0)
    place.to_bytes(8)
    return place


class Relisting:
    """One list that is taken, from `__init__` to `finish` or `abort`, all in one thread."""

    ORDER: tuple[Kind, ...] = (*_FIRST, *(kind for kind in STORED if kind not in _FIRST))
    """Kinds in the order in which they are to be taken: names follow from those of visible namespaces, and a
    client's slice has its name before one is generated."""

    def __init__(self, of: Map, revision: int, transaction: tuple[int, bytes], left_out: set[Named]) -> None:
        """Begin with what the map has; `revision` is that of the list, `left_out` count as not there.

        `transaction` is the last one up to there (see `applying.Position`).
        """
        self._transaction = transaction
        self._map = of
        self._revision = revision
        self._touched = Touched()
        self._listed: set[bytes] = set()
        self._left_out = left_out
        self._txn = of.store.env.begin(write=True)

    def take(self, found: Iterable[Found]) -> None:
        """Take some objects: what they are called, what stands there, and since which revision.

        Raises Untakeable, Overlapping: then it has to be begun again.
        """
        for named, value, revision in found:
            if named is None or named in self._left_out:
                continue
            key = object_key(*named)
            self._listed.add(key)
            place = self._place(named, value, revision)
            stored = self._txn.get(key, db=self._map.store.tables.objects)
            if stored is not None and _read_stored(stored).metadata.revision == str(place):
                continue
            try:
                self._change(named, value, place)
            except Unreadable as wrong:  # nothing was done
                self._map.left_out.note(named, wrong)
                self._listed.discard(key)
            else:
                self._map.left_out.taken(named)

    def take_cascades(self, found: Iterable[tuple[str, bytes]]) -> None:
        """Take all cascades that there are: the owners' uids, and what stands there."""
        take_cascades(self._txn, self._map, found)

    def _place(self, named: Named, value: bytes, revision: int) -> int:
        try:
            return place_of(_read_stored(value).metadata.revision, revision)
        except msgspec.MsgspecError:
            return revisions.of(revision, 0)
        except OverflowError as wrong:
            self._map.left_out.note(named, wrong)
            raise Untakeable(named) from wrong

    def step(self) -> bool:
        """Return whether more is left to be done before `finish`: nothing is."""
        return False

    def _change(self, named: Named, value: bytes | None, place: int) -> None:
        set_revision(self._txn, self._map.store, place - 1)
        write = WriteTransaction(self._txn, self._map.store.tables, self._map.settings, "", logs=False)
        try:
            change(write, named, value)
        except (lmdb.Error, Overlapping, Unreadable):
            raise
        except Exception as wrong:
            self._map.left_out.note(named, wrong)
            raise Untakeable(named) from wrong
        self._touched.merge(write.touched)

    def finish(self) -> None:
        """Remove what was not listed, answer from all of it, and commit."""
        tables = self._map.store.tables
        for kind in reversed(self.ORDER):
            for key in list(scan_keys(self._txn, tables.objects, collection_prefix(kind))):
                _, namespace, name = key.decode().split("\0")
                if key not in self._listed:  # of slices, those that were generated stay
                    self._change(Named(kind, namespace, name), None, revisions.of(self._revision, 0))
        clock = self._map.clock(self._revision)
        answer(self._txn, self._map.store, self._map.settings, self._touched, clock)
        for table in (tables.log, tables.event_log):
            log.begin_after(self._txn, table, revisions.last_of(self._revision))
        write_position(self._txn, self._map, self._revision, self._transaction)
        counts.note(self._txn, tables.by_name())
        self._txn.commit()

    def abort(self) -> None:
        """Leave the map as it was."""
        self._txn.abort()
