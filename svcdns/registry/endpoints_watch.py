"""Watching core/v1 Endpoints: some are stored, others a view; a watcher sees one object a name.

What a name shows follows from a Service, its EndpointSlices and stored Endpoints (see `endpoints`), so events
follow from the log entries of all three.  What has happened to a name since the watcher's revision is one
event, or two where its object is another one now (the view gives way to stored Endpoints, a Service is
deleted and created): DELETED, then ADDED.  An event shows what stands now; of what was shown before, the log
knows whether there was something, and with which labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import lmdb
import msgspec

from svcdns.cluster.endpoints import SERVICE_NAME_LABEL, selector_of
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, SERVICE, Kind
from svcdns.store import log
from svcdns.store.environment import Store, Tables
from svcdns.system.turns import Turns

from . import endpoints
from .requests import Event, Selection
from .transaction import SELECTS, Object, decode, encode, joined, object_key, read_revision, scan_keys

SOURCES = (SERVICE, ENDPOINTSLICE, ENDPOINTS)
"""Whose changes change Endpoints."""
MOST_NAMES = 8
"""Names whose Endpoints are made in one go: one may have many addresses."""


class _Metadata(msgspec.Struct):
    name: str
    labels: dict[str, str] = {}


class _Named(msgspec.Struct):
    """As much of an object as says which Endpoints it is about; slices are large."""

    metadata: _Metadata


_read_named = msgspec.json.Decoder(_Named).decode


@dataclass(slots=True)
class _History:
    """What happened to one object since the watcher's revision."""

    before: Object | None
    """What selectors saw of it then; None: it was not there."""
    deleted: Object | None = None
    """Its last state, if it was deleted meanwhile; what came after it under the same name is another."""


@dataclass(slots=True)
class _Name:
    """What happened to all that a name's Endpoints follow from."""

    revision: int = 0
    service: _History | None = None
    stored: _History | None = None
    slices_before: bool = False
    """Whether one of the slices that changed was the Service's."""


class _Shown(NamedTuple):
    """What a name showed at the watcher's revision."""

    stored: bool
    """Stored Endpoints; else a view."""
    replaced: bool
    """Whether it has been deleted since, and perhaps created again."""
    metadata: Object


