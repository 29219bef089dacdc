"""Which replicas live, how far each has come, and whose work is whose.

Each replica holds a lease of etcd, with a key below `live/` that says who it is and what its map shows.  It
goes when the replica stops, and LEASE_SECONDS after it has died; then its work is that of the others.

* An object's work belongs to one of those that live (`cluster.rendezvous`): where one comes or goes, only the
  work that it gets, or had, has another owner.
* A replica says how far it has come once in SAY_SECONDS, if that has changed; at once (but not more often
  than in PAUSE_SECONDS) where another one waits for it.  As long as nobody waits, this costs next to nothing.
* Who can't reach etcd takes those that lived last for those that live: nobody can write meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Sequence

import msgspec

from svcdns.cluster.rendezvous import owner
from svcdns.etcd.client import Compacted, Etcd, Rejected, Unavailable, Unknown
from svcdns.etcd.messages import Change, Compare, Found, Get, KeyValue, Put

from .engine import Said
from .following import LOOK_SECONDS, Follower, Gone
from .keys import Keys, after
from .naming import LEASE_SECONDS, Claim, incarnation_of

logger = logging.getLogger(__name__)

SAY_SECONDS = 1.5
PAUSE_SECONDS = 0.02
END_SECONDS = 1.0
WATCH_SECONDS = 5.0
"""After so long those that live are listed again: a watch may have died without a word."""


class Living:
    """Says that this replica lives, and knows who else does; belongs to one event loop."""

    def __init__(
        self,
        etcd: Etcd,
        keys: Keys,
        claimed: Claim,
        follower: Follower,
        changed: Callable[[], None],
        heard: Callable[[list[tuple[str, str]]], None],
    ) -> None:
        """`claimed` is the name of this replica; nothing is said yet but that it lives.

        `changed` is called whenever another one has come or gone, or this one counts as there; `heard` is
        given the Pods that others have heard of (see `passing_on`).
        """
        self.name, self._incarnation, self._put_at = claimed.name, claimed.incarnation, claimed.put_at
        self.others: dict[str, Said] = {}
        """What the others say that live, by their names."""
        self._etcd, self._keys, self._begin, self._follower = etcd, keys, keys.live, follower
        self._changed, self._heard = changed, heard
        self._heard_of = 0
        """The revision up to which it was taken what others have heard of."""
        self._host = socket.gethostname()
        self.lease, self._kept_at = claimed.lease, time.monotonic()
        """0 while there is none."""
        self._said: Said | None = None
        self._said_at = 0.0
        self._wants = 0
        self._is_there = False
        """Whether etcd shows that this replica lives."""
        self._due = asyncio.Event()
        """Set when there is something to say at once."""
        self._news = asyncio.Event()
        """Set, and replaced, whenever another replica has come, gone or said something."""
        self._asked = 0
        """Up to which revision others want to know when it is reached."""
        self._reports: set[asyncio.Task[None]] = set()

    def is_own(self, key: bytes) -> bool:
        """Return whether the work of a key is this replica's."""
        return self._is_there and owner(key, (self.name, *self.others)) == self.name

    def all(self) -> dict[str, Said]:
        """Return what all say that live, this one too, by name."""
        own = self._own()
        return ({self.name: own} if self._is_there else {}) | self.others

    def _own(self) -> Said:
        follower = self._follower
        return Said(self._host, follower.position, self._wants, follower.disk_trouble, self._incarnation)

    def least(self) -> int:
        """Return the revision that all have reached that live, but for those that are stuck."""
        return min((said.revision for said in self.all().values() if not said.stuck), default=0)

    async def behind(self, revision: int, seconds: float) -> list[str]:
        """Wait until all that live have reached a revision; return those that have not within some seconds.

        Each as HOST (REPLICA), in order.
        """
        deadline = time.monotonic() + seconds
        while True:
            news = self._news
            late = (one for one in self.others.items() if one[1].revision < revision)
            behind = [f"{said.host} ({name})" for name, said in late]
            if self._is_there and not behind:
                return []
            if self._wants < revision:
                self._wants = revision
                self._due.set()
            try:
                async with asyncio.timeout(max(deadline - time.monotonic(), 0.0)):
                    await news.wait()
            except TimeoutError:
                return sorted(behind) if self._is_there else ["all others: they are not known yet"]

    async def run(self) -> None:
        """Say that this replica lives, and see who else does, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_again(self._keep))
            group.create_task(_again(self._see))

    async def end(self) -> None:
        """Leave, so that others take over at once; to be called when `run` has ended."""
        for task in self._reports:
            task.cancel()
        if self.lease:
            with contextlib.suppress(Unavailable, Unknown, Rejected, TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await self._etcd.lease_revoke(self.lease)

    async def _keep(self) -> None:
        """Keep the lease, and say what there is to say.  Raises as etcd.client does; then both begin anew."""
        self._said = None
        while True:
            try:
                await self._keep_once(time.monotonic())
            except (Unavailable, Unknown, Rejected):
                self.lease = 0
                raise
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEASE_SECONDS / 3):
                    await self._due.wait()

    async def _keep_once(self, now: float) -> None:
        if not self.lease:
            self.lease = await self._etcd.lease_grant(LEASE_SECONDS)
            self._kept_at = now
        elif now - self._kept_at >= LEASE_SECONDS / 3:
            if not await self._etcd.lease_keep_alive(self.lease):
                raise Unavailable("the lease has ended")
            self._kept_at = now
        if self._is_to_be_said(now):
            await self._say()
            await asyncio.sleep(PAUSE_SECONDS)

    def _is_to_be_said(self, now: float) -> bool:
        said, follower = self._said, self._follower
        if said is None or self._due.is_set():
            return True
        news = (said.revision, said.stuck) != (follower.position, follower.disk_trouble)
        return news and now - self._said_at >= SAY_SECONDS

    async def _say(self) -> None:
        self._due.clear()
        said = self._own()
        put = Put(self._begin + self.name.encode(), msgspec.json.encode(said), self.lease)
        while True:
            own = Compare.unchanged(put.key, self._put_at) if self._put_at else Compare.absent(put.key)
            outcome = await self._etcd.transaction([own], [put], [Get(put.key)])
            if outcome.succeeded:
                break
            found = next(iter(outcome.found[0].kvs), None)
            if (
                found is not None and found.mod_revision > self._put_at
            ):  # else etcd was restored from a backup
                self._see_whose(found.value)
            self._put_at = found.mod_revision if found is not None else 0
        self._put_at = outcome.revision
        self._said, self._said_at = said, time.monotonic()

    def _see_whose(self, value: bytes) -> None:
        """End where another replica lives under the name of this one."""
        if incarnation_of(value) not in (None, self._incarnation):
            self._end_process()

    def _end_process(self) -> None:
        logger.critical(
            "another replica lives that is called %s, as it is on a copy of this data folder; this process "
            "ends, to be started again under another name",
            self.name,
        )
        os._exit(os.EX_SOFTWARE)

    async def _see(self) -> None:
        """See who lives: list, and watch for a while.  Raises as etcd.client does."""
        begin, end = self._keys.heartbeats, after(self._begin)
        while True:
            found = await self._etcd.range(begin, end)
            self._list(found)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    async for changes in self._etcd.watch(begin, end, found.revision + 1):
                        for change in changes.events:
                            self._see_change(change)

    def _see_change(self, change: Change) -> None:
        if change.kv.key.startswith(self._begin):
            self._take(change.kv.key, change.kv.value if change.type == "PUT" else None)
        elif change.type == "PUT":
            self._hear([change.kv])

    def _hear(self, kvs: Sequence[KeyValue]) -> None:
        """Take the Pods that other replicas have heard of, if they were not taken yet."""
        new = [kv for kv in kvs if kv.mod_revision > self._heard_of]
        own = self._keys.heartbeats + self.name.encode()
        for kv in new:
            self._heard_of = max(self._heard_of, kv.mod_revision)
            if kv.key == own or not kv.key.startswith(self._keys.heartbeats):
                continue
            with contextlib.suppress(msgspec.MsgspecError):  # somebody wrote it by hand
                heard = msgspec.json.decode(kv.value, type=_Heard).heard
                self._heard([(namespace, pod) for namespace, _, pod in (one.partition("/") for one in heard)])

    def _list(self, found: Found) -> None:
        if found.revision < self._heard_of:  # etcd was restored from a backup
            self._heard_of = 0
        self._hear(found.kvs)
        listed = {kv.key: kv.value for kv in found.kvs if kv.key.startswith(self._begin)}
        for name in (self.name, *self.others):
            key = self._begin + name.encode()
            if key not in listed:
                self._take(key, None)
        for key, value in listed.items():
            self._take(key, value)

    def _take(self, key: bytes, value: bytes | None) -> None:
        """Take what stands under the key of a replica."""
        name = key[len(self._begin) :].decode(errors="replace")
        said = None if value is None else _read(value)
        if name == self.name:
            if said is not None and said.incarnation != self._incarnation:
                self._due.set()  # whether it is of a past, or of another one that lives, is seen there
            is_there, self._is_there = self._is_there, said is not None
            if said is None and is_there:
                self._due.set()  # somebody has taken it away, or the lease was lost
            changed = is_there != self._is_there
            is_news = changed
        else:
            before = self.others.pop(name, None)
            if said is not None:
                self.others[name] = said
                self._report(said.wants)
            changed = (before is None) != (said is None)
            if changed:
                self._log(before or said, gone=said is None)
            is_news = True
        if is_news:
            told, self._news = self._news, asyncio.Event()
            told.set()
        if changed:
            self._changed()

    def _log(self, said: Said | None, *, gone: bool) -> None:
        host = said.host if said is not None else ""
        word = "has gone" if gone else "lives"
        logger.info("a replica %s: %s; %d others live", word, host, len(self.others))

    def _report(self, wanted: int) -> None:
        """Have it said when a revision is reached that somebody waits for, if that has not been said."""
        if wanted <= self._asked:
            return
        self._asked = wanted
        if self._said is None or self._said.revision < wanted:
            task = asyncio.get_running_loop().create_task(self._say_when(wanted))
            self._reports.add(task)
            task.add_done_callback(self._reports.discard)

    async def _say_when(self, revision: int) -> None:
        with contextlib.suppress(Gone):
            await self._follower.reached(revision)
            self._due.set()


async def _again(work: Callable[[], Coroutine[None, None, None]]) -> None:
    """Begin something again, for ever, whatever ends it."""
    while True:
        try:
            await work()
        except (Unavailable, Unknown, Rejected, Compacted) as failed:
            logger.debug("who lives is not known for a moment: %s", failed)
        except Exception:
            logger.exception("who lives is not known for a moment")
        await asyncio.sleep(LOOK_SECONDS)


class _Heard(msgspec.Struct):
    heard: list[str]


def _read(value: bytes) -> Said | None:
    try:
        return msgspec.json.decode(value, type=Said)
    except msgspec.MsgspecError:
        return None  # somebody wrote it by hand
