"""Accept: a group of writes is run on the map, undone, and becomes one transaction of etcd.

Each write runs as on a registry of its own: in a child transaction, on the objects that those before it left.
What follows from these (slices, facts) is derived when they are applied; a write that is decided on that runs
before all others.  What all of them would change is what the transaction puts and deletes, if what they were
decided on still stands:

* each object that changes is as the map has it, and each address or port that is given out is free;
* each namespace that was looked at is as it was;
* where more than that was looked at (an owner's dependents, what a namespace holds): no replica has had a
  transaction since.  Each puts the key of its replica, so one comparison of all these keys says so.

A write that was refused, or changes nothing, keeps nobody else's from being carried out: it is answered if no
replica has had a transaction since.  Where one has, it is tried again on a map that shows that one, and what
it comes to there is answered: that stood after the client had asked.

No key is changed twice in a transaction: each resourceVersion that a client sees is that of what it has seen.
A write that would is deferred to the next group, as is one for which there is no room.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import lmdb

from svcdns.cluster.endpoints import is_generated
from svcdns.etcd.messages import Compare, Delete, Put
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, SERVICE, STORED_BY_NAME, Kind
from svcdns.store.rows import object_key, scan

from .. import addresses
from ..requests import Written
from ..transaction import TIME_FORMAT, Object, WriteTransaction, decode, encode
from . import revisions
from .applying import Map, Told, read_position
from .keys import Named
from .waiting import Waiting as Waiting

logger = logging.getLogger(__name__)

MOST_OPERATIONS = 128
"""What etcd takes in a transaction unless told otherwise (--max-txn-ops): compares, and as many puts."""
MOST_OCTETS = 1 << 20
"""What etcd takes in a request (--max-request-bytes) is half as much again."""
ROOM_OCTETS = MOST_OCTETS // 2
"""The same as ROOM: so much may be put where more can be put in another one."""
ROOM = 96
"""Operations after which a write that can go on in another one ends: the last step may take some more."""
_OWN = 2
"""Operations of a transaction that are no write's: the keys of the replicas are read, its own is put."""
CURSORS = b"at"
"""What the keys of `allocations` begin with that say which address was given out last (see `addresses`)."""


@dataclass(slots=True)
class _Changes:
    """What one write changes, by etcd's keys."""

    objects: dict[bytes, tuple[Kind, Object | None]] = field(default_factory=dict)
    """None: it goes."""
    unchanged: dict[bytes, int] = field(default_factory=dict)
    """The revisions of these keys that it was decided on, 0 of what was not there."""
    allocations: dict[bytes, str | None] = field(default_factory=dict)
    cascades: dict[bytes, bytes | None] = field(default_factory=dict)
    """Nothing is compared for these: who changes one is decided on all."""

    def __len__(self) -> int:
        return len(self.objects) + len(self.allocations) + len(self.cascades)

    def keys(self) -> set[bytes]:
        """Return all keys that change."""
        return {*self.objects, *self.allocations, *self.cascades}


@dataclass(slots=True)
class Proposal:
    """A group of writes as one transaction."""

    position: int
    """The revision of etcd that the map stood at."""
    decided: list[Waiting] = field(default_factory=list)
    """Writes that come to what they came to here, if the transaction succeeds."""
    answered: list[Waiting] = field(default_factory=list)
    """Writes that have come to it already, whatever becomes of the transaction."""
    deferred: list[Waiting] = field(default_factory=list)
    """Writes that wait until this transaction, or another one, is no longer under way."""
    left: list[Waiting] = field(default_factory=list)
    """Writes for which there is no room."""
    is_one_to_be_alone: bool = False
    """Whether one is deferred beside which nothing is to be under way."""
    id: bytes = field(default_factory=lambda: secrets.token_hex(8).encode())
    told: Told = field(default_factory=lambda: Told([], {}))
    """What is to be said of what has followed from it."""
    taken: set[bytes] = field(default_factory=set)
    """What no other write may change."""
    compares: list[Compare] = field(default_factory=list)
    operations: list[Put | Delete] = field(default_factory=list)
    places: dict[bytes, int] = field(default_factory=dict)
    """The place of each object in the transaction, by its key."""
    octets: int = 0
    decided_on_all: bool = False
    changes: _Changes = field(default_factory=_Changes)
    namespaces: set[str] = field(default_factory=set)

    @property
    def changes_nothing(self) -> bool:
        """Whether there is nothing to put or delete."""
        return not self.changes

    def settle(self, of: Map, revision: int) -> None:
        """Give the results what the transaction has brought: resourceVersions, warnings of what followed."""
        for waiting in self.decided:
            if waiting.error is None:
                waiting.result = self._settled(of, waiting.result, revision)

    def _settled(self, of: Map, result: Any, revision: int) -> Any:
        if type(result) in (tuple, list):
            return type(result)(self._settled(of, item, revision) for item in result)
        if not isinstance(result, Written):
            return result
        shown = decode(result.object)
        metadata = shown["metadata"]
        if int(metadata["resourceVersion"]) <= revisions.last_of(self.position):
            return result
        named = Named(STORED_BY_NAME[shown["kind"]], metadata.get("namespace", ""), metadata["name"])
        place = self.places.get(of.keys.object(*named), 0)
        metadata["resourceVersion"] = str(revisions.of(revision, place))
        told = (*result.warnings, *self.told.warnings.get(named, ()))
        return replace(result, object=encode(shown), warnings=told)