@dataclass(slots=True)
class Changes:
    """The log entries since a watcher's revision, by the name that they are about."""

    namespace: str
    """The one that is watched, "" for all."""
    _names: dict[tuple[str, str], _Name] = field(default_factory=dict)
    _slices: set[tuple[str, str]] = field(default_factory=set)
    """Those of which an entry has been seen."""

    def __bool__(self) -> bool:
        return bool(self._names or self._slices)

    def add(self, entries: Iterable[tuple[int, log.Entry]]) -> None:
        """Add log entries, which are in order; of other kinds and namespaces too."""
        for revision, entry in entries:
            if self.namespace and entry.namespace != self.namespace:
                continue
            if entry.kind == ENDPOINTSLICE.name:
                self._add_slice(revision, entry)
            elif entry.kind in (SERVICE.name, ENDPOINTS.name):
                self._add_object(revision, entry)

    def _touch(self, namespace: str, name: str, revision: int) -> _Name:
        found = self._names.setdefault((namespace, name), _Name())
        found.revision = revision
        return found

    def _add_object(self, revision: int, entry: log.Entry) -> None:
        octets = entry.object()
        name = self._touch(entry.namespace, _read_named(octets).metadata.name, revision)
        source = "service" if entry.kind == SERVICE.name else "stored"
        history: _History | None = getattr(name, source)
        if history is None:
            history = _History(None if entry.before is None else decode(entry.before))
            setattr(name, source, history)
        if entry.type == "DELETED" and history.deleted is None:
            history.deleted = decode(octets)

    def _add_slice(self, revision: int, entry: log.Entry) -> None:
        now = _read_named(entry.object()).metadata
        before = None if entry.before is None else _read_named(entry.before).metadata
        first = (entry.namespace, now.name) not in self._slices
        self._slices.add((entry.namespace, now.name))
        for state in (before, now):
            service = state.labels.get(SERVICE_NAME_LABEL) if state is not None else None
            if service:
                name = self._touch(entry.namespace, service, revision)
                name.slices_before |= first and state is before

    async def events(
        self, store: Store, turns: Turns, selection: Selection, after: int
    ) -> tuple[list[Event], int]:
        """Return the events that follow, and up to which revision these are all.

        `after` is the revision up to which entries have been added; those that came since are added here, so
        that what is shown is of one moment.  Others have their turns between some names and the next.
        """
        found: list[Event] = []
        if not self:
            return found, after
        with store.read() as txn:
            reached = max(after, read_revision(txn, store.tables))
            self.add(log.entries(txn, store.tables.log, after))
            ordered = sorted(self._names.items(), key=lambda item: item[1].revision)
            for start in range(0, len(ordered), MOST_NAMES):
                if start:
                    await turns.next()
                for at, change in ordered[start : start + MOST_NAMES]:
                    found += self._events(txn, store.tables, at, change, selection)
        return found, reached

    def _events(
        self,
        txn: lmdb.Transaction,
        tables: Tables,
        at: tuple[str, str],
        change: _Name,
        selection: Selection,
    ) -> Iterator[Event]:
        was = self._shown_before(txn, tables, at, change)
        octets = endpoints.get(txn, tables, *at)
        now: Object | None = None if octets is None else decode(octets)
        stored = now is not None and not endpoints.is_view(txn, tables, *at)
        same = was is not None and now is not None and was.stored is stored and not was.replaced
        known = was is not None and selection.matches({"metadata": was.metadata})
        if known and not same and was is not None:
            yield _event("DELETED", _last(txn, tables, at, change, was), change.revision)
            known = False
        if now is None or (same and stored and change.stored is None):
            return
        if selection.matches(now):
            yield _event("MODIFIED" if known else "ADDED", now, change.revision, as_stored=stored)
        elif known:
            yield _event("DELETED", now, change.revision)

    def _shown_before(
        self, txn: lmdb.Transaction, tables: Tables, at: tuple[str, str], change: _Name
    ) -> _Shown | None:
        """Return what a name showed at the watcher's revision, by the rules of `endpoints`."""
        service, selects = change.service.before if change.service is not None else None, False
        if change.service is None:
            service = _load(txn, tables, SERVICE, at)
            selects = service is not None and selector_of(service) is not None
        elif service is not None:
            selects = service.get(SELECTS, True)  # an older svcdns showed a view of every Service
        if change.stored is None:
            stored = _load(txn, tables, ENDPOINTS, at)
        else:
            stored = change.stored.before
        if stored is not None and not selects:
            return _Shown(True, change.stored is not None and bool(change.stored.deleted), stored["metadata"])
        if service is None or not (selects or self._had_slices(txn, tables, at, change)):
            return None
        replaced = change.service is not None and bool(change.service.deleted)
        return _Shown(False, replaced, endpoints.metadata_of_view(service))

    def _had_slices(self, txn: lmdb.Transaction, tables: Tables, at: tuple[str, str], change: _Name) -> bool:
        if change.slices_before:
            return True
        prefix = joined(*at)
        keys = scan_keys(txn, tables.slices, prefix)
        names = ((at[0], bytes(key)[len(prefix) : -1].decode()) for key in keys)
        return any(name not in self._slices for name in names)


def _last(txn: lmdb.Transaction, tables: Tables, at: tuple[str, str], change: _Name, was: _Shown) -> Object:
    """Return the last state of what a name shows no longer; of a view without its addresses."""
    history = change.stored if was.stored else change.service
    found = history.deleted if history is not None else None
    if found is None:
        found = _load(txn, tables, ENDPOINTS if was.stored else SERVICE, at)
    assert found is not None, "what was shown is there or has been deleted"
    return found if was.stored else endpoints.made_from(found, [])


def _load(txn: lmdb.Transaction, tables: Tables, kind: Kind, at: tuple[str, str]) -> Object | None:
    octets = txn.get(object_key(kind, *at), db=tables.objects)
    return None if octets is None else decode(octets)


def _event(type_: str, obj: Object, revision: int, *, as_stored: bool = False) -> Event:
    """Return an event; a slice that goes must not turn the clock of revisions back.

    Stored Endpoints keep the revision by which they can be replaced.
    """
    metadata = obj["metadata"]
    shown = metadata["resourceVersion"]
    if not as_stored:
        shown = str(max(revision, int(shown)))
    return Event(type_, encode({**obj, "metadata": {**metadata, "resourceVersion": shown}}), revision)
