"""Watch streams: watchers are woken by commits of their kind and see events in commit order.

One `Feed` reads what each commit added to the event log, once for all watchers.  A watcher holds nothing
but its position (a revision) and the batch that is being sent to it, and is given the next one when it asks:
so a slow one holds no more than a fast one.  Those who are at the same place are given the same batch.
Whoever falls behind what the feed still holds reads the log itself, and whoever falls behind the log gets
410 Expired; so a stream can also be taken up again after a restart.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import lmdb

from svcdns.objects import conversion
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTS, STORED, Kind
from svcdns.store import log
from svcdns.store.environment import Store

from . import address_views, endpoints_watch
from .listing import Listing, Reads
from .reading import OCTETS
from .recent import Recent
from .requests import Batch, Event, Piece, Selection
from .transaction import log_of, read_revision

BATCH = 256
"""Entries of the log that are looked at in one go."""
_SMALL, _MIDDLE = 1, 8
"""What it takes of a turn to send a batch that is there, and to make one."""
RECENT = 1024
"""Events of one kind that the feed holds in memory."""
BOOKMARK_SECONDS = 60.0


@dataclass(slots=True)
class _Channel:
    """The latest events of one kind, and those who wait for the next."""

    floor: int
    """Events up to this revision are no longer held."""
    last: int
    """The revision of the last event, if there was one since the start; else that of the start."""
    recent: deque[log.Change] = field(default_factory=deque)
    _next: asyncio.Future[None] | None = None

    def add(self, revision: int, entry: log.Entry) -> None:
        if len(self.recent) == RECENT:
            self.floor, _ = self.recent.popleft()
        self.recent.append((revision, entry))
        self.last = revision

    def forget(self, revision: int) -> None:
        self.recent.clear()
        self.floor = self.last = revision

    def wake(self) -> None:
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        self._next = None

    def future(self) -> asyncio.Future[None]:
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return self._next


class Feed:
    """What was committed lately, by kind; `revision` is how far it has read."""

    def __init__(self, store: Store) -> None:
        """Begins at the present revision of the store; belongs to one event loop."""
        self._store = store
        with store.read() as txn:
            self.revision = read_revision(txn, store.tables)
        self._channels = {kind.name: _Channel(self.revision, self.revision) for kind in STORED}
        self._batches: Recent[tuple[Batch, int]] = Recent()

    def advance(self, logged: Sequence[log.Change] = (), reached: int | None = None) -> set[str]:
        """Take what has been committed since the last time and wake those who wait; return its kinds.

        `logged` is what the last commit has logged.  Where that is not all, the logs are read.  That it is
        all up to a revision is known where that is `reached`, else where revisions have no gap.
        """
        if reached is not None or (logged and logged[0][0] == self.revision + 1):
            woken = self._hold(logged)
            self.revision = logged[-1][0] if reached is None else reached
        else:
            woken = self._catch_up()
        for kind in woken:
            self._channels[kind].wake()
        return woken

    def _hold(self, changes: Iterable[log.Change]) -> set[str]:
        """Hold events for those who watch; return their kinds."""
        kinds: set[str] = set()
        for revision, entry in changes:
            if (channel := self._channels.get(entry.kind)) is not None:
                channel.add(revision, entry)
                kinds.add(entry.kind)
        return kinds

    def _catch_up(self) -> set[str]:
        """Read what has been committed since the last time; return its kinds."""
        woken: set[str] = set()
        with self._store.read() as txn:
            present = read_revision(txn, self._store.tables)
        for table in (self._store.tables.log, self._store.tables.event_log):
            try:
                woken |= self._hold(self._read(table, self.revision, present))
            except StatusError:
                # more was committed while the loop stood still than the log holds: watchers get their 410
                for channel in self._channels.values():
                    channel.forget(present)
                woken |= self._channels.keys()
        self.revision = present
        return woken

    def last(self, kind: Kind) -> int:
        """Return the revision up to which somebody must have seen a kind's events to have seen them all."""
        return self._channels[kind.name].last

    def next(self, kind: Kind) -> asyncio.Future[None]:
        """Return what the next event of a kind completes; take it before looking at what there is."""
        return self._channels[kind.name].future()

    def share(self, kind: Kind, namespace: str, selection: Selection, after: int) -> int:
        """Return which share of a turn `batch` takes."""
        return _SMALL if (kind, namespace, selection, after) in self._batches else _MIDDLE

    def batch(
        self,
        kind: Kind,
        namespace: str,
        selection: Selection,
        after: int,
        view: address_views.View | None = None,
    ) -> tuple[Batch, int]:
        """Return what happened in a collection after a revision, and up to which revision that is all.

        That is at most what can be looked at in one go.  Raises StatusError 410.
        """
        key: Hashable = (kind, namespace, selection, after)
        found = self._batches.get(key)
        if found is not None:
            return found
        entries, reached = self.after(_sources(kind, view), after)
        wanted: list[tuple[int, log.Entry]] = []
        octets = 0
        for revision, entry in entries:
            if octets >= OCTETS:
                reached = wanted[-1][0]
                break
            if not namespace or entry.namespace == namespace:
                wanted.append((revision, entry.inflated()))
                octets += len(wanted[-1][1].after)
        if view is not None:
            events = list(view.changes(wanted, selection))
        else:
            events = [_as_shown(kind, event) for event in _changes(wanted, selection)]
        octets = sum(len(event.object) for event in events)
        return self._batches.put(key, (Batch(events), reached), octets)

    def after(self, kinds: tuple[Kind, ...], revision: int) -> tuple[list[tuple[int, log.Entry]], int]:
        """Return events of these kinds (of one log) after a revision, and up to which revision these are all.

        At most a batch is returned: who is far behind must not hold all of it.  Raises StatusError 410.
        """
        channels = [self._channels[kind.name] for kind in kinds]
        if any(revision < channel.floor for channel in channels):
            return self._from_log(kinds, revision)
        found: list[tuple[int, log.Entry]] = []
        for channel in channels:
            for event in reversed(channel.recent):
                if event[0] <= revision:
                    break
                found.append(event)
        found.sort(key=lambda event: event[0])
        if len(found) > BATCH:
            del found[BATCH:]
            return found, found[-1][0]
        return found, self.revision

    def _from_log(self, kinds: tuple[Kind, ...], revision: int) -> tuple[list[tuple[int, log.Entry]], int]:
        names = {kind.name for kind in kinds}
        table = log_of(self._store.tables, kinds[0])
        entries, complete = log.after(self._store, table, revision, BATCH)
        if not complete:
            raise _expired(revision)
        reached = min(entries[-1][0], self.revision) if len(entries) == BATCH else self.revision
        return [event for event in entries if event[0] <= reached and event[1].kind in names], reached

    def _read(self, table: lmdb._Database, revision: int, until: int) -> Iterator[tuple[int, log.Entry]]:
        """Yield what a log holds after a revision, up to another.  Raises StatusError 410."""
        while revision < until:
            entries, complete = log.after(self._store, table, revision, BATCH)
            if not complete:
                raise _expired(revision)
            if not entries:
                return
            for revision, entry in entries:
                if revision > until:
                    return
                yield revision, entry


