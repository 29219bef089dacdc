"""Consistent reads: what was acknowledged before a read began, by whichever replica, is in it.

    a read ─▶ etcd: which transactions of replicas are newer than the map? ─▶ wait until the map has the last
           ─▶ read the map

* A write is acknowledged when its transaction is carried out, and each transaction puts a key below
  `replicas/`.  So a linearizable range of these keys says up to where the map has to come, whatever others
  write to the same etcd; nothing is written for it, and only keys newer than the map come back.  Progress
  notifications say no such thing: before etcd 3.4.25 they ran ahead of events.
* One question is under way at a time.  Who comes meanwhile shares the next one: the one that is under way may
  have been answered before what this reader was told of was acknowledged.
* Reads go on when etcd is away.  Nobody waits longer than SECONDS, nor at all while it is known that etcd
  can't be used, or that the map is late; then the reader is told how old what it gets may be.

https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from svcdns.etcd.client import Etcd, Rejected, Unavailable

from . import revisions
from .following import Follower, Gone, newest_of
from .keys import Keys, after
from .outage import Outage

SECONDS = 3.0
_LATE = "this replica has not heard from etcd in time"


class ConsistentReads:
    """What readers of one map wait by; belongs to one event loop."""

    def __init__(self, etcd: Etcd, keys: Keys, outage: Outage) -> None:
        """Nothing is known of the map before `begin`."""
        self._etcd, self._keys, self._outage = etcd, keys, outage
        self._follower: Follower | None = None
        self._sent: asyncio.Future[int] | None = None
        """The last question that was sent."""
        self._next: asyncio.Future[int] | None = None
        """One that waits for its turn: it may be shared by all who come before it is sent."""
        self._missed = 0
        """A revision that the map did not come to in time: until it has, nobody waits again."""

    def begin(self, follower: Follower) -> None:
        """Say who keeps the map in line."""
        self._follower = follower

    async def newest(self) -> str:
        """Wait until the map shows all that was acknowledged before this was called.

        Returns "" then, and else, in words, how old the map may be, and why.
        """
        follower, trouble = self._follower, self._trouble()
        if follower is None or trouble:
            return self._stale(trouble or "etcd has not been reached yet")
        began, goal = time.monotonic(), 0
        try:
            async with asyncio.timeout(SECONDS):
                goal = await asyncio.shield(self._question(follower))
                if follower.position < self._missed <= goal:
                    return self._stale(self._trouble() or _LATE)
                await follower.reached(goal)
        except Gone:
            return self._stale(self._trouble() or _LATE)
        except TimeoutError:
            self._missed = goal or self._missed  # 0: it was not even answered what there is
            return self._stale(self._trouble() or _LATE)
        except (Unavailable, Rejected) as away:
            self._outage.begin(str(away))
            return self._stale(self._outage.text)
        follower.is_current(began)
        return ""

    async def shows(self, resource_version: int) -> None:
        """Wait until the map shows a resourceVersion, but no longer than SECONDS."""
        follower, revision = self._follower, revisions.revision_of(resource_version)
        if follower is None or revision <= follower.position or self._trouble():
            return
        try:
            async with asyncio.timeout(SECONDS):
                while follower.position < revision:
                    with suppress(Gone):  # a client may name one that etcd has not come to yet
                        await follower.reached(revision)
        except TimeoutError:
            return

    def _trouble(self) -> str:
        """Return why it is known already that the map may be old, "" where it is not."""
        disk = self._follower.disk_trouble if self._follower is not None else ""
        return self._outage.text or disk

    def _stale(self, why: str) -> str:
        current_at = self._follower.current_at if self._follower is not None else 0.0
        if not current_at:
            return f"this may be older than what other replicas show: {why}"
        age = max(time.monotonic() - current_at, 0.1)
        return f"this may be up to {age:.1f} s old: {why}"

    def _question(self, follower: Follower) -> asyncio.Future[int]:
        """Return a question that has not been sent yet."""
        if self._next is None:
            self._next = asyncio.ensure_future(self._ask(follower, self._sent))
            self._next.add_done_callback(_seen)
        return self._next

    async def _ask(self, follower: Follower, before: asyncio.Future[int] | None) -> int:
        """Return the revision of the newest transaction; 0 where the map has come to it.

        Raises as etcd.client does.
        """
        if before is not None:
            await asyncio.wait([before])
        self._sent, self._next = self._next, None  # who comes from here on needs another one
        replicas, newer_than = self._keys.replicas, follower.position
        found = await self._etcd.range(replicas, after(replicas), keys_only=True, newer_than=newer_than)
        return newest_of(found)


def _seen(question: asyncio.Future[int]) -> None:
    """Take what came of a question for which nobody waits any more."""
    if not question.cancelled():
        question.exception()
