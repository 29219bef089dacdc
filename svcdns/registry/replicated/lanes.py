"""Lanes: transactions of one replica, in each lane one after the other, several lanes at once.

Each lane has a key of its own in etcd, which its transactions compare and put.  What became of one that got
no answer is never guessed: what asks for it compares that key too, and puts it.  Whichever comes first keeps
the other from being carried out.

The key tells what became of a transaction as long as nobody else puts it.  A replica of the same name may
have (see `naming`: one on a copy of the data folder, which has taken the name while this one was frozen).
What it has put says nothing of the transaction before, and then nobody does: that is what is answered.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from svcdns.etcd.client import Etcd, Full, Unavailable, Unknown
from svcdns.etcd.messages import Compare, Get, KeyValue, Outcome, Put

from .following import LOOK_SECONDS, newest_of
from .keys import Keys, after
from .outage import Outage
from .proposals import Proposal

logger = logging.getLogger(__name__)


class Decision(NamedTuple):
    """What came of a transaction."""

    is_carried_out: bool
    revision: int
    """Its own, or that of what it was overtaken by."""
    newest: int | None = None
    """The newest transaction of any replica that was there before it, None where that is not known."""


class Undecided(Exception):
    """Nothing tells any more whether a transaction was carried out."""


class Lane:
    """One lane; belongs to one event loop."""

    def __init__(self, etcd: Etcd, keys: Keys, key: bytes, outage: Outage) -> None:
        """`key` is its own in etcd."""
        self.key = key
        self._etcd, self._keys, self._outage = etcd, keys, outage
        self._revision = 0
        """The revision at which the key was last put, 0 where it was not."""

    async def begin(self) -> None:
        """See what stands under its key.  Raises as etcd.client does."""
        found = (await self._etcd.range(self.key)).kvs
        self._revision = found[0].mod_revision if found else 0

    async def decide(self, proposal: Proposal) -> Decision:
        """Have etcd decide on a proposal.

        Raises Unavailable where it was not carried out, nor will be; Undecided; Rejected.
        """
        replicas = (self._keys.replicas, after(self._keys.replicas))
        unless_overtaken = Compare.none_since(*replicas, proposal.position)
        if proposal.changes_nothing:
            try:
                outcome = await self._etcd.transaction([unless_overtaken], [], [Get(*replicas)])
            except Unknown as lost:  # it would have changed nothing
                raise Unavailable(str(lost)) from None
            newest = Decision(True, proposal.position, proposal.position)
            return newest if outcome.succeeded else self._overtaken(outcome)
        own, compares = self._own_compare(), list(proposal.compares)
        if proposal.decided_on_all:
            compares.append(unless_overtaken)
        try:
            outcome = await self._etcd.transaction(
                [own, *compares],
                [Get(*replicas), *proposal.operations, Put(self.key, proposal.id)],
                [Get(*replicas)],
            )
        except Full as full:
            return await self._look_up(proposal.id, own, full)
        except Unknown:
            return await self._find_out(proposal.id, own)
        if not outcome.succeeded:
            return self._overtaken(outcome)
        self._revision = outcome.revision
        return Decision(True, outcome.revision, newest_of(outcome.found[0]))

    def _own_compare(self) -> Compare:
        if self._revision:
            return Compare.unchanged(self.key, self._revision)
        return Compare.absent(self.key)

    def _overtaken(self, outcome: Outcome) -> Decision:
        """Return what a transaction that failed was overtaken by."""
        found = outcome.found[0]
        self._revision = max((kv.mod_revision for kv in found.kvs if kv.key == self.key), default=0)
        newest = newest_of(found)
        return Decision(False, newest, newest)

    async def _look_up(self, name: bytes, own: Compare, full: Full) -> Decision:
        """Return that what etcd has done with was carried out, if it was.  Raises Unavailable, Undecided."""
        try:
            found = (await self._etcd.range(self.key)).kvs
        except Unavailable:
            return await self._find_out(name, own)
        judged = self._judge(found, name, b"")
        if not judged.is_carried_out:
            raise Unavailable(str(full))
        return judged

    async def _find_out(self, name: bytes, own: Compare) -> Decision:
        """Return what came of a transaction that got no answer, as soon as etcd is there again.

        The key of this lane is put if nothing has put it since: if that succeeds, the transaction was not
        carried out, and it can't be any more.
        """
        question = secrets.token_hex(8).encode()
        while True:
            try:
                outcome = await self._etcd.transaction([own], [Put(self.key, question)], [Get(self.key)])
                break
            except (Unavailable, Unknown) as away:
                self._outage.begin(str(away))
                await asyncio.sleep(LOOK_SECONDS)
        if outcome.succeeded:
            self._revision = outcome.revision
            return Decision(False, outcome.revision)
        return self._judge(outcome.found[0].kvs, name, question)

    def _judge(self, found: Sequence[KeyValue], name: bytes, question: bytes) -> Decision:
        """Return what the key of this lane says of a transaction that can't be carried out any more.

        Since that was sent this lane has put nothing but it and the question.  Raises Undecided.
        """
        before, self._revision = self._revision, found[0].mod_revision if found else 0
        if before and not found:
            logger.error("this replica's key in etcd is gone: what became of a write is not known")
            raise Undecided
        is_as_before = self._revision <= before  # or as it was once, where etcd was restored from a backup
        if is_as_before or found[0].value == question:
            return Decision(False, self._revision)
        if found[0].value == name:
            return Decision(True, self._revision)
        logger.error("another replica has put this one's key in etcd: what became of a write is not known")
        raise Undecided
