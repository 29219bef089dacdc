"""The committer of a registry on etcd: writes are proposed, decided by etcd, applied, and then answered.

    write -> those that wait -> propose (on the map) -> etcd's transaction
          -> the map comes to its revision (`following`) -> answer

One transaction is under way at a time, for all writes that wait.  Those of one that was overtaken are
proposed again on the newer map.  What became of one that got no answer is never guessed: it compares the key
of this replica, and so does what asks for it.  Whichever comes first keeps the other from being carried out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import lmdb

from svcdns.cluster.event_messages import EventMessage
from svcdns.etcd.client import Full, Rejected, Unavailable, Unknown
from svcdns.etcd.messages import Compare, Get, Outcome, Put
from svcdns.objects.errors import StatusError
from svcdns.store import damage
from svcdns.store.environment import Store
from svcdns.store.writable import why_not

from .. import addresses
from ..commit import OnCommit, no_room
from ..settings import Settings
from ..transaction import WriteTransaction
from ..waiting import answer
from .applying import Map, stored_position
from .consistent_reads import ConsistentReads
from .division import Division
from .engine import Disagreement, Engine, Sharing
from .following import LOOK_SECONDS, Follower, newest_of
from .keys import Keys, after
from .layout import agree, refuse_emptied, refuse_mixed
from .left_out import LeftOut
from .listing import Progress
from .naming import claim
from .outage import Outage, refused, undecided
from .proposals import Proposal, propose
from .waiting import Waiting, give_up, refuse

logger = logging.getLogger(__name__)

MAX_GROUP = 128
WRITE_SECONDS = 15.0
"""A write that has not been answered for so long is answered with 504."""
STOP_SECONDS = 5.0
"""So long the end waits for an etcd that does not answer."""
_OVERTAKEN_SECONDS = 0.02
"""Until a transaction is tried again that was overtaken by somebody who is no replica."""
T = TypeVar("T")


class _Decision(NamedTuple):
    """What came of a transaction."""

    is_carried_out: bool
    revision: int
    """Its own, or that of what it was overtaken by."""
    is_newest: bool = False
    """Whether what it was decided on was the newest there was."""


class _Undecided(Exception):
    """Nothing tells any more whether a transaction was carried out."""


class ReplicatedCommitter:
    """Runs writes by way of etcd; belongs to one event loop."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        engine: Engine,
        on_commit: OnCommit,
        on_messages: Callable[[list[EventMessage]], None],
    ) -> None:
        """See Committer; `on_commit` is also given the revision reached, None where the map was listed."""
        self._store, self._settings, self._etcd = store, settings, engine.etcd
        self._keys = Keys(engine.prefix)
        self._on_commit, self._on_messages = on_commit, on_messages
        self.outage = Outage()
        self._listing = Progress()
        self.work = Division(self.outage)
        self.reads = ConsistentReads(engine.etcd, self._keys, self.outage)
        self.refuses = False
        """Whether nothing is tried to be written."""
        self._refused = ""
        self._follower: Follower | None = None
        self._key = b""
        """The key of this replica."""
        self._revision = 0
        """The revision at which it was last put, 0 where it was not."""
        self._cursors: dict[bytes, bytes] = {}
        self._queue: asyncio.Queue[Waiting | None] = asyncio.Queue()
        self._group: list[Waiting] = []
        """Those that are being carried out, or are to be next."""
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def sharing(self) -> Sharing:
        """How it stands with etcd."""
        position = self._follower.position if self._follower is not None else 0
        return Sharing(self.outage.seconds, position, self.work.name, self.work.living(), self._listing.text)

    @property
    def trouble(self) -> str:
        """Why writes are refused, in words; "" when they are not."""
        disk = self._follower.disk_trouble if self._follower is not None else ""
        return self.outage.text or disk or self._refused

    def start(self) -> None:
        """Begin to run writes; to be called in the event loop that will await them."""
        self._tasks.append(asyncio.create_task(self._run()))

    async def stop(self) -> None:
        """Let the writes that wait finish, as long as that does not take too long, then end."""
        self._queue.put_nowait(None)
        await asyncio.wait(self._tasks[:1], timeout=STOP_SECONDS)
        refuse(self._group, undecided())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.work.end()
        if self._follower is not None:
            self._follower.close()
        await self._etcd.close()

    def refuse(self, trouble: str) -> None:
        """Refuse all writes from now on, for this reason."""
        self._refused, self.refuses = trouble, True

    def allow(self) -> None:
        """Try to write again."""
        self._refused, self.refuses = "", False

    async def prepare(self) -> None:
        """Bring the map to what etcd has, and follow it from then on.

        Raises StatusError 503 where etcd is away, Disagreement, lmdb.Error.
        """
        if self._follower is not None:
            return
        try:
            await refuse_mixed(self._etcd)
            if stored_position(self._store) is not None:
                await refuse_emptied(self._etcd, self._keys, self._store.env.path())
            agreed = await agree(self._etcd, self._keys, self._settings)
            met = LeftOut()
            of = Map(self._store, self._settings, self._keys, agreed.registry, agreed.serials_from, met)
            follower = Follower(of, self._etcd, self._on_commit, self.outage, self._listing)
            await follower.begin()
            claimed = await claim(self._etcd, self._keys, follower)
            name = claimed.name
            self._key = self._keys.replica(name)
            # Each replica gives out addresses from a part of the ranges: they are seldom in each other's way.
            self._cursors = addresses.cursors(self._settings, int(name, 16) / 16 ** len(name))
            found = (await self._etcd.range(self._key)).kvs
        except (Unavailable, Unknown) as away:
            self.outage.begin(str(away))
            raise refused(self.outage.text) from None
        except Disagreement:
            self.outage.end()
            raise
        self.outage.end()
        self._revision = found[0].mod_revision if found else 0
        self._follower = follower
        self.reads.begin(follower)
        self._tasks.append(asyncio.create_task(follower.run()))
        met.tell(self._on_messages)
        self._tasks += self.work.begin(self._etcd, self._keys, claimed, follower)

    async def write(self, action: Callable[[WriteTransaction], T], *, dry_run: bool = False) -> T:
        """Run one write and return its result once the map shows it; raise what it raised.

        Raises StatusError 503 where etcd is away, 504 where what came of it is not known, 507 where the map
        can't be written.
        """
        if self.outage or self.refuses:
            raise refused(self.trouble)
        if self._follower is not None and self._follower.disk_trouble:
            raise no_room(self._follower.disk_trouble)  # it would be carried out, and not be shown
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        waiting = Waiting(action, dry_run, future)
        self._queue.put_nowait(waiting)
        limit = loop.call_later(WRITE_SECONDS, give_up, waiting)
        try:
            return await future  # who is cancelled cancels the future alone: the write goes on
        finally:
            limit.cancel()

    async def transact(self, action: Callable[[lmdb.Transaction], T]) -> T:
        """Run something on the map alone (zone files); durable when this returns.  Raises StatusError 507."""

        def run() -> T:
            with self._store.write() as txn:
                return action(txn)

        try:
            return await self._on_map(run)
        except lmdb.Error as failure:
            raise self._not_written(failure) from None

    async def _run(self) -> None:
        try:
            while (group := await self._gather(self._group)) is not None:
                self._group = group
                for waiting in group:
                    waiting.is_tried = True
                self._group = await self._carry_out(group)
                for waiting in self._group:
                    waiting.is_tried = False
        except Exception:
            logger.critical("the committer failed; this process ends, to be started again", exc_info=True)
            os._exit(os.EX_SOFTWARE)

    async def _gather(self, group: list[Waiting]) -> list[Waiting] | None:
        """Return those that were deferred, and those that wait; None at the end."""
        if not group:
            first = await self._queue.get()
            if first is None:
                return None
            group = [first]
        while len(group) < MAX_GROUP and not self._queue.empty():
            following = self._queue.get_nowait()
            if following is None:
                self._queue.put_nowait(None)  # the end: to be found again when this group is done
                break
            group.append(following)
        return [waiting for waiting in group if not waiting.is_given_up]

    async def _carry_out(self, group: list[Waiting]) -> list[Waiting]:
        """Carry out what can be of a group; return those that are to be tried again."""
        follower = self._follower
        if follower is None or self.outage or not group:
            refuse(group, refused(self.trouble or "etcd has not been reached yet"))
            return []
        if follower.disk_trouble:
            refuse(group, no_room(follower.disk_trouble))
            return []
        try:
            proposal = await follower.on_map(partial(propose, follower.map, group, self._cursors))
        except lmdb.Error as failure:
            refuse(group, self._not_written(failure))
            return []
        answer(proposal.answered)
        if not proposal.decided:
            return proposal.deferred
        try:
            decision = await self._decide(proposal, follower)
        except Unavailable as away:
            self.outage.begin(str(away))
            refuse(proposal.decided, refused(self.outage.text))
            return proposal.deferred
        except _Undecided:
            refuse(proposal.decided, undecided())
            return proposal.deferred
        except Rejected as wrong:
            logger.error("etcd takes no such transaction: %s", wrong)
            text = f"etcd takes no such transaction ({wrong}); nothing was changed"
            refuse(proposal.decided, StatusError(500, "InternalError", text))
            return proposal.deferred
        if not decision.is_carried_out:
            await self._let_catch_up(follower, decision.revision)
            return [*proposal.decided, *proposal.deferred]
        settled = [one for one in proposal.decided if one.changes or decision.is_newest]
        for waiting in settled:
            waiting.revision = decision.revision
        await follower.reached(decision.revision)
        proposal.settle(follower.map, decision.revision)
        answer(settled)
        if proposal.messages:
            self._on_messages(proposal.messages)
        overtaken = [one for one in proposal.decided if not one.changes and not decision.is_newest]
        return [*overtaken, *proposal.deferred]

    async def _decide(self, proposal: Proposal, follower: Follower) -> _Decision:
        """Have etcd decide on a proposal.  Raises Unavailable where it was not carried out, nor will be."""
        replicas = (self._keys.replicas, after(self._keys.replicas))
        compares = list(proposal.compares)
        unless_overtaken = Compare.none_since(*replicas, proposal.position)
        if proposal.decided_on_all:
            compares.append(unless_overtaken)
        if proposal.changes_nothing:
            try:
                outcome = await self._etcd.transaction([unless_overtaken], [], [Get(*replicas)])
            except Unknown as lost:  # it would have changed nothing
                raise Unavailable(str(lost)) from None
            newest = _Decision(True, proposal.position, is_newest=True)
            return newest if outcome.succeeded else self._overtaken(outcome)
        name = secrets.token_hex(8).encode()
        own = self._own_compare()
        try:
            outcome = await self._etcd.transaction(
                [own, *compares],
                [Get(*replicas), *proposal.operations, Put(self._key, name)],
                [Get(*replicas)],
            )
        except Full as full:
            return await self._look_up(name, own, full)
        except Unknown:
            return await self._find_out(name, own)
        if not outcome.succeeded:
            return self._overtaken(outcome)
        self._revision = outcome.revision
        is_newest = newest_of(outcome.found[0]) <= proposal.position
        return _Decision(True, outcome.revision, is_newest)

    def _own_compare(self) -> Compare:
        if self._revision:
            return Compare.unchanged(self._key, self._revision)
        return Compare.absent(self._key)

    def _overtaken(self, outcome: Outcome) -> _Decision:
        """Return what a transaction that failed was overtaken by."""
        found = outcome.found[0]
        self._revision = max((kv.mod_revision for kv in found.kvs if kv.key == self._key), default=0)
        return _Decision(False, newest_of(found))

    async def _look_up(self, name: bytes, own: Compare, full: Full) -> _Decision:
        """Return that what etcd has done with was carried out, if it was.  Raises Unavailable."""
        try:
            found = (await self._etcd.range(self._key)).kvs
        except Unavailable:
            return await self._find_out(name, own)
        if not found or found[0].value != name:
            raise Unavailable(str(full))
        self._revision = found[0].mod_revision
        return _Decision(True, self._revision)

    async def _find_out(self, name: bytes, own: Compare) -> _Decision:
        """Return what came of a transaction that got no answer, as soon as etcd is there again.

        The key of this replica is put if nothing has put it since: if that succeeds, the transaction was not
        carried out, and it can't be any more.
        """
        question = secrets.token_hex(8).encode()
        while True:
            try:
                outcome = await self._etcd.transaction([own], [Put(self._key, question)], [Get(self._key)])
                break
            except (Unavailable, Unknown) as away:
                self.outage.begin(str(away))
                await asyncio.sleep(LOOK_SECONDS)
        if outcome.succeeded:
            self._revision = outcome.revision
            return _Decision(False, outcome.revision)
        if not outcome.found[0].kvs:
            self._revision = 0
            logger.error("this replica's key in etcd is gone: what became of a write is not known")
            raise _Undecided
        last = outcome.found[0].kvs[0]
        self._revision = last.mod_revision
        return _Decision(last.value == name, last.mod_revision)

    async def _let_catch_up(self, follower: Follower, revision: int) -> None:
        """Wait until the map shows what a transaction was overtaken by."""
        if revision > follower.position:
            await follower.reached(revision)
        else:
            await asyncio.sleep(_OVERTAKEN_SECONDS)

    async def _on_map(self, work: Callable[[], T]) -> T:
        if self._follower is None:
            return await asyncio.to_thread(work)
        return await self._follower.on_map(work)

    def _not_written(self, failure: lmdb.Error) -> StatusError:
        """Say why the map could not be written."""
        if trouble := why_not(failure, Path(self._store.env.path())):
            return no_room(trouble)
        if isinstance(failure, damage.OF_LMDB):
            logger.error("a write met damaged data: %s", failure)
            return damage.DamagedWrite()
        logger.error("a write failed", exc_info=failure)
        return StatusError(500, "InternalError", "the write could not be tried; nothing was changed")
