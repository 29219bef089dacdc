"""Precedence: a transaction that other replicas have overtaken too often goes before theirs.

One that was decided on more than what it touches (a deletion) is carried out only if no replica has had a
transaction since.  Where others write all the time, some always has.  So who was overtaken puts the key
`precedence`; the others see that by their watch, begin nothing until the key is deleted, and what they have
under way ends.  It keeps nothing from being carried out and nothing depends on it: who waits does so for
HOLD_SECONDS at most, whatever became of the one that put it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress

from svcdns.etcd.client import Etcd, Rejected, Unavailable, Unknown
from svcdns.etcd.messages import Change, Compare, Delete, Get, Put

HOLD_SECONDS = 2.0
"""So long others wait for one that has precedence."""


class Precedence:
    """Who has it, as far as this replica has seen; belongs to one event loop."""

    def __init__(self, etcd: Etcd, key: bytes, changed: Callable[[], None]) -> None:
        """`changed` is called when it may be that there is nobody to wait for any more."""
        self._etcd, self.key, self._changed = etcd, key, changed
        self._own, self._claimed = secrets.token_hex(8).encode(), False
        self._put_at = 0
        """The revision at which this replica has put the key, 0 where that is not known."""
        self._revision = 0
        """The revision at which another replica has put the key, 0 where none has."""
        self._until = 0.0
        """When, by the monotonic clock, that has lasted long enough."""

    @property
    def is_another_s(self) -> bool:
        """Whether the transactions of this replica have to wait."""
        return bool(self._revision) and time.monotonic() < self._until

    def see(self, change: Change) -> None:
        """Take what the watch says of the key."""
        if change.type != "PUT":
            self._revision = 0
            self._changed()
        elif change.kv.value != self._own:
            self._see_another(change.mod_revision)

    def _see_another(self, revision: int) -> None:
        if revision > self._revision:
            self._revision, self._until = revision, time.monotonic() + HOLD_SECONDS
            asyncio.get_running_loop().call_later(HOLD_SECONDS, self._changed)

    async def claim(self) -> None:
        """Try to have it; another replica may, and one that has had it for too long has lost it."""
        if self._claimed or self.is_another_s:
            return
        free = Compare.unchanged(self.key, self._revision) if self._revision else Compare.absent(self.key)
        self._claimed, self._put_at = True, 0
        try:
            outcome = await self._etcd.transaction([free], [Put(self.key, self._own)], [Get(self.key)])
        except (Unavailable, Unknown, Rejected):
            return  # it may have been put: who gives it up finds that out
        self._revision = 0
        if outcome.succeeded:
            self._put_at = outcome.revision
            return
        self._claimed = False
        for kv in outcome.found[0].kvs:
            self._see_another(kv.mod_revision)

    async def give_up(self) -> None:
        """Let the others go on, where this replica had it."""
        if not self._claimed:
            return
        self._claimed = False
        with suppress(Unavailable, Unknown, Rejected):
            if not self._put_at:
                found = (await self._etcd.range(self.key)).kvs
                own = (kv.mod_revision for kv in found if kv.value == self._own)
                self._put_at = next(own, 0)
            if self._put_at:
                await self._etcd.transaction([Compare.unchanged(self.key, self._put_at)], [Delete(self.key)])
