"""Watch streams: watchers are woken by commits of their kind and see events in commit order.

One `Feed` reads what each commit added to the event log, once for all watchers.  A watcher holds nothing
but its position (a revision).  Whoever falls behind what the feed still holds reads the log itself, and
whoever falls behind the log gets 410 Expired; so a stream can also be taken up again after a restart.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import lmdb

from svcdns.objects import conversion
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTS, STORED, Kind
from svcdns.store import log
from svcdns.store.environment import Store

from . import address_views, endpoints_watch, reading
from .requests import Event, Selection
from .transaction import decode, log_of, read_revision

BATCH = 256
RECENT = 1024
"""Events of one kind that the feed holds in memory."""
BOOKMARK_SECONDS = 60.0


@dataclass(slots=True)
class _Channel:
    """The latest events of one kind, and those who wait for the next."""

    floor: int
    """Events up to this revision are no longer held."""
    recent: deque[tuple[int, log.Entry]] = field(default_factory=deque)
    _next: asyncio.Future[None] | None = None

    def add(self, revision: int, entry: log.Entry) -> None:
        if len(self.recent) == RECENT:
            self.floor, _ = self.recent.popleft()
        self.recent.append((revision, entry))

    def forget(self, revision: int) -> None:
        self.recent.clear()
        self.floor = revision

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
        self._channels = {kind.name: _Channel(self.revision) for kind in STORED}

    def advance(self) -> set[str]:
        """Read what has been committed since the last time and wake those who wait; return its kinds."""
        woken: set[str] = set()
        with self._store.read() as txn:
            present = read_revision(txn, self._store.tables)
        for table in (self._store.tables.log, self._store.tables.event_log):
            try:
                for revision, entry in self._read(table, self.revision, present):
                    if entry.kind in self._channels:
                        self._channels[entry.kind].add(revision, entry)
                        woken.add(entry.kind)
            except StatusError:
                # more was committed while the loop stood still than the log holds: watchers get their 410
                for channel in self._channels.values():
                    channel.forget(present)
                woken |= self._channels.keys()
        self.revision = present
        for kind in woken:
            self._channels[kind].wake()
        return woken

    def next(self, kind: Kind) -> asyncio.Future[None]:
        """Return what the next event of a kind completes; take it before looking at what there is."""
        return self._channels[kind.name].future()

    def after(self, kinds: tuple[Kind, ...], revision: int) -> tuple[list[tuple[int, log.Entry]], int]:
        """Return events of these kinds (of one log) after a revision, and up to which revision these are all.

        At most a batch is read from the log: who is far behind must not hold all of it.  Raises
        StatusError 410.
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


async def watch(
    store: Store,
    feed: Feed,
    kind: Kind,
    namespace: str,
    selection: Selection,
    after: int | None,
    *,
    bookmarks: bool = False,
    initial_events: bool = False,
    view: address_views.View | None = None,
) -> AsyncGenerator[Event]:
    """Yield what changes in a collection; `namespace` "" is all; `view` makes what the kind shows.

    `after` None begins with an ADDED for each object there is; with `initial_events` a BOOKMARK marks their
    end.  A BOOKMARK has no object: it says that all events up to its revision have been seen.  Raises
    StatusError 410 when the log no longer reaches back to `after`; of a revision that has not been reached
    yet, what comes after it is waited for.
    """
    if after is None or initial_events:
        page = reading.page(store, kind, namespace, selection) if view is None else view.page(selection)
        for octets in page.items:
            yield Event("ADDED", octets, page.revision)
        after = page.revision
        if initial_events:
            yield Event("BOOKMARK", b"", after)
    else:
        _check_position(store, kind, after, 0 if view is None else view.oldest)
    sources: tuple[Kind, ...] = endpoints_watch.SOURCES if kind is ENDPOINTS else (kind.stored,)
    if view is not None:
        sources = address_views.SOURCES
    while True:
        woken = [feed.next(source) for source in sources]
        while after < feed.revision:
            entries, reached = feed.after(sources, after)
            wanted = (item for item in entries if not namespace or item[1].namespace == namespace)
            if view is not None:
                events = view.changes(wanted, selection)
            elif kind is ENDPOINTS:
                events = endpoints_watch.changes(store, wanted, selection)
            else:
                events = _changes(wanted, selection)
            for event in events:
                yield event
            after = reached
        if not any(future.done() for future in woken):
            timeout = BOOKMARK_SECONDS if bookmarks else None
            done, _ = await asyncio.wait(woken, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                after = max(after, feed.revision)
                yield Event("BOOKMARK", b"", after)


async def converted(kind: Kind, events: AsyncGenerator[Event]) -> AsyncIterator[Event]:
    """Yield the events of a kind that is stored as another, with its objects as it shows them."""
    async with aclosing(events):
        async for event in events:
            octets = conversion.shown_octets(kind, event.object) if event.object else b""
            yield replace(event, object=octets)


def _changes(entries: Iterable[tuple[int, log.Entry]], selection: Selection) -> Iterator[Event]:
    """Yield the events as seen through a selection: entering it is ADDED, leaving it is DELETED."""
    for revision, entry in entries:
        type_, octets = entry.type, entry.object()
        if selection:
            before = entry.before is not None and selection.matches(decode(entry.before))
            now = type_ != "DELETED" and selection.matches(decode(octets))
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
