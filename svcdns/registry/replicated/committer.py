"""The committer of a registry on etcd: writes are proposed, decided by etcd, applied, and then answered.

    write -> those that wait -> propose (on the map) -> etcd's transaction
          -> the map comes to its revision (`following`) -> answer

A few transactions are under way at a time (`lanes`), each for the writes that wait when it begins, and none
touches what another one does: such writes wait for their turn, in order.  One that was decided on more than
what it touches has nothing beside it, and where other replicas overtake it, they wait too (`precedence`).
The writes of one that was overtaken are proposed again on the newer map.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from svcdns.cluster.event_messages import EventMessage
from svcdns.etcd.client import Rejected, Unavailable, Unknown
from svcdns.objects.errors import StatusError
from svcdns.store import damage
from svcdns.store.environment import Store
from svcdns.store.writable import why_not

from .. import addresses
from ..commit import OnCommit, no_room
from ..settings import Settings
from ..transaction import WriteTransaction
from ..waiting import answer
from .applying import Told
from .beginning import begin
from .consistent_reads import ConsistentReads
from .division import Division
from .engine import Disagreement, Engine, Sharing
from .following import Follower, Gone
from .keys import Keys
from .lanes import Decision, Lane, Undecided
from .listing import Progress
from .outage import Outage, refused, undecided
from .precedence import Precedence
from .proposals import Beside, Proposal, propose
from .waiting import Waiting, give_up, refuse

logger = logging.getLogger(__name__)

MAX_GROUP = 128
WRITE_SECONDS = 15.0
"""A write that has not been answered for so long is answered with 504."""
STOP_SECONDS = 5.0
"""So long the end waits for an etcd that does not answer."""
_OVERTAKEN_SECONDS = 0.02
"""Until a transaction is tried again that was overtaken by somebody who is no replica."""
MOST_OVERTAKEN = 2
"""So often a transaction that has nothing beside it is overtaken before the others wait for it."""
_ENDS = "this server ends"
T = TypeVar("T")


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
        self._lanes: list[Lane] = []
        self._under_way: dict[Lane, Proposal] = {}
        self._cursors: dict[bytes, bytes] = {}
        self._waiting: deque[Waiting] = deque()
        """Those that are to be proposed, in order."""
        self._held: list[Waiting] = []
        """Those that come before them, once something that is under way has ended."""
        self._is_one_to_be_alone = False
        """Whether one of these needs that nothing is under way."""
        self._is_ending = False
        self._changed = asyncio.Event()
        """Set whenever a transaction may be begun that could not be before."""
        self._precedence = Precedence(engine.etcd, self._keys.precedence, self._changed.set)
        self._preferred: set[asyncio.Future[Any]] = set()
        """Writes for which this replica wants precedence, until they are answered."""
        self._giving_up: set[asyncio.Task[None]] = set()
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
        self._is_ending = True
        self._changed.set()
        await asyncio.wait(self._tasks[:1], timeout=STOP_SECONDS)
        for proposal in self._under_way.values():
            refuse(proposal.decided, undecided())
        refuse((*self._held, *self._waiting), refused(_ENDS))
        for task in self._tasks:
            task.cancel()
        if self._giving_up:
            await asyncio.wait(self._giving_up, timeout=STOP_SECONDS)
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
            begun = await begin(
                self._etcd,
                self._keys,
                self._store,
                self._settings,
                self._on_commit,
                self.outage,
                self._listing,
            )
        except (Unavailable, Unknown) as away:
            self.outage.begin(str(away))
            raise refused(self.outage.text) from None
        except Disagreement:
            self.outage.end()
            raise
        self.outage.end()
        # Each replica gives out addresses from a part of the ranges: they are seldom in each other's way.
        name = begun.claimed.name
        self._cursors = addresses.cursors(self._settings, int(name, 16) / 16 ** len(name))
        follower = begun.follower
        self._follower, self._lanes = follower, begun.lanes
        follower.own, follower.told = frozenset(lane.key for lane in begun.lanes), self._take_told
        follower.precedence = self._precedence.see
        self.reads.begin(follower)
        self._tasks.append(asyncio.create_task(follower.run()))
        begun.left_out.tell(self._on_messages)
        self._tasks += self.work.begin(self._etcd, self._keys, begun.claimed, follower)

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
        self._waiting.append(waiting)
        self._changed.set()
        limit = loop.call_later(WRITE_SECONDS, give_up, waiting)
        try:
            return await future  # who is cancelled cancels the future alone: the write goes on
        finally:
            limit.cancel()

    async def transact(self, action: Callable[[lmdb.Transaction], T]) -> T:
        """Run something on the map alone (zone files), which shows it then.  Raises StatusError 507."""

        def run() -> T:
            with self._store.write() as txn:
                return action(txn)

        try:
            return await self._on_map(run)
        except lmdb.Error as failure:
            raise self._not_written(failure) from None

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as under_way:
                while await self._may_begin():
                    proposal = await self._propose(self._next_group())
                    if proposal is not None and proposal.decided:
                        lane = next(lane for lane in self._lanes if lane not in self._under_way)
                        self._under_way[lane] = proposal
                        under_way.create_task(self._carry_out(lane, proposal))
                    elif not self._under_way:
                        self._release()
        except Exception:
            logger.critical("the committer failed; this process ends, to be started again", exc_info=True)
            os._exit(os.EX_SOFTWARE)

    async def _may_begin(self) -> bool:
        """Wait until there is something to propose, and may be; return False at the end."""
        while not (self._waiting and self._is_room()):
            if self._is_ending and not (self._waiting or self._held or self._under_way):
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    def _is_room(self) -> bool:
        """Whether another transaction may be under way."""
        if self._precedence.is_another_s:
            return False
        if not self._under_way:
            return True
        alone = self._is_one_to_be_alone or any(one.decided_on_all for one in self._under_way.values())
        return not alone and len(self._under_way) < len(self._lanes)

    def _next_group(self) -> list[Waiting]:
        """Take those that are to be proposed next."""
        taken = (self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting))))
        return [waiting for waiting in taken if not waiting.is_given_up]

    async def _propose(self, group: list[Waiting]) -> Proposal | None:
        """Propose a group, and see to those of it that are not to be decided now; None where none can be."""
        follower = self._follower
        if follower is None or self.outage or not group:
            refuse(group, refused(self.trouble or "etcd has not been reached yet"))
            return None
        if follower.disk_trouble:
            refuse(group, no_room(follower.disk_trouble))
            return None
        for waiting in group:
            waiting.is_tried = True
        beside = Beside(list(self._under_way.values()), self._held)
        try:
            proposal = await follower.on_map(partial(propose, follower.map, group, self._cursors, beside))
        except lmdb.Error as failure:
            refuse(group, self._not_written(failure))
            return None
        except asyncio.CancelledError:  # the end, while the map was somebody else's
            refuse(group, refused(_ENDS))
            raise
        self._answer(proposal.answered)
        for waiting in (*proposal.deferred, *proposal.left):
            waiting.is_tried = False
        self._held += proposal.deferred
        self._waiting.extendleft(reversed(proposal.left))
        self._is_one_to_be_alone |= proposal.is_one_to_be_alone
        return proposal

    async def _carry_out(self, lane: Lane, proposal: Proposal) -> None:
        """Have a proposal decided, and answer its writes, or have them proposed again."""
        assert self._follower is not None
        again: list[Waiting] = []
        try:
            again = await self._decided(await lane.decide(proposal), proposal, self._follower)
        except Unavailable as away:
            self.outage.begin(str(away))
            refuse(proposal.decided, refused(self.outage.text))
        except (Undecided, Gone):
            refuse(proposal.decided, undecided())
        except Rejected as wrong:
            logger.error("etcd takes no such transaction: %s", wrong)
            text = f"etcd takes no such transaction ({wrong}); nothing was changed"
            refuse(proposal.decided, StatusError(500, "InternalError", text))
        del self._under_way[lane]
        for waiting in again:
            waiting.is_tried = False
        self._held[:0] = again
        self._release()

    async def _decided(self, decision: Decision, proposal: Proposal, follower: Follower) -> list[Waiting]:
        """Answer the writes of a proposal when the map shows them; return those to be proposed again.

        Raises Gone where etcd was restored from a backup: what was carried out is not there any more, or is
        there and the map does not show what is.
        """
        for waiting in proposal.decided:
            waiting.newest = decision.newest
        if not decision.is_carried_out:
            if proposal.decided_on_all:
                await self._note_overtaken(proposal)
            await self._let_catch_up(follower, decision.revision)
            return proposal.decided
        if decision.revision <= proposal.position and not proposal.changes_nothing:
            raise Gone  # the map shows another past, and this is not in it
        is_newest = decision.newest is not None and decision.newest <= proposal.position
        settled = [one for one in proposal.decided if one.changes or is_newest]
        for waiting in settled:
            waiting.revision = decision.revision
        await follower.reached(decision.revision)
        proposal.settle(follower.map, decision.revision)
        self._answer(settled)
        self._on_messages(proposal.told.messages)
        return [one for one in proposal.decided if not one.changes and not is_newest]

    async def _note_overtaken(self, proposal: Proposal) -> None:
        """Have the other replicas wait for writes that were overtaken too often, until these are answered."""
        for waiting in proposal.decided:
            waiting.overtaken += 1
            future = waiting.future
            if waiting.overtaken >= MOST_OVERTAKEN and not future.done() and future not in self._preferred:
                self._preferred.add(future)
                future.add_done_callback(self._prefer_no_more)
        if self._preferred:
            await self._precedence.claim()

    def _prefer_no_more(self, future: asyncio.Future[Any]) -> None:
        self._preferred.discard(future)
        if not self._preferred:
            task = asyncio.get_running_loop().create_task(self._precedence.give_up())
            self._giving_up.add(task)
            task.add_done_callback(self._giving_up.discard)

    def _answer(self, settled: list[Waiting]) -> None:
        """Give writes what they came to, and record what has happened."""
        answer(settled)
        for waiting in settled:
            if waiting.messages:
                self._on_messages(waiting.messages)

    def _take_told(self, own: dict[bytes, Told]) -> None:
        """Take what is to be said of transactions of this replica, which the map shows from now on."""
        for proposal in self._under_way.values():
            proposal.told = own.pop(proposal.id, proposal.told)
        for told in own.values():  # nobody waits for it any more
            self._on_messages(told.messages)

    def _release(self) -> None:
        """Have those proposed again that were held."""
        self._waiting.extendleft(reversed(self._held))
        self._held.clear()
        if not self._under_way:
            self._is_one_to_be_alone = False
        self._changed.set()

    async def _let_catch_up(self, follower: Follower, revision: int) -> None:
        """Wait until the map shows what a transaction was overtaken by."""
        if revision > follower.position:
            with suppress(Gone):
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