def _sources(kind: Kind, view: address_views.View | None) -> tuple[Kind, ...]:
    """Return the kinds whose changes a watch of a kind is about."""
    if view is not None:
        return address_views.SOURCES
    return endpoints_watch.SOURCES if kind is ENDPOINTS else (kind.stored,)


async def watch(
    reads: Reads,
    feed: Feed,
    kind: Kind,
    namespace: str,
    selection: Selection,
    after: int | None,
    *,
    bookmarks: bool = False,
    initial_events: bool = False,
    view: address_views.View | None = None,
) -> AsyncIterator[Batch]:
    """Yield what changes in a collection; `namespace` "" is all; `view` makes what the kind shows.

    `after` None begins with an ADDED for each object there is; with `initial_events` a BOOKMARK marks their
    end.  A BOOKMARK has no object: it says that all events up to its revision have been seen.  Raises
    StatusError 410 when the log no longer reaches back to `after`; of a revision that has not been reached
    yet, what comes after it is waited for.
    """
    if after is None or initial_events:
        with Listing(reads, kind, namespace, selection, view=view) as listing:
            after = listing.revision
            async for piece in listing.pieces():
                yield _added(piece, after)
        if initial_events:
            yield _bookmark(after)
    else:
        _check_position(reads.store, kind, after, 0 if view is None else view.oldest)
    while True:
        woken = [feed.next(source) for source in _sources(kind, view)]
        if kind is ENDPOINTS:
            batch, after = await _of_endpoints(reads, feed, namespace, selection, after)
            if batch.events:
                yield batch
        while after < feed.revision and kind is not ENDPOINTS:
            await reads.turns.next(feed.share(kind, namespace, selection, after))
            batch, after = feed.batch(kind, namespace, selection, after, view)
            if batch.events:
                yield batch
        if not any(future.done() for future in woken):
            timeout = BOOKMARK_SECONDS if bookmarks else None
            done, _ = await asyncio.wait(woken, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                after = max(after, feed.revision)
                yield _bookmark(after)


async def _of_endpoints(
    reads: Reads, feed: Feed, namespace: str, selection: Selection, after: int
) -> tuple[Batch, int]:
    """Return what happened to Endpoints after a revision, all of it: an event shows what stands now."""
    changes = endpoints_watch.Changes(namespace)
    while after < feed.revision:
        await reads.turns.next()
        entries, after = feed.after(endpoints_watch.SOURCES, after)
        changes.add((revision, entry.inflated()) for revision, entry in entries)
    events, after = await changes.events(reads.store, reads.turns, selection, after)
    return Batch(events), after


def _as_shown(kind: Kind, event: Event) -> Event:
    """Return an event of a kind that may be stored as another, with its object as it shows it."""
    if kind.stored is kind:
        return event
    return replace(event, object=conversion.shown_octets(kind, event.object))


def _added(piece: Piece, revision: int) -> Batch:
    """Return the objects of a piece as events; the same ones for all who are given the piece."""
    if piece.batch is None:
        piece.batch = Batch([Event("ADDED", octets, revision) for octets in piece.items])
    return piece.batch


def _bookmark(revision: int) -> Batch:
    return Batch([Event("BOOKMARK", b"", revision)])


def _changes(entries: Iterable[tuple[int, log.Entry]], selection: Selection) -> Iterator[Event]:
    """Yield the events as seen through a selection: entering it is ADDED, leaving it is DELETED."""
    for revision, entry in entries:
        type_, octets = entry.type, entry.object()
        if selection:
            before = entry.before is not None and selection.matches_json(entry.before)
            now = type_ != "DELETED" and selection.matches_json(octets)
            if not before and not now:
                continue
            type_ = ("MODIFIED" if before else "ADDED") if now else "DELETED"
        yield Event(type_, octets, revision)


def _check_position(store: Store, kind: Kind, after: int, oldest: int) -> None:
    with store.read() as txn:
        floor = log.floor(txn, log_of(store.tables, kind))
    if after < max(floor, oldest):
        raise _expired(after)


def _expired(after: int) -> StatusError:
    return StatusError(410, "Expired", f"too old resource version: {after}")
