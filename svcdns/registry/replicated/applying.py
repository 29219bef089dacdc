"""Apply: what etcd has decided becomes a commit of the map, with all that follows from it.

Each revision of etcd is applied as a whole, in order, on the map that the one before it left, and takes the
map from one state to the next: every replica that applies the same revisions has the same rows.  Several that
wait share a commit.  What can't be read (somebody wrote it by hand) counts as not there; the rest goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import lmdb
import msgspec

from svcdns.cluster.endpoints import is_generated
from svcdns.cluster.event_messages import EventMessage
from svcdns.objects.kinds import ENDPOINTSLICE, POD, SERVICE, Kind
from svcdns.store import log
from svcdns.store.environment import Store

from .. import addresses, cascades, owners, probed
from ..commit import answer, trim_logs
from ..derive import derive, derive_with_warnings
from ..settings import Settings
from ..stored_objects import OBJECT_RULES
from ..transaction import POSITION, REVISION, Object, Touched, WriteTransaction, decode
from . import revisions
from .keys import Keys, Named
from .left_out import LeftOut, Unreadable


class Position(NamedTuple):
    """How far a map has come, and of what: it goes on from there if that is still the same."""

    registry: str
    """What the registry in etcd is called (see `layout`)."""
    revision: int
    """The last revision of etcd that was applied."""
    rules: int
    """`stored_objects.OBJECT_RULES` by which its objects were derived from."""
    transaction: tuple[int, bytes]
    """The last transaction of any replica up to there, by its revision and id: an etcd that was restored from
    a backup has another one at that revision."""


class Event(NamedTuple):
    """One key that etcd has changed."""

    revision: int
    key: bytes
    value: bytes | None
    """None: it was deleted."""


class Told(NamedTuple):
    """What is to be said of a transaction of this replica's, by who proposed it."""

    messages: list[EventMessage]
    warnings: dict[Named, tuple[str, ...]]
    """For who wrote an object."""


class Overlapping(Exception):
    """A client's slice has the name of a generated one: the map is to be made anew."""


@dataclass(slots=True)
class Applied:
    """What one commit of the map has brought."""

    position: int
    """The revision of etcd that the map has come to."""
    logged: list[log.Change] = field(default_factory=list)
    own: dict[bytes, Told] = field(default_factory=dict)
    """This replica's own transactions, by their ids."""


@dataclass(frozen=True, slots=True)
class Map:
    """The map of a replica: its store, and how what stands in etcd is read."""

    store: Store
    settings: Settings
    keys: Keys
    registry: str
    serials_from: int
    """The serial of zones at revision 0 of etcd."""
    left_out: LeftOut

    def clock(self, revision: int) -> int:
        """Return the serial of a zone that changed in a revision; the same at every replica."""
        return self.serials_from + revision

    def position(self) -> Position | None:
        """Return how far the map has come, None where it was not made from etcd."""
        return stored_position(self.store)


def stored_position(store: Store) -> Position | None:
    """Return how far the map in a store has come, None where it was not made from etcd."""
    with store.read() as txn:
        return read_position(txn, store)


def read_position(txn: lmdb.Transaction, store: Store) -> Position | None:
    """Return how far a map has come, as a transaction sees it."""
    stored = txn.get(POSITION, db=store.tables.meta)
    return None if stored is None else msgspec.msgpack.decode(bytes(stored), type=Position)


def has_objects(store: Store) -> bool:
    """Return whether a store holds any object."""
    with store.read() as txn:
        return bool(txn.stat(db=store.tables.objects)["entries"])


def write_position(txn: lmdb.Transaction, of: Map, revision: int, transaction: tuple[int, bytes]) -> None:
    """Note how far a map has come."""
    position = Position(of.registry, revision, OBJECT_RULES, transaction)
    txn.put(POSITION, msgspec.msgpack.encode(position), db=of.store.tables.meta)
    set_revision(txn, of.store, revisions.last_of(revision))


def set_revision(txn: lmdb.Transaction, store: Store, revision: int) -> None:
    """Have the next change get the resourceVersion behind this one."""
    txn.put(REVISION, revision.to_bytes(8), db=store.tables.meta)


