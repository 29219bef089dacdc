"""Watch streams: watchers are woken by commits and read the event log, so order is commit order.

A watcher holds nothing but its position (a revision); whoever falls further behind than the log
reaches back gets 410 Expired.  A stream can be taken up again after a restart for the same reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from svcdns.objects.errors import StatusError, bad_request
from svcdns.objects.kinds import Kind
from svcdns.store import log
from svcdns.store.environment import Store

from . import reading
from .options import Event, Selection
from .writing import decode, encode, read_revision

BATCH = 256
BOOKMARK_SECONDS = 60.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Waker:
    """Tells watchers that a commit has happened."""

    def __init__(self) -> None:
        """Belongs to one event loop."""
        self._next: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Wake all who wait; to be called in the event loop."""
        if self._next is not None and not self._next.done():
            self._next.set_result(None)
        self._next = None

    def future(self) -> asyncio.Future[None]:
        """Return what the next commit completes; take it before looking at the log."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return self._next


async def watch(
    store: Store,
    waker: Waker,
    kind: Kind,
    namespace: str,
    selection: Selection,
    after: int | None,
    *,
    bookmarks: bool = False,
    initial_events: bool = False,
) -> AsyncIterator[Event]:
    """Yield what changes in a collection; `namespace` "" is all.

    `after` None begins with an ADDED for each object there is; with `initial_events` their end is
    marked by a bookmark with the annotation of Kubernetes' WatchList.  Raises StatusError 410 when the
    log no longer reaches back to `after`, 400 for a revision that has not been reached yet.
    """
    if after is None or initial_events:
        page = reading.page(store, kind, namespace, selection)
        for octets in page.items:
            yield Event("ADDED", octets, page.revision)
        after = page.revision
        if initial_events:
            yield _bookmark(kind, after, {INITIAL_EVENTS_END: "true"})
    else:
        _check_position(store, after)
    while True:
        woken = waker.future()
        entries = log.after(store, after, BATCH)
        if entries and entries[0][0] != after + 1:
            raise _expired(after)
        for revision, entry in entries:
            after = revision
            if entry.kind == kind.name and (not namespace or entry.namespace == namespace):
                event = _transition(entry, selection, revision)
                if event is not None:
                    yield event
        if len(entries) == BATCH:
            continue
        if not woken.done():
            done, _ = await asyncio.wait([woken], timeout=BOOKMARK_SECONDS if bookmarks else None)
            if not done:
                yield _bookmark(kind, after, {})


def _transition(entry: log.Entry, selection: Selection, revision: int) -> Event | None:
    """Return the event as seen through a selection: entering it is ADDED, leaving it is DELETED."""
    octets = entry.object()
    if not selection:
        return Event(entry.type, octets, revision)
    before = entry.before is not None and selection.matches(decode(entry.before))
    now = entry.type != "DELETED" and selection.matches(decode(octets))
    if now:
        return Event("MODIFIED" if before else "ADDED", octets, revision)
    return Event("DELETED", octets, revision) if before else None


def _check_position(store: Store, after: int) -> None:
    with store.read() as txn:
        current = read_revision(txn, store.tables)
        oldest = log.oldest(txn, store.tables.log)
    if after > current:
        raise bad_request(f"resourceVersion {after} has not been reached yet; the newest is {current}")
    if after < current and (oldest is None or after < oldest - 1):
        raise _expired(after)


def _expired(after: int) -> StatusError:
    return StatusError(410, "Expired", f"too old resource version: {after}")


def _bookmark(kind: Kind, revision: int, annotations: dict[str, str]) -> Event:
    metadata: dict[str, object] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    body = {"kind": kind.name, "apiVersion": kind.api_version, "metadata": metadata}
    return Event("BOOKMARK", encode(body), revision)
