"""Group commit: one thread, one LMDB transaction for all writes that wait.

Each write runs in a child transaction on the state that those before it left; one that is refused
aborts alone.  When all have run, the touched names are rebuilt once, and one commit (one fsync) makes
the group durable and visible at the same moment.  Only then do the clients get their answers.  A client
that leaves does not undo its write.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import lmdb

from svcdns.cluster.event_messages import EventMessage
from svcdns.objects.errors import StatusError
from svcdns.store import counts, damage, log
from svcdns.store.environment import Store
from svcdns.store.writable import NO_SPACE, why_not

from .answer_tables import current_table
from .dns_rows import AnswerTable, move_serials, rebuild
from .own_work import OwnWork
from .removal import see_to_all
from .settings import Settings
from .stored_objects import Renewal
from .transaction import POSITION, TIME_FORMAT, Touched, WriteTransaction
from .waiting import Waiting
from .waiting import answer as answer_all

logger = logging.getLogger(__name__)

MAX_GROUP = 128
T = TypeVar("T")

OnCommit = Callable[[float, list[log.Change], int | None], None]
"""Given a commit's duration in seconds, what was logged, and, if known, up to which revision that is all."""


class _DryRun(Exception):
    """Ends the child transaction of a dry run."""


@dataclass(slots=True)
class _Told:
    """What a group has to say beside its results."""

    messages: list[EventMessage] = field(default_factory=list)
    logged: list[log.Change] = field(default_factory=list)


