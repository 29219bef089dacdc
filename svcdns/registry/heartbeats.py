"""Heartbeats of Pods: who is late, who comes back, who has been silent for so long that it is deleted.

A Pod promises heartbeats by an annotation (objects/heartbeat_rules).  When it was heard of last is kept in
memory, on the monotonic clock, and never stored: there is a write only when a Pod is late, heard of again or
expired.  So:

* after a start each Pod has one full period before it counts as late, and the wall clock has no say;
* while this process stood still it heard nobody: what it was late by is given to all;
* a Pod is registered or its Lease renewed: that counts as a heartbeat, of a Lease for as long as it says;
* a heartbeat is answered when the Pod is as ready as it makes it.

Deadlines are looked at in the order of a heap.  A heartbeat only moves the Pod's own deadline; the heap
learns of it when the earlier one comes up.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import msgspec

from svcdns.cluster.readiness import HEARTBEAT, conditions_of
from svcdns.objects.errors import StatusError, not_found
from svcdns.objects.heartbeat_rules import HEARTBEAT_ANNOTATION, heartbeat_of
from svcdns.objects.kinds import LEASE, POD
from svcdns.store.environment import Store
from svcdns.store.log import Change

from . import heartbeat_writes, reading
from .removal import name_of
from .transaction import Object, decode, object_key
from .unfinished_deletions import Write

Key = tuple[str, str]
"""(namespace, name)"""

_MARK = HEARTBEAT_ANNOTATION.encode()
_AT_ONCE = 64
"""Pods that are written as late, or deleted, before others' writes get their turn."""
_STALLED_SECONDS = 0.25
"""A look at the deadlines that comes later than this was held up, and so were heartbeats."""
_CATCH_UP_SECONDS = 1.0
"""For heartbeats that wait in sockets after that."""
_AGAIN_SECONDS = 1.0
"""Until a write that was refused is tried again."""
_LONGEST_LEASE = 24 * 3600.0
_FEW = 1000
"""Entries among which nobody looks for those of Pods that are gone."""


class State(Enum):
    """What is stored of a Pod, or about to be."""

    IN_TIME = 1
    TO_BE_LATE = 2
    """It waits to be written as late."""
    LATE = 3
    TO_EXPIRE = 4


@dataclass(slots=True, eq=False)
class Entry:
    """A Pod that promises heartbeats; times are those of `Heartbeats._now`, in seconds."""

    key: Key
    uid: str
    period: float
    expire_after: float | None
    last: float
    lasts: float
    """How long the last heartbeat counts: the period, or what a Lease says."""
    state: State
    renewed: str = ""
    """renewTime of the Lease, as it was seen last."""
    queued: float = 0.0
    """Where in the heap it is looked at; other places are old ones."""
    turning: asyncio.Future[None] | None = None
    """The write that makes it ready again, while it is under way."""

    def due(self) -> float | None:
        """When something happens to it if nothing is heard of it, None for never."""
        if self.state is State.IN_TIME:
            return self.last + self.lasts
        if self.state is State.LATE and self.expire_after is not None:
            return self.last + max(self.expire_after, self.lasts)
        return None


class Refused(msgspec.Struct, frozen=True):
    """A heartbeat of a list that did not count: 404 asks to register again, 409 there is no promise."""

    namespace: str
    name: str
    code: int
    message: str


