"""What a deletion leaves for later: the end of a Pod's grace period, emptying a namespace, dependents.

Each step is a write of its own. A restart goes on with what it finds marked, and whoever can't write for a
while, as etcd is away or the disk is full, when that is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import NAMESPACE, POD, Kind
from svcdns.store import log
from svcdns.store.environment import Store

from . import cascades, deletion, reading, removal
from .own_work import IsOwn
from .requests import DeleteOptions
from .transaction import Object, WriteTransaction, decode

logger = logging.getLogger(__name__)

T = TypeVar("T")
Write = Callable[[Callable[[WriteTransaction], Any]], Awaitable[Any]]
"""Runs something as a write of its own; see Committer.write."""


_TAKE_OVER_SECONDS = 3.0
_LATER = frozenset({503, 504, 507})
"""Refusals of a write that another try may not meet."""
_CASCADE = "cascade"
"""What the work of seeing to an owner's dependents is divided by, beside the owner's uid."""
_MARK = b'"deletionTimestamp"'


class _Metadata(msgspec.Struct):
    deleted: str = msgspec.field(default="", name="deletionTimestamp")


class _Marked(msgspec.Struct):
    """As much of an object as says whether it is being deleted."""

    metadata: _Metadata


_read_marked = msgspec.json.Decoder(_Marked).decode


class _Timer(NamedTuple):
    """When which Pod goes: it runs by the loop's clock, which nobody sets."""

    uid: str
    ends: str
    """deletionTimestamp, by the wall clock as it was."""
    handle: asyncio.TimerHandle