class Beside:
    """What goes on beside a proposal that is made."""

    def __init__(self, under_way: Sequence[Proposal], held: Iterable[Waiting]) -> None:
        """`held` are writes that come before those of the group, as soon as they can."""
        self.is_any = bool(under_way)
        changed: set[bytes] = set()
        self.keys = changed.union(*(one.changes.keys() for one in under_way), *(one.keys for one in held))
        """What is not to be changed."""


def propose(of: Map, group: list[Waiting], cursors: dict[bytes, bytes], beside: Beside) -> Proposal:
    """Run a group on the map and undo it; `cursors` say which address of each range was given out last.

    Raises lmdb.Error.
    """
    with of.store.env.begin() as before, suppress(_Undone), of.store.env.begin(write=True) as txn:
        position = read_position(before, of.store)
        assert position is not None, "the map has not been listed yet"
        proposal = Proposal(position.revision, taken=beside.keys)
        for key, value in cursors.items():
            txn.put(key, value, db=of.store.tables.allocations)
        now = datetime.now(UTC).strftime(TIME_FORMAT)
        for waiting in sorted(group, key=lambda one: not one.dry_run):  # those see nothing of the others
            _run(of, before, txn, waiting, now, proposal, beside)
        cursors.update(scan(txn, of.store.tables.allocations, CURSORS))
        _compose(of, before, proposal)
        raise _Undone
    return proposal


class _Undone(Exception):
    """Ends the transaction in which a group was tried."""


class _Left(Exception):
    """Ends the child transaction of a write, for this reason."""


class _Answered(_Left):
    """Nothing is to be decided any more."""


class _Deferred(_Left):
    """It is for when something that is under way has ended."""


class _NoRoom(_Left):
    """It is for the next transaction."""


def _run(
    of: Map,
    before: lmdb.Transaction,
    txn: lmdb.Transaction,
    waiting: Waiting,
    now: str,
    proposal: Proposal,
    beside: Beside,
) -> None:
    """Run one write, and add what it comes to to the proposal."""
    waiting.result, waiting.error, waiting.changes, waiting.messages = None, None, False, []
    where = proposal.decided
    try:
        with of.store.env.begin(write=True, parent=txn) as child:
            write = WriteTransaction(child, of.store.tables, of.settings, now, waiting.messages)
            write.dry_run = write.derives = waiting.dry_run
            write.most_operations, write.most_octets = ROOM, ROOM_OCTETS
            try:
                waiting.result = waiting.action(write)
            except lmdb.Error:  # of the disk, whatever it was decided on
                raise
            except Exception:
                _defer_if_on_derived(write, proposal)
                raise
            _defer_if_on_derived(write, proposal)
            if waiting.dry_run:
                waiting.messages.clear()
                raise _Answered
            _add(of, before, write, waiting, proposal, beside)
    except _Answered:
        where = proposal.answered
    except _Deferred:
        where = proposal.deferred
    except _NoRoom:
        where = proposal.left
    except StatusError as refused:
        waiting.error = refused
        waiting.messages = [one for one in waiting.messages if one.of_refusal and not waiting.dry_run]
    except lmdb.Error:
        raise
    except Exception as bug:
        logger.exception("a write failed unexpectedly")
        waiting.error = StatusError(500, "InternalError", f"Internal error occurred: {type(bug).__name__}")
    if where is proposal.decided and not waiting.changes and _is_current(waiting, proposal):
        where = proposal.answered
    where.append(waiting)


def _defer_if_on_derived(write: WriteTransaction, proposal: Proposal) -> None:
    """Raise _Deferred where a write was decided on what is not derived yet of those before it."""
    if write.decided_on_derived and not proposal.changes_nothing:
        raise _Deferred


def _is_current(waiting: Waiting, proposal: Proposal) -> bool:
    """Whether the state that a write was decided on was the newest at some moment since it came.

    It was if no other write of the group has changed it, and the map has come to what etcd had meanwhile.
    """
    is_as_applied = proposal.changes_nothing
    return is_as_applied and waiting.newest is not None and waiting.newest <= proposal.position