class Heartbeats:
    """Knows when each Pod was heard of last; belongs to one event loop."""

    def __init__(self, store: Store, write: Write, clock: Callable[[], float] = time.monotonic) -> None:
        """`write` runs a write of its own (Committer.write); `clock` is in seconds, from anywhere."""
        self._store, self._write, self._clock = store, write, clock
        self._entries: dict[Key, Entry] = {}
        self._swept_at = _FEW
        self._heap: list[tuple[float, Key]] = []
        self._stalled = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._wakes = 0.0
        self._waiting: deque[Entry] = deque()
        self._task: asyncio.Task[None] | None = None

    def resume(self) -> None:
        """Give each stored Pod that promises heartbeats a full period, of its Lease where that is longer."""
        with self._store.read() as txn:
            for octets in reading.all_octets(txn, self._store, POD):
                if _MARK in octets and (entry := self.follow(octets)) is not None:
                    lease = txn.get(object_key(LEASE, *entry.key), db=self._store.tables.objects)
                    if lease is not None:
                        spec = decode(lease).get("spec") or {}
                        entry.renewed = spec.get("renewTime") or ""
                        entry.lasts = max(entry.lasts, _lease_seconds(spec) or 0.0)

    def applied(self, logged: Iterable[Change]) -> None:
        """Note what others have written (see replicated.shared_heartbeats); here there is nobody else."""

    def stop(self) -> None:
        """End everything that runs."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def follow(self, octets: bytes) -> Entry | None:
        """Note a Pod as it was just written, in JSON; return its entry if it promises heartbeats."""
        if _MARK not in octets:
            if self._entries:
                self._entries.pop(name_of(octets), None)
            return None
        pod = decode(octets)
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        promise, entry = heartbeat_of(pod), self._entries.get(key)
        if promise is None:
            self._entries.pop(key, None)
            return None
        if entry is not None and entry.uid == pod["metadata"]["uid"]:
            if (entry.period, entry.expire_after) != promise:
                entry.period, entry.expire_after = promise
                self._heard(entry, entry.period)
            return entry
        late = (conditions_of(pod).get(HEARTBEAT) or {}).get("status") == "False"
        state = State.LATE if late else State.IN_TIME
        entry = Entry(key, pod["metadata"]["uid"], *promise, 0.0, 0.0, state)
        self._entries[key] = entry
        self._heard(entry, entry.period)
        if len(self._entries) > self._swept_at:
            self._sweep()
        return entry

    async def beat(self, namespace: str, name: str) -> None:
        """Count a heartbeat.  Raises StatusError 404, 409 without the annotation, and as writes do."""
        with self._store.read() as txn:
            octets = txn.get(object_key(POD, namespace, name), db=self._store.tables.objects)
            entry = None if octets is None else self._entry((namespace, name), octets)
        if octets is None:
            raise not_found(POD.plural, name)
        if entry is None:
            raise StatusError(409, "Conflict", _no_promise(name), kind=POD.plural, name=name)
        self._heard(entry, entry.period)
        if entry.state is not State.IN_TIME:
            await self._resumed(entry)

    async def beat_each(self, keys: Sequence[Key]) -> list[Refused]:
        """Count many heartbeats; return those that did not count.  Raises StatusError as writes do."""
        refused: list[Refused] = []
        late: list[Entry] = []
        with self._store.read() as txn:
            for key in keys:
                octets = txn.get(object_key(POD, *key), db=self._store.tables.objects)
                entry = None if octets is None else self._entry(key, octets)
                if entry is not None:
                    self._heard(entry, entry.period)
                    if entry.state is not State.IN_TIME:
                        late.append(entry)
                elif octets is None:
                    refused.append(Refused(*key, 404, not_found(POD.plural, key[1]).message))
                else:
                    refused.append(Refused(*key, 409, _no_promise(key[1])))
        for start in range(0, len(late), _AT_ONCE):
            await asyncio.gather(*map(self._resumed, late[start : start + _AT_ONCE]))
        return refused

    async def renewed(self, octets: bytes) -> None:
        """Count a Lease that was just written, in JSON, as a heartbeat of the Pod of its name."""
        if not self._entries:
            return
        lease = decode(octets)
        entry = self._entries.get((lease["metadata"]["namespace"], lease["metadata"]["name"]))
        spec = lease.get("spec") or {}
        if entry is None or not spec.get("holderIdentity") or spec.get("renewTime", "") == entry.renewed:
            return
        entry.renewed = spec.get("renewTime", "")
        self._heard(entry, _lease_seconds(spec) or entry.period)
        if entry.state is not State.IN_TIME:
            await self._resumed(entry)

    def _sweep(self) -> None:
        """Forget Pods that are gone, whoever took them away; each time there are twice as many as then."""
        with self._store.read() as txn:
            table = self._store.tables.objects
            gone = [key for key in self._entries if txn.get(object_key(POD, *key), db=table) is None]
        for key in gone:
            del self._entries[key]
        self._swept_at = max(_FEW, 2 * len(self._entries))

    def _entry(self, key: Key, octets: bytes | memoryview) -> Entry | None:
        found = self._entries.get(key)
        return found if found is not None else self.follow(bytes(octets))

    def _now(self) -> float:
        """The clock without the time in which this process stood still."""
        return self._clock() - self._stalled

    def _heard(self, entry: Entry, lasts: float) -> None:
        entry.last, entry.lasts = self._now(), lasts
        if not entry.queued or entry.queued > entry.last + lasts:
            self._queue(entry)

    def _queue(self, entry: Entry, at: float | None = None) -> None:
        """Have an entry looked at when something is due, or at this time."""
        due = entry.due() if at is None else at
        entry.queued = due or 0.0
        if due is not None:
            heapq.heappush(self._heap, (due, entry.key))
            self._wake(due)

    def _wake(self, due: float) -> None:
        if self._timer is not None:
            if self._wakes <= due:
                return
            self._timer.cancel()
        self._wakes = due
        delay = max(due - self._now(), 0.0)
        self._timer = asyncio.get_running_loop().call_later(delay, self._look)

    def _look(self) -> None:
        """Find who is late by now."""
        self._timer = None
        held_up = self._now() - self._wakes
        if held_up > _STALLED_SECONDS:
            self._stalled += held_up + min(held_up, _CATCH_UP_SECONDS)
        now = self._now()
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is None or entry.queued != at:
                continue
            due = entry.due()
            if due is None or due > now:
                self._queue(entry)
                continue
            entry.queued = 0.0
            entry.state = State.TO_BE_LATE if entry.state is State.IN_TIME else State.TO_EXPIRE
            self._waiting.append(entry)
        if self._waiting and self._task is None:
            self._task = asyncio.ensure_future(self._write_waiting())
        if self._heap:
            self._wake(self._heap[0][0])

    async def _write_waiting(self) -> None:
        """Write who is late, and delete who has expired, some at a time, slowly where that is refused."""
        try:
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
                if not all(await asyncio.gather(*map(self._write_one, some))):
                    await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            self._task = None

    async def _write_one(self, entry: Entry) -> bool:
        """Write what an entry waits for; return whether it could be written."""
        if entry.state is State.TO_BE_LATE:
            entry.state, before, action = State.LATE, State.IN_TIME, heartbeat_writes.late
        elif entry.state is State.TO_EXPIRE:
            before, action = State.LATE, heartbeat_writes.expired
        else:
            return True  # it was heard of meanwhile
        try:
            is_there = await self._write(lambda write: action(write, entry.key, entry.uid))
        except StatusError:  # of which the committer has said why
            if entry.state in (State.LATE, State.TO_EXPIRE):
                entry.state = before
                self._queue(entry, self._now() + _AGAIN_SECONDS)
            return False
        if not is_there:
            if self._entries.get(entry.key) is entry:
                del self._entries[entry.key]
        elif entry.state is State.LATE and not entry.queued:
            self._queue(entry)
        return True

    async def _resumed(self, entry: Entry) -> None:
        """Make a Pod that has been heard of again as ready as it was."""
        if entry.state is State.TO_BE_LATE:  # not written yet
            entry.state = State.IN_TIME
            self._queue(entry)
            return
        if entry.turning is None:
            entry.turning = asyncio.ensure_future(self._write_in_time(entry))
        await asyncio.shield(entry.turning)

    async def _write_in_time(self, entry: Entry) -> None:
        entry.state = State.IN_TIME
        try:
            await self._write(lambda write: heartbeat_writes.in_time(write, entry.key, entry.uid))
        except StatusError:
            entry.state = State.LATE
            raise
        finally:
            entry.turning = None
            self._queue(entry)


def _no_promise(name: str) -> str:
    return f'pods "{name}" has no annotation {HEARTBEAT_ANNOTATION}: with it, heartbeats are waited for'


def _lease_seconds(spec: Object) -> float | None:
    seconds = spec.get("leaseDurationSeconds")
    return min(float(seconds), _LONGEST_LEASE) if seconds else None