class UnfinishedDeletions:
    """Deletions that go on after they were answered; belongs to one event loop."""

    def __init__(self, store: Store, write: Write, is_own: IsOwn = lambda *work: True) -> None:
        """Nothing goes on yet; `is_own` says whether the work of an object is this server's."""
        self._is_own = is_own
        self._store = store
        self._write = write
        self._timers: dict[tuple[str, str], _Timer] = {}
        self._going: set[str] = set()
        """Namespaces that are being deleted, and were followed for that."""
        self._cascades: set[str] = set()
        """Owners, by their uids, whose dependents are being seen to here, or left to another replica."""
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """End everything that runs."""
        for timer in self._timers.values():
            timer.handle.cancel()
        for task in self._tasks:
            task.cancel()

    def resume(self) -> None:
        """Go on with the deletions that a restart interrupted.

        Each row is read, so that one which is not what was written shows here.  Raises damage.ERRORS.
        """
        begun: list[tuple[Kind, Object]] = []
        with self._store.read() as txn:
            for kind in (POD, NAMESPACE):
                for octets in reading.all_octets(txn, self._store, kind):
                    if _read_marked(octets).metadata.deleted:  # few are; the others needn't be decoded
                        begun.append((kind, decode(octets)))
        for kind, found in begun:
            self.follow(kind, found)
        self._follow_cascades()

    def follow(self, kind: Kind, obj: Object) -> None:
        """Start what the deletion of an object leaves for later, if it leaves anything."""
        metadata = obj["metadata"]
        if not metadata.get("deletionTimestamp"):
            return
        if kind is POD:
            self._schedule_removal(metadata)
        elif kind is NAMESPACE and self._is_there(NAMESPACE, "", metadata["name"]):
            self._run(self._empty(metadata["name"]))

    def follow_all(self, logged: Iterable[log.Change]) -> None:
        """Do so for all objects of which a commit says that they are being deleted, whoever deleted them.

        A namespace is left to who did for a moment: it takes many writes, which would be in each other's way.
        Dependents are left to the replica whose work they are.
        """
        for _, entry in logged:
            if entry.kind == POD.name and entry.type == "MODIFIED":
                if _MARK in (octets := entry.object()):
                    self.follow(POD, decode(octets))
            elif entry.kind == NAMESPACE.name:
                name = removal.name_of(octets := entry.object())[1]
                if entry.type == "DELETED":
                    self._going.discard(name)
                elif _MARK in octets and name not in self._going:
                    self._going.add(name)
                    self._run(self._empty(name, after=_TAKE_OVER_SECONDS))
        self._follow_cascades()

    def _follow_cascades(self) -> None:
        """See to the dependents of each owner of which it is noted that there are some, or have been."""
        with self._store.read() as txn:
            for uid in cascades.all_uids(txn, self._store.tables):
                if uid not in self._cascades:
                    self._cascades.add(uid)
                    self._run(self._see_to_dependents(uid))

    def _is_there(self, kind: Kind, namespace: str, name: str) -> bool:
        try:
            return bool(reading.get(self._store, kind, namespace, name))
        except StatusError:
            return False

    def _schedule_removal(self, metadata: Object) -> None:
        """Remove a terminating Pod when its grace period is over; the same Pod only, known by its uid.

        What runs already goes on: the wall clock may have been set since.
        """
        uid, ends = metadata["uid"], metadata["deletionTimestamp"]
        key = (metadata["namespace"], metadata["name"])
        if (before := self._timers.get(key)) is not None:
            if (before.uid, before.ends) == (uid, ends):
                return
            before.handle.cancel()
        delay = max((datetime.fromisoformat(ends) - datetime.now(UTC)).total_seconds(), 0.0)
        delay = min(delay, float(metadata.get("deletionGracePeriodSeconds") or 0))  # a clock set back
        loop = asyncio.get_running_loop()
        handle = loop.call_later(delay, lambda: self._run(self._remove_pod(key, uid)))
        self._timers[key] = _Timer(uid, ends, handle)

    async def _remove_pod(self, key: tuple[str, str], uid: str) -> None:
        self._timers.pop(key, None)
        while not self._is_own(POD.name, *key):
            await asyncio.sleep(_TAKE_OVER_SECONDS)
            if not self._is_there(POD, *key):
                return
        await self._written(lambda w: deletion.delete(w, POD, *key, DeleteOptions(uid=uid)))

    async def _see_to_dependents(self, uid: str) -> None:
        """Go on with a cascade until it has ended, whoever sees to it."""
        try:
            after = b""
            while self._goes_on(uid):
                if self._is_own(_CASCADE, "", uid):
                    rest = await self._written(partial(removal.see_to_some, uid=uid, after=after))
                    after = rest or b""
                else:
                    after = b""
                    await asyncio.sleep(_TAKE_OVER_SECONDS)
        except StatusError:
            await asyncio.sleep(_TAKE_OVER_SECONDS)  # the next commit has it tried again
            raise
        finally:
            self._cascades.discard(uid)

    def _goes_on(self, uid: str) -> bool:
        with self._store.read() as txn:
            return cascades.find(txn, self._store.tables, uid) is not None

    async def _written(self, action: Callable[[WriteTransaction], T]) -> T:
        """Return what a write comes to, however long nothing can be written.  Raises StatusError."""
        while True:
            try:
                result: T = await self._write(action)
                return result
            except StatusError as refused:
                if refused.code not in _LATER:
                    raise
                logger.info("work after a deletion waits: %s", refused)
                await asyncio.sleep(_TAKE_OVER_SECONDS)

    async def _empty(self, namespace: str, after: float = 0.0) -> None:
        """Empty a terminating namespace step by step, then remove it; Pods in their grace period end it.

        With `after`, another replica does, and this one only if the work is its own and is not done by then.
        """
        await asyncio.sleep(after)
        while after and not self._is_own(NAMESPACE.name, "", namespace):
            await asyncio.sleep(after)
            if not self._is_there(NAMESPACE, "", namespace):
                return
        place: deletion.Place | None = deletion.START
        while place is not None:
            place = await self._written(partial(removal.empty_some, namespace=namespace, after=place))
        for octets in reading.read_all(self._store, POD, namespace).items:
            if _read_marked(octets).metadata.deleted:
                self.follow(POD, decode(octets))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        overtaken = isinstance(error, StatusError) and error.code in (404, 409)
        if error is not None and not overtaken:
            logger.error("work after a deletion failed: %s", error)
