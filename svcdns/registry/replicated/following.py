"""Following etcd: the map of this replica is kept in line with what etcd has decided.

    a map of this registry        watched on from the revision that it stands at
    etcd has compacted what
    came after                    listed at one revision (`relisting`), watched on from there
    a new one                     the same, made from nothing (`listing_anew`)

What was watched waits for its commit while the one before is made, so that a commit takes what has come
meanwhile.  Once a second etcd is asked for the newest transaction of any replica: that shows an etcd that is
away, and a watch that has died without a word.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import TypeVar

import lmdb

from svcdns.etcd.client import Compacted, Etcd, NotYet, Unavailable
from svcdns.etcd.messages import Change, Found
from svcdns.store.writable import why_not

from ..commit import OnCommit
from ..stored_objects import OBJECT_RULES
from . import revisions
from .applying import Event, Map, Overlapping, Told, apply, has_objects
from .keys import Named, after
from .layout import Disagreement, refuse_another
from .listing import Progress, list_into
from .listing_anew import ListingAnew
from .outage import Outage
from .relisting import Relisting, Untakeable

logger = logging.getLogger(__name__)

MOST_EVENTS = 2000
"""Events after which a commit takes no more revisions, and the watch waits for it."""
LOOK_SECONDS = 1.0
"""Between two looks whether etcd is there."""
SILENT_SECONDS = 1.0
"""A watch that says nothing so long of what etcd has is begun again, the next time after twice as long."""
MOST_SILENT_SECONDS = 30.0
T = TypeVar("T")


class _Another(Exception):
    """etcd has another past than the map."""


class Gone(Exception):
    """etcd was restored from a backup, and has not come to a revision any more that it had."""


class Follower:
    """Keeps one map in line; belongs to one event loop."""

    def __init__(self, of: Map, etcd: Etcd, on_commit: OnCommit, outage: Outage, progress: Progress) -> None:
        """Nothing is followed yet; `progress` is told how far a list is."""
        self.map = of
        self.position = 0
        """The revision of etcd that the map stands at."""
        self.current_at = 0.0
        """When, by the monotonic clock, the map was last known to show all that etcd had; 0: not yet."""
        self.disk_trouble = ""
        """Why the map can't be written, "" where it can."""
        self.own: frozenset[bytes] = frozenset()
        """The keys of this replica: of its own transactions it is noted what is to be said."""
        self.told: Callable[[dict[bytes, Told]], None] = lambda _: None
        """Given that, by the transactions' ids, before the map counts as having come to them."""
        self.precedence: Callable[[Change], None] = lambda _: None
        """Given what becomes of the key `precedence`, at once: the map has nothing of it."""
        self._etcd, self._on_commit, self.outage, self._progress = etcd, on_commit, outage, progress
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="map")
        self._turn = asyncio.Lock()
        self._events: list[Event] = []
        self._came_to = 0
        """The revision of etcd up to which a watch has brought what changed."""
        self._came = asyncio.Event()
        self._room = asyncio.Event()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()
        self._watching: asyncio.Future[None] | None = None
        """The watch that is open, or was."""

    async def on_map(self, work: Callable[[], T]) -> T:
        """Run something in the one thread that writes the map, when its turn has come."""
        async with self._turn:
            return await self._in_thread(work)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def reached(self, revision: int) -> None:
        """Return when the map has come to a revision of etcd.  Raises Gone."""
        if self.position < revision:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (revision, next(self._numbers), future))
            try:
                await future
            finally:
                if self.position < revision:  # nobody waits any more: the revision may never come
                    self._waiting = [one for one in self._waiting if not one[2].done()]
                    heapq.heapify(self._waiting)

    def is_current(self, at: float) -> None:
        """Note that the map shows all that etcd had at some time, by the monotonic clock."""
        self.current_at = max(self.current_at, at)

    async def begin(self) -> None:
        """Take up a map that was followed before; list where it was not.

        Raises Disagreement where the store is a registry of its own, and as etcd.client does.
        """
        position = self.map.position()
        if position is None and has_objects(self.map.store):
            raise Disagreement(
                f"{self.map.store.env.path()} holds a registry of its own, which is not taken into etcd: "
                "move it (svcdns migrate --to etcd), and name another data folder"
            )
        same = position is not None and position.registry == self.map.registry
        if position is None or not same or position.rules != OBJECT_RULES or await self._is_another():
            await self._relist(from_nothing=True)
        else:
            self.position = position.revision

    def watch(self) -> None:
        """Open the watch already; what comes by it is applied once this runs.

        One that is opened after anything was written behind where it begins, as this replica's key below
        `live/`, is told what comes only when etcd brings such watches up to date: once in 100 ms.
        """
        self._watching = asyncio.ensure_future(self._watch())

    def end_watch(self) -> None:
        """End the watch that is open; while this runs it is begun again."""
        if self._watching is not None:
            self._watching.cancel()

    async def _is_another(self) -> bool:
        """Return whether etcd has another past than the map, as it was restored from a backup."""
        position = self.map.position()
        if position is None:
            return False
        try:
            found = await self.replicas(position.revision)
        except NotYet:
            return True
        except Compacted:
            return False  # all is listed then
        return last_of(found) != position.transaction

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for work in (self._watch_on(), self._apply(), self._look()):
                    group.create_task(work)
        except Exception:
            # Without this every write would wait for ever in a process that looks well.
            logger.critical("following etcd failed; this process ends, to be started again", exc_info=True)
            os._exit(os.EX_SOFTWARE)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def _watch_on(self) -> None:
        """Watch, for ever, and see to what a watch ends by."""
        while True:
            began = time.monotonic()
            watching = self._watching = self._watching or asyncio.ensure_future(self._watch())
            try:
                await asyncio.wait([watching])
            finally:
                watching.cancel()
                self._watching = None
            if watching.cancelled():
                continue
            match watching.exception():
                case Compacted():
                    await self._applied()
                    await self._list_until_done(from_nothing=False)
                case _Another():
                    logger.warning("etcd has another past than before: all is listed anew")
                    await self._list_until_done(from_nothing=True)
                case Unavailable() as away:
                    if time.monotonic() - began < LOOK_SECONDS:  # another member could not go on with it
                        self.outage.begin(str(away))
                        await asyncio.sleep(LOOK_SECONDS)
                case None:
                    pass
                case bug:
                    raise bug

    async def _watch(self) -> None:
        """Take what etcd tells from where the map stands."""
        keys = self.map.keys
        await self._applied()
        if await self._is_another():
            raise _Another
        async for changes in self._etcd.watch(keys.objects, after(keys.replicas), self.position + 1):
            for change in changes.events:
                if change.kv.key == keys.precedence:
                    self.precedence(change)
                else:
                    self._events.append(_event(change))
            self._came_to = changes.revision
            self._came.set()
            if len(self._events) > MOST_EVENTS:
                self._room.clear()
                await self._room.wait()

    async def _applied(self) -> None:
        """Wait until all that was watched is applied."""
        while self._events:
            self._room.clear()
            await self._room.wait()

    async def _apply(self) -> None:
        """Apply what has come, for ever."""
        while True:
            await self._came.wait()
            self._came.clear()
            while events := self._next_events():
                await self._apply_some(events)
            self._room.set()

    def _next_events(self) -> list[Event]:
        """Return whole revisions of what waits, and no more than enough of them."""
        end = min(len(self._events), MOST_EVENTS)
        while 0 < end < len(self._events) and self._events[end].revision == self._events[end - 1].revision:
            end += 1
        return self._events[:end]

    async def _apply_some(self, waiting: list[Event]) -> None:
        began = time.monotonic()
        events = [event for event in waiting if event.revision > self.position]  # others have been listed
        try:
            applied = await self.on_map(partial(apply, self.map, events, self.own)) if events else None
        except Overlapping:
            self._events.clear()
            await self._list_until_done(from_nothing=True)
            return
        except lmdb.Error as failure:
            await self._not_written(failure)
            return
        self.disk_trouble = ""
        del self._events[: len(waiting)]
        if applied is not None:
            reached = revisions.last_of(applied.position)
            self._on_commit(time.monotonic() - began, applied.logged, reached)
            self.told(applied.own)
            self._come_to(applied.position)

    def _come_to(self, position: int) -> None:
        self.position = position
        while self._waiting and self._waiting[0][0] <= position:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                future.set_result(None)

    async def _not_written(self, failure: lmdb.Error) -> None:
        """Wait a moment where the disk takes nothing: what is there goes on to answer.  Raises others."""
        trouble = why_not(failure, Path(self.map.store.env.path()))
        if not trouble:
            raise failure
        if trouble != self.disk_trouble:
            logger.error("the map can't be written: %s; DNS goes on from what it was", trouble)
        self.disk_trouble = trouble
        await asyncio.sleep(LOOK_SECONDS)

    async def _list_until_done(self, *, from_nothing: bool) -> None:
        while True:
            try:
                await self._relist(from_nothing=from_nothing)
                return
            except Unavailable as away:
                self.outage.begin(str(away))
                await asyncio.sleep(LOOK_SECONDS)
            except lmdb.Error as failure:
                await self._not_written(failure)

    async def _relist(self, *, from_nothing: bool) -> None:
        """Bring the map to what a list says.  Raises Unavailable, lmdb.Error."""
        began = time.monotonic()
        left_out: set[Named] = set()
        while True:
            await refuse_another(self._etcd, self.map.keys, self.map.registry)
            replicas = await self.replicas()
            of = (self.map, revision := replicas.revision, last_of(replicas), left_out)
            make = partial(ListingAnew if from_nothing else Relisting, *of)
            try:
                await self._take_list(make, revision)
                break
            except (Compacted, NotYet):  # since the revision was asked for; NotYet: restored from a backup
                continue
            except Overlapping:
                from_nothing = True
            except Untakeable as found:
                left_out.add(found.named)
        seconds = time.monotonic() - began
        logger.info("the registry was listed from etcd at revision %d in %.1f s", revision, seconds)
        self.disk_trouble = ""
        self._on_commit(seconds, [], None)
        self._come_to(revision)

    async def _take_list(self, make: Callable[[], Relisting | ListingAnew], revision: int) -> None:
        async with self._turn:
            relisting = await self._in_thread(make)
            try:
                of = (self._etcd, self.map.keys, revision)
                await list_into(relisting, *of, self._in_thread, self._progress)
                await self._in_thread(relisting.finish)
            except BaseException:
                await asyncio.shield(self._in_thread(relisting.abort))
                raise
            finally:
                self._progress.end()

    async def _look(self) -> None:
        """See, for ever, whether etcd is there, and whether the watch comes to what it has had before."""
        goal: int | None = None
        came, silent, patience = 0, 0.0, SILENT_SECONDS
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            looked_at = time.monotonic()
            waiting = [(revision, future) for revision, _, future in self._waiting]
            try:
                found = await self.replicas()
                newest = newest_of(found)
                takes_writes = not self.outage or not await self._etcd.has_no_room()
            except Unavailable as away:
                self.outage.begin(str(away))
                goal = None
                continue
            for revision, future in waiting:
                if revision > found.revision and not future.done():
                    future.set_exception(Gone())
            if self.position >= newest:
                self.is_current(looked_at)
            if takes_writes and self.position >= (newest if goal is None else goal):
                self.outage.end()
            if self._came_to > came or goal is None or self.position >= goal:
                silent, patience = 0.0, SILENT_SECONDS
            elif not self._events:  # what came is applied, and what was there a look ago has not come
                silent += LOOK_SECONDS
            if silent >= patience:
                silent, patience = 0.0, min(2 * patience, MOST_SILENT_SECONDS)
                logger.warning("the watch of etcd shows nothing new: it is begun again")
                self.end_watch()
            goal, came = newest, self._came_to

    async def replicas(self, revision: int = 0) -> Found:
        """Return what the replicas have written last, as of a revision.  Raises as etcd.client does."""
        keys = self.map.keys
        return await self._etcd.range(keys.replicas, after(keys.replicas), revision=revision)


def last_of(found: Found) -> tuple[int, bytes]:
    """Return the revision and value of the newest of some keys, (0, b"") of none."""
    return max(((kv.mod_revision, kv.value) for kv in found.kvs), default=(0, b""))


def newest_of(found: Found) -> int:
    """Return the revision of the newest of some keys, 0 of none."""
    return max((kv.mod_revision for kv in found.kvs), default=0)


def _event(change: Change) -> Event:
    return Event(change.mod_revision, change.kv.key, change.kv.value if change.type == "PUT" else None)