def _add(
    of: Map,
    before: lmdb.Transaction,
    write: WriteTransaction,
    waiting: Waiting,
    proposal: Proposal,
    beside: Beside,
) -> None:
    """Add the changes of a write.  Raises StatusError for more than any transaction holds, _Left."""
    changes = _changes(of, before, write)
    octets = write.octets
    compared = _compared(changes, write.relied_on)
    if compared + _OWN > MOST_OPERATIONS or octets > MOST_OCTETS:
        text = (
            f"this changes or depends on {compared} things of {octets} octets at once, and one transaction "
            f"of etcd holds {MOST_OPERATIONS - _OWN} of {MOST_OCTETS}; nothing was changed"
        )
        raise StatusError(413, "RequestEntityTooLarge", text)
    mine, keys = proposal.changes, changes.keys()
    relied_on = {of.keys.object(NAMESPACE, "", name) for name in write.relied_on}
    must_be_alone = write.decided_on_all and bool(keys) and beside.is_any
    proposal.is_one_to_be_alone |= must_be_alone
    if (
        must_be_alone
        or not proposal.taken.isdisjoint(keys)
        or not (proposal.taken - mine.keys()).isdisjoint(relied_on)
        or (not keys and _shows_undecided(waiting.result, proposal.position))
    ):
        waiting.keys = frozenset(keys)
        proposal.taken |= keys
        raise _Deferred
    if (
        _compared(mine, proposal.namespaces) + compared + _OWN > MOST_OPERATIONS
        or proposal.octets + octets > MOST_OCTETS
    ):
        proposal.taken |= keys
        raise _NoRoom
    proposal.taken |= keys
    proposal.octets += octets
    waiting.changes = bool(changes.objects or changes.cascades)
    proposal.decided_on_all |= write.decided_on_all and waiting.changes
    proposal.namespaces |= write.relied_on
    mine.objects |= changes.objects
    mine.unchanged |= changes.unchanged
    mine.allocations |= changes.allocations
    mine.cascades |= changes.cascades


def _compared(changes: _Changes, namespaces: set[str]) -> int:
    return len(changes) + len(namespaces)


def _shows_undecided(result: Any, position: int) -> bool:
    """Whether a write that changes nothing shows what another write of its group has changed."""
    if not isinstance(result, Written):
        return False
    return int(decode(result.object)["metadata"]["resourceVersion"]) > revisions.last_of(position)


def _changes(of: Map, before: lmdb.Transaction, write: WriteTransaction) -> _Changes:
    """Return what a write changes that others can't derive."""
    changes, tables = _Changes(), of.store.tables
    changes.cascades = {of.keys.cascade(uid): value for uid, value in write.cascades.items()}
    had: dict[str, set[bytes]] = {}
    for _, entry in write.logged:
        kind, shown = STORED_BY_NAME[entry.kind], decode(entry.object())
        if kind is ENDPOINTSLICE and is_generated(shown):
            continue
        metadata = shown["metadata"]
        at = (kind, metadata.get("namespace", ""), metadata["name"])
        key = of.keys.object(*at)
        stored = before.get(object_key(*at), db=tables.objects)
        is_gone = entry.type == "DELETED"
        changes.objects.pop(key, None)  # the last change counts, and its place
        if not is_gone or stored is not None:
            changes.objects[key] = (kind, None if is_gone else shown)
            changes.unchanged[key] = 0 if stored is None else _written_in(bytes(stored))
        if kind is SERVICE:
            held_before = addresses.held(decode(bytes(stored))) if stored is not None else set()
            held = set() if is_gone else addresses.held(shown)
            owner = f"{metadata['namespace']}/{metadata['name']}"
            for one in had.get(owner, set()) | held_before | held:
                changes.allocations.pop(of.keys.allocation(one), None)
            for one in held - held_before:
                changes.allocations[of.keys.allocation(one)] = owner
            for one in held_before - held:
                changes.allocations[of.keys.allocation(one)] = None
            had[owner] = held
    return changes


def _written_in(stored: bytes) -> int:
    """Return the revision of etcd in which an object of the map was written."""
    return revisions.revision_of(int(decode(stored)["metadata"]["resourceVersion"]))


def _compose(of: Map, before: lmdb.Transaction, proposal: Proposal) -> None:
    """Make the operations of a transaction, and what is to stand when it is carried out."""
    changes = proposal.changes
    for ordinal, (key, (_, shown)) in enumerate(changes.objects.items()):
        place = proposal.places[key] = ordinal * revisions.STEP
        if shown is None:
            proposal.operations.append(Delete(key))
            continue
        stands = {**shown, "metadata": {**shown["metadata"], "resourceVersion": str(place)}}
        proposal.operations.append(Put(key, encode(stands)))
    for key, revision in changes.unchanged.items():
        proposal.compares.append(_as_it_was(key, revision))
    for key, owner in changes.allocations.items():
        if owner is None:
            proposal.operations.append(Delete(key))
        else:
            proposal.operations.append(Put(key, owner.encode()))
            proposal.compares.append(Compare.absent(key))
    for key, value in changes.cascades.items():
        proposal.operations.append(Delete(key) if value is None else Put(key, value))
    for name in sorted(proposal.namespaces):
        key = of.keys.object(NAMESPACE, "", name)
        if key not in changes.unchanged:
            stored = before.get(object_key(NAMESPACE, "", name), db=of.store.tables.objects)
            proposal.compares.append(_as_it_was(key, 0 if stored is None else _written_in(bytes(stored))))


def _as_it_was(key: bytes, revision: int) -> Compare:
    return Compare.unchanged(key, revision) if revision else Compare.absent(key)
