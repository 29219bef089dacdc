"""Heartbeats of Pods where replicas share a registry: each Pod is awaited by one of them.

* A heartbeat counts at whichever replica it reaches; that of another's Pod is passed on, within a second or
  two (SLACK_SECONDS), which each Pod is given beside its period.
* Who hears of a Pod that it shows as late makes it ready again, whoever wrote that.
* Where work changes hands, and after etcd was away, each Pod has a full period, as after a start.
* Without etcd heartbeats are refused (503): nobody else would hear of them, and no Pod becomes late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence

from svcdns.cluster.readiness import HEARTBEAT, conditions_of
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import LEASE, POD
from svcdns.store.environment import Store
from svcdns.store.log import Change

from ..heartbeats import Entry, Heartbeats, Key, Refused, State
from ..removal import name_of
from ..transaction import decode
from ..unfinished_deletions import Write
from .division import Division
from .outage import Outage

logger = logging.getLogger(__name__)

SLACK_SECONDS = 2.0


class SharedHeartbeats(Heartbeats):
    """Knows of all Pods, and waits for its own; belongs to one event loop."""

    def __init__(self, store: Store, write: Write, division: Division, outage: Outage) -> None:
        """`write` is that of the committer."""
        super().__init__(store, write)
        self._division = division
        self._tasks: set[asyncio.Task[None]] = set()
        division.tell(self._divide)
        division.hear(self._heard_elsewhere)
        outage.tell(self._give_all_a_period)

    def stop(self) -> None:
        """End everything that runs."""
        super().stop()
        for task in self._tasks:
            task.cancel()

    async def beat(self, namespace: str, name: str) -> None:
        """Count a heartbeat, here or where it is awaited.  Raises as Heartbeats does, StatusError 503."""
        self._division.pass_on(())
        await super().beat(namespace, name)
        self._pass_on([(namespace, name)])

    async def beat_each(self, keys: Sequence[Key]) -> list[Refused]:
        """Count many heartbeats; return those that did not count.  Raises as `beat` does."""
        self._division.pass_on(())
        refused = await super().beat_each(keys)
        odd = {(one.namespace, one.name) for one in refused}
        self._pass_on([key for key in keys if key not in odd])
        return refused

    async def renewed(self, octets: bytes) -> None:
        """Count a Lease that was just written, in JSON, as a heartbeat of the Pod of its name."""
        await super().renewed(octets)
        entry = self._entries.get(name_of(octets))
        if entry is not None and entry.turning is not None:  # by what `applied` has begun
            await asyncio.shield(entry.turning)

    def applied(self, logged: Iterable[Change]) -> None:
        """Note what etcd has decided, whoever wrote it."""
        for _, change in logged:
            if change.kind == POD.name:
                octets = change.object()
                if change.type == "DELETED":
                    self._entries.pop(name_of(octets), None)
                else:
                    self._take(octets)
            elif change.kind == LEASE.name and change.type != "DELETED" and self._entries:
                octets = change.object()
                if self._is_own(name_of(octets)):
                    self._begin(self.renewed(octets))

    def _take(self, octets: bytes) -> None:
        """Note a Pod as it stands, which another replica may have written as late, or not late any more."""
        entry = self.follow(octets)
        if entry is None:
            return
        stands = (conditions_of(decode(octets)).get(HEARTBEAT) or {}).get("status")
        if stands == "False" and entry.turning is None and entry.state is not State.TO_EXPIRE:
            entry.state = State.LATE
            self._queue(entry)
        elif stands == "True" and entry.state is State.LATE:
            entry.state = State.IN_TIME
            self._heard(entry, entry.period)  # by whoever wrote that

    def _heard(self, entry: Entry, lasts: float) -> None:
        super()._heard(entry, lasts + SLACK_SECONDS)

    def _queue(self, entry: Entry, at: float | None = None) -> None:
        """See Heartbeats: only for this replica's own Pods."""
        if self._is_own(entry.key):
            super()._queue(entry, at)
        else:
            entry.queued = 0.0

    def _is_own(self, key: Key) -> bool:
        return self._division.is_own(POD.name, *key)

    def _pass_on(self, keys: Sequence[Key]) -> None:
        self._division.pass_on([key for key in keys if not self._is_own(key)])

    def _divide(self) -> None:
        """Give those that have come to this replica a full period, and forget when others' are due."""
        for entry in self._entries.values():
            if not self._is_own(entry.key):
                entry.queued = 0.0
                if entry.state is State.TO_BE_LATE:
                    entry.state = State.IN_TIME
            elif not entry.queued:
                self._heard(entry, entry.period)

    def _give_all_a_period(self) -> None:
        for entry in self._entries.values():
            if entry.state is State.TO_BE_LATE:
                entry.state = State.IN_TIME
            self._heard(entry, entry.period)

    def _heard_elsewhere(self, keys: list[Key]) -> None:
        for key in keys:
            if (entry := self._entries.get(key)) is not None and self._is_own(key):
                self._heard(entry, entry.period)
                if entry.state is not State.IN_TIME:
                    self._begin(self._resumed(entry))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        """Run something that nobody waits for."""

        async def run() -> None:
            try:
                await work
            except StatusError as failed:
                logger.warning("a heartbeat could not be written: %s", failed.message)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