def apply(of: Map, events: Sequence[Event], own: frozenset[bytes] = frozenset()) -> Applied:
    """Apply events of whole revisions, in order, in one commit; `own` are the keys of this replica.

    Raises lmdb.Error where the map can't be written, Overlapping; then nothing of it was.
    """
    applied = Applied(events[-1].revision)
    with of.store.write() as txn:
        for revision, changed in groupby(events, lambda event: event.revision):
            touched, of_revision = Touched(), list(changed)
            told = _told(of_revision, own, applied)
            _apply_revision(txn, of, revision, of_revision, touched, applied, told)
            answer(txn, of.store, of.settings, touched, of.clock(revision))
        write_position(txn, of, applied.position, _last_transaction(txn, of, events))
        trim_logs(txn, of.store)
    return applied


def _last_transaction(txn: lmdb.Transaction, of: Map, events: Sequence[Event]) -> tuple[int, bytes]:
    """Return the last transaction of any replica, by its revision and id."""
    for event in reversed(events):
        if event.key.startswith(of.keys.replicas):
            return event.revision, event.value or b""
    before = read_position(txn, of.store)
    return (0, b"") if before is None else before.transaction


def _told(events: Sequence[Event], own: frozenset[bytes], applied: Applied) -> Told | None:
    """Return where it is noted what is to be said of a revision, None where another replica says it."""
    for event in reversed(events):  # the key of the replica was put last
        if event.key in own and event.value is not None:
            return applied.own.setdefault(event.value, Told([], {}))
    return None


def _apply_revision(
    txn: lmdb.Transaction,
    of: Map,
    revision: int,
    events: Iterable[Event],
    touched: Touched,
    applied: Applied,
    told: Told | None,
) -> None:
    changed = list(events)
    for event in changed:
        if (uid := of.keys.owner_of(event.key)) is not None:
            cascades.take(txn, of.store.tables, uid, event.value)
    objects = ((named, event.value) for event in changed if (named := of.keys.named(event.key)) is not None)
    for ordinal, (named, value) in enumerate(objects):
        set_revision(txn, of.store, revisions.of(revision, ordinal * revisions.STEP) - 1)
        try:
            write = _changed(txn, of, named, value, told)
        except (lmdb.Error, Overlapping):
            raise
        except Exception as wrong:
            of.left_out.note(named, wrong)
            write = _changed(txn, of, named, None, told)
        else:
            of.left_out.taken(named)
        touched.merge(write.touched)
        applied.logged += write.logged


def _changed(
    txn: lmdb.Transaction, of: Map, named: Named, value: bytes | None, told: Told | None
) -> WriteTransaction:
    """Take one object in a child transaction, which leaves nothing where that fails."""
    with of.store.env.begin(write=True, parent=txn) as child:
        write = WriteTransaction(child, of.store.tables, of.settings, "")
        warnings = change(write, named, value, says=told is not None)
    if told is not None:
        told.messages.extend(write.messages)
        told.warnings[named] = warnings
    return write


def change(
    write: WriteTransaction, named: Named, value: bytes | None, *, says: bool = False
) -> tuple[str, ...]:
    """Take one object as it stands in etcd now, or is gone; nothing is decided here.

    With `says`, return what its writer is told of what has come of it.  Raises Unreadable, Overlapping.
    """
    kind, old = named.kind, write.load(*named)
    if kind is ENDPOINTSLICE and old is not None and is_generated(old):
        if value is not None:
            raise Overlapping
        return ()
    new = None
    if value is not None:
        new = read(named, value)
        write.put(kind, old, new)
    elif old is not None:
        write.remove(kind, old)
    else:
        return ()
    return _follow(write, kind, old, new, says=says)


def _follow(
    write: WriteTransaction, kind: Kind, old: Object | None, new: Object | None, *, says: bool
) -> tuple[str, ...]:
    """Bring what follows from an object in line with it."""
    if kind is SERVICE:
        addresses.follow(write, old, new)
    elif kind is POD and new is not None:
        probed.note(write, new)
    owners.index(write, kind, old, new)
    if says and new is not None:
        return derive_with_warnings(write, kind, old, new)
    derive(write, kind, old, new)
    return ()


def read(named: Named, value: bytes) -> Object:
    """Return the object that stands in etcd; its resourceVersion is its place.  Raises Unreadable."""
    try:
        found = decode(value)
        metadata = found["metadata"]
        stands = (found["kind"], metadata.get("namespace", ""), metadata["name"])
        whole = metadata["uid"] and metadata["creationTimestamp"] and metadata["resourceVersion"].isdecimal()
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as wrong:
        raise Unreadable(f"it is no object as svcdns stores it ({wrong!r})") from None
    if stands != (named.kind.name, named.namespace, named.name) or not whole:
        raise Unreadable(f"it is no object as svcdns stores it under this key, but {stands}")
    return dict(found)