class Committer:
    """Runs writes in its own thread; `on_commit` is called in the event loop after each commit."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        on_commit: OnCommit,
        on_messages: Callable[[list[EventMessage]], None],
    ) -> None:
        """`on_commit` is given a group's duration in seconds and what was logged, `on_messages` messages."""
        self._store = store
        self._settings = settings
        self._on_commit = on_commit
        self._on_messages = on_messages
        self.sharing = None
        """Nobody has a part in it."""
        self.work = OwnWork()
        self.reads = None
        """Whoever reads sees all that was acknowledged."""
        self.trouble = ""
        """Why the last group could not be written, in words; "" when it could."""
        self.refuses = False
        """Whether nothing is tried to be written."""
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Start the thread; to be called in the event loop that will await the writes."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def prepare(self) -> None:
        """Bring objects that an older svcdns stored to the rules of this one.  Raises StatusError.

        What was a map of a registry on etcd is a registry of its own from now on, where
        no cascade goes on.
        """
        await self.write(_forget_position)
        renewal = Renewal()
        while not await self.write(renewal.step):
            pass
        await self.write(see_to_all)

    async def stop(self) -> None:
        """Let the writes that wait finish, then end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def refuse(self, trouble: str) -> None:
        """Refuse all writes from now on, for this reason."""
        self._note(trouble)
        self.refuses = True

    def allow(self) -> None:
        """Try to write again."""
        self.refuses = False
        self._wrote()

    async def write(self, action: Callable[[WriteTransaction], T], *, dry_run: bool = False) -> T:
        """Run one write and return its result once it is durable; raise what it raised."""
        assert self._loop is not None, "the committer has not been started"
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(Waiting(action, dry_run, future))
        return await future  # who is cancelled cancels the future alone: the write goes on

    async def transact(self, action: Callable[[lmdb.Transaction], T]) -> T:
        """Run something in the one writer's transaction (zone files); durable when this returns."""

        def run(write: WriteTransaction) -> T:
            result = action(write.txn)
            write.changed = True
            return result

        return await self.write(run)

    def _run(self) -> None:
        try:
            self._commit_until_stopped()
        except BaseException:
            # Without this thread every write would wait for ever in a process that looks well.
            logger.critical("the committer failed; this process ends, to be started again", exc_info=True)
            os._exit(os.EX_SOFTWARE)

    def _commit_until_stopped(self) -> None:
        while (first := self._queue.get()) is not None:
            group = self._gather(first)
            began = time.monotonic()
            told = _Told()
            changed = self._commit(group, told)
            seconds = time.monotonic() - began if changed else None
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._report, group, seconds, told)

    def _gather(self, first: Waiting) -> list[Waiting]:
        group = [first]
        with suppress(queue.Empty):
            while len(group) < MAX_GROUP:
                following = self._queue.get_nowait()
                if following is None:
                    self._queue.put(None)  # the end: to be found again when this group is done
                    break
                group.append(following)
        return group

    def _commit(self, group: list[Waiting], told: _Told) -> bool:
        """Run a group; add what happened to `told`; return whether anything was committed."""
        if self.refuses:
            for waiting in group:
                waiting.error = no_room(self.trouble)
            return False
        txn = None
        try:
            txn = self._store.env.begin(write=True)
            touched, changed = self._run_all(txn, group, told)
            if changed:
                answer(txn, self._store, self._settings, touched, int(time.time()))
                trim_logs(txn, self._store)
                counts.note(txn, self._store.tables.by_name())
                txn.commit()
                self._wrote()
            else:
                txn.abort()
            return changed
        except Exception as failure:
            if txn is not None:
                txn.abort()
            told.messages.clear()
            error = self._failed(failure)
            for waiting in group:
                waiting.error = waiting.error or error
            return False

    def _wrote(self) -> None:
        if self.trouble:
            logger.warning("the data can be written again")
        self.trouble = ""

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble:
            logger.error("the data can't be written: %s; writes are refused, DNS goes on", trouble)
        self.trouble = trouble

    def _failed(self, failure: Exception) -> StatusError:
        """Say what happened to a whole group; its state is as before."""
        if trouble := why_not(failure, Path(self._store.env.path())):
            self._note(trouble)
            return no_room(trouble)
        if isinstance(failure, damage.OF_LMDB):
            logger.error("a write met damaged data: %s", failure)
            return damage.DamagedWrite()
        logger.error("a commit failed", exc_info=failure)
        return StatusError(500, "InternalError", "the write could not be committed; nothing was changed")

    def _run_all(self, txn: lmdb.Transaction, group: list[Waiting], told: _Told) -> tuple[Touched, bool]:
        touched, changed = Touched(), False
        now = datetime.now(UTC).strftime(TIME_FORMAT)
        for waiting in group:
            collected: list[EventMessage] = []
            try:
                with self._store.env.begin(write=True, parent=txn) as child:
                    write = WriteTransaction(
                        child, self._store.tables, self._settings, now, collected, waiting.dry_run
                    )
                    waiting.result = waiting.action(write)
                    if waiting.dry_run:
                        raise _DryRun
                touched.merge(write.touched)
                changed = changed or write.changed
                told.messages += collected
                told.logged += write.logged
            except _DryRun:
                pass
            except StatusError as refused:
                waiting.error = refused
                told.messages += [one for one in collected if one.of_refusal and not waiting.dry_run]
            except lmdb.Error:
                raise
            except Exception as bug:
                logger.exception("a write failed unexpectedly")
                text = f"Internal error occurred: {type(bug).__name__}"
                waiting.error = StatusError(500, "InternalError", text)
        return touched, changed

    def _report(self, group: list[Waiting], seconds: float | None, told: _Told) -> None:
        """Say what a group came to, in the event loop."""
        if seconds is not None:
            self._on_commit(seconds, told.logged, None)
        answer_all(group)
        if told.messages:
            self._on_messages(told.messages)


def answer(txn: lmdb.Transaction, store: Store, settings: Settings, touched: Touched, clock: int) -> None:
    """Rebuild the touched names, and move the serials of their zones by a clock."""
    if touched:
        write = WriteTransaction(txn, store.tables, settings, "")
        before: dict[bytes, bytes | None] | None = {} if settings.config.transfers else None
        answers = AnswerTable(write, current_table(store, txn), before=before)
        rebuild(answers, touched)
        move_serials(answers, clock)


def trim_logs(txn: lmdb.Transaction, store: Store) -> None:
    """Forget changes that are too many."""
    log.trim(txn, store.tables.log, log.KEEP)
    log.trim(txn, store.tables.event_log, log.KEEP_OF_EVENTS)


def _forget_position(write: WriteTransaction) -> None:
    write.changed = write.txn.delete(POSITION, db=write.tables.meta)


def no_room(trouble: str) -> StatusError:
    """507: the data folder can't be written, for this reason."""
    full = "is full" if trouble == NO_SPACE else "can't be written"
    return StatusError(507, "InsufficientStorage", f"the data folder {full}: {trouble}; nothing was changed")
