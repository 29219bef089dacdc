"""A client of etcd's JSON gateway: ranges, transactions, watches and leases, over all members that are named.

A member that fails goes to the end of the line, with the watches on it, and the next one is asked; of what
changes nothing it is asked as soon as the one before says nothing for a while.  A transaction is only sent
again where it is known that it was not carried out; where that isn't known, Unknown is raised, and who sent
it finds out.  No request takes longer than a member has for an answer.

    errors        what a request can come to instead of an answer
    members       which is asked next, which hang, which are of another etcd
    hedging       one answer of several members
    connections   one request to one member, with certificates and a token (`login` has the files)
    messages      what is said, and what the answers mean

https://etcd.io/docs/v3.4/learning/api/ says what each request does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from . import messages
from .connections import LARGEST_ANSWER, Answer, Connections, Lost, NotReached, Refused, Stream, TooLarge
from .errors import Compacted as Compacted
from .errors import Denied as Denied
from .errors import Full as Full
from .errors import NotYet as NotYet
from .errors import Rejected as Rejected
from .errors import Unavailable as Unavailable
from .errors import Unknown as Unknown
from .errors import (
    has_no_leader,
    is_of_member,
    raise_if_final,
    read_failed,
    unavailable,
    unknown,
    was_not_carried_out,
)
from .hedging import Passed, first_answer
from .login import Login as Login
from .members import STATUS, Members
from .messages import (
    Change,
    Changes,
    Compare,
    Delete,
    Failed,
    Found,
    Get,
    Member,
    Outcome,
    Put,
    Sent,
    Status,
    WatchAnswer,
)

T = TypeVar("T")

REQUEST_SECONDS = 1.8
"""So long a member has for an answer: one that hangs is passed over within two seconds."""
_LEAST_SECONDS = 0.05
_NO_LEADER_SECONDS = 0.1
"""Between two tries while members choose a leader."""


class Etcd:
    """A client; belongs to one event loop.  Every request raises Unavailable, and Rejected."""

    def __init__(
        self, endpoints: Sequence[str], login: Login | None = None, *, timeout: float = REQUEST_SECONDS
    ) -> None:
        """`endpoints` are URLs of members, `timeout` is that of a request at one member, in seconds."""
        self._timeout = timeout
        self._connections = Connections(login or Login(), timeout)
        self._members = Members(endpoints, self._connections, self._end_watches)
        self._streams: set[Stream] = set()
        """Watches that are open."""
        self._largest_page = 1 << 30
        """So many keys went into an answer that was not too large."""

    async def close(self) -> None:
        """End all connections."""
        await self._members.close()
        await self._connections.close()

    async def range(
        self,
        key: bytes,
        end: bytes | None = None,
        *,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        serializable: bool = False,
        newer_than: int = 0,
        member: str | None = None,
    ) -> Found:
        """Read up to `limit` keys of a range, at a revision or the newest.  Raises Compacted, NotYet.

        `newer_than`: only those that were put after this revision; `member`: asked is this one alone.

        With a limit, fewer keys come where they are large, and `more` is true.  `serializable`: as the member
        has it that is asked, which may be old.
        """
        wanted = messages.between(key, end) | {"revision": str(revision)}
        wanted |= {"keys_only": keys_only, "serializable": serializable}
        wanted |= {"min_mod_revision": str(newer_than + 1)} if newer_than else {}
        while True:
            most = min(limit, self._largest_page)
            try:
                size, found = await self._ask(
                    "/v3/kv/range",
                    wanted | {"limit": str(most)},
                    lambda octets: (len(octets), messages.read_found(octets)),
                    only=member,
                )
            except TooLarge:
                if most < 2:
                    raise
                self._largest_page = most // 2
                continue
            if most == self._largest_page and size < LARGEST_ANSWER // 4:
                self._largest_page *= 2
            return found

    async def transaction(
        self, compares: Sequence[Compare], success: Sequence[Put | Delete | Get], failure: Sequence[Get] = ()
    ) -> Outcome:
        """Do one or the other, as all compares hold or not.  Raises Unknown."""
        sent = {
            "compare": [one.sent() for one in compares],
            "success": [one.sent() for one in success],
            "failure": [one.sent() for one in failure],
        }
        return await self._ask("/v3/kv/txn", sent, messages.read_outcome, is_read=False)

    async def lease_grant(self, seconds: int) -> int:
        """Return a lease that ends after so many seconds unless it is kept alive."""
        sent: Sent = {"TTL": str(seconds)}  # one whose answer was lost ends by itself
        return (await self._ask("/v3/lease/grant", sent, messages.read_lease)).id

    async def lease_keep_alive(self, lease: int) -> int:
        """Have a lease begin anew; return its seconds, 0 where it has ended."""
        sent: Sent = {"ID": str(lease)}
        return (await self._ask("/v3/lease/keepalive", sent, messages.read_kept_alive)).seconds

    async def lease_revoke(self, lease: int) -> None:
        """End a lease, and with it its keys.  Raises Unknown."""
        await self._ask("/v3/lease/revoke", {"ID": str(lease)}, len, is_read=False)

    async def compact(self, revision: int) -> None:
        """Forget what was before a revision.  Raises Compacted where that is done."""
        await self._ask("/v3/kv/compaction", {"revision": str(revision)}, len)

    async def status(self, member: str | None = None) -> Status:
        """Return how one member is, or the first that answers: its version, and what it complains of."""
        return await self._ask(STATUS, {}, messages.read_status, only=member)

    async def has_no_room(self) -> bool:
        """Return whether etcd takes no writes, although it answers reads; False too where nobody may ask.

        A user who isn't an administrator may not ask for the status of etcd 3.4.42 and newer, 3.5.28 to 31
        and 3.6.0 to 11, but for the alarms of all these (not of 3.4.42, 3.5.28 and 3.6.9).
        """
        try:
            return (await self.status()).has_no_room
        except Denied:
            pass
        try:
            return await self._ask("/v3/maintenance/alarm", {"action": "GET"}, messages.read_no_space)
        except Denied:
            return False

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The URLs of the members that are named, in the order in which they are asked."""
        return self._members.in_order()

    async def members(self) -> tuple[Member, ...]:
        """Return the members of the cluster, named here or not."""
        return await self._ask("/v3/cluster/member/list", {}, messages.read_members)

    async def clusters(self) -> dict[str, int]:
        """Return the id of the cluster of each member that answers now, by its URL."""
        return await self._members.clusters()

    async def watch(self, key: bytes, end: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """Yield what happens to a range from a revision on, whole revisions at a time; never ends.

        Raises Compacted where that revision is gone, Unavailable when the connection is, or its member fails:
        who watches goes on from the revision after the last one.  Only events say how far that is: headers of
        etcd before 3.4.25 run ahead of them.
        """
        wanted = messages.between(key, end) | {"start_revision": str(from_revision), "fragment": True}
        body = messages.encode({"create_request": wanted})
        events: list[Change] = []
        stream, has_begun = None, False
        try:
            while True:
                try:
                    stream = stream or await self._open("/v3/watch", body)
                    got = await self._next(stream)
                except Unavailable as lost:
                    if has_begun or not self._connections.refuse_token(str(lost), is_watch=True):
                        raise
                    self._end(stream)
                    stream, has_begun = None, True
                    continue
                has_begun = True
                events += got.changes()
                whole = messages.whole_revisions(events, more_follows=got.fragment)
                if whole:
                    yield Changes(events[whole - 1].mod_revision, tuple(events[:whole]))
                    del events[:whole]
        finally:
            self._end(stream)

    async def _open(self, path: str, body: bytes) -> Stream:
        """Begin a request whose answer does not end, at the first member that takes it."""

        async def attempt(member: str, seconds: float) -> Stream:
            try:
                return await self._connections.open(member, path, body, seconds)
            except Refused as refused:
                failed = refused.failed
            except (NotReached, Lost, TooLarge) as away:
                failed = Failed(f"{member}: {away}")
            raise self._passed(member, failed)

        try:
            members, silent = self._members.in_order(), self._members.doubt
            stream = await first_answer(members, attempt, self._timeout, silent, Stream.close)
        except Passed as passed:
            raise unavailable(passed.failed.message) from None
        self._streams.add(stream)
        return stream

    async def _next(self, stream: Stream) -> WatchAnswer:
        """Return the next message of a watch.  Raises Compacted, Unavailable."""
        try:
            got = messages.read_watched(await stream.line())
        except (Lost, messages.DecodeError) as wrong:
            self._members.put_last(stream.member)
            raise Unavailable(f"{stream.member}: the watch was lost: {wrong}") from None
        if not isinstance(got, Failed):
            if got.compact_revision:
                raise Compacted(f"compacted up to revision {got.compact_revision}")
            if not got.canceled:
                another = await self._members.refuse_another(stream.member, got.header.cluster_id)
                if another is None:
                    return got
                self._members.put_last(stream.member)
                raise Unavailable(another.message)
            got = Failed(got.cancel_reason or "the watch was cancelled")
        if is_of_member(got):
            self._members.put_last(stream.member)
        raise unavailable(got.message)

    def _end(self, stream: Stream | None) -> None:
        if stream is not None:
            self._streams.discard(stream)
            stream.close()

    async def _ask(
        self,
        path: str,
        sent: Sent,
        read: Callable[[bytes], T],
        *,
        is_read: bool = True,
        only: str | None = None,
    ) -> T:
        """Ask one member after the other, and all again while they choose a leader; `only`: this one alone.

        Raises Compacted, NotYet, TooLarge, Unknown for what is no read.
        """
        body = messages.encode(sent)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout

        async def attempt(member: str, seconds: float) -> T:
            return await self._ask_one(member, path, body, read, is_read=is_read, seconds=seconds, only=only)

        while True:
            members = (only,) if only else self._members.in_order()
            left = max(until - loop.time(), _LEAST_SECONDS)
            try:
                if is_read:
                    return await first_answer(members, attempt, left, self._members.doubt)
                return await self._one_by_one(members, attempt, until)
            except Passed as passed:
                if not passed.waits or loop.time() > until:
                    raise unavailable(passed.failed.message) from None
            await asyncio.sleep(_NO_LEADER_SECONDS)

    async def _one_by_one(
        self, members: Sequence[str], attempt: Callable[[str, float], Awaitable[T]], until: float
    ) -> T:
        """Ask for what changes something: the next member only when the one before surely has not done it.

        Raises Passed, and what an attempt raises.
        """
        waits = False
        for number, member in enumerate(members):
            left = max(until - asyncio.get_running_loop().time(), _LEAST_SECONDS)
            try:
                if not self._members.is_known(member):
                    await self._meet(member, left / (len(members) - number))
                return await attempt(member, left)
            except Passed as passed:
                failed, waits = passed.failed, waits or passed.waits
        raise Passed(failed, waits=waits)

    async def _ask_one(
        self,
        member: str,
        path: str,
        body: bytes,
        read: Callable[[bytes], T],
        *,
        is_read: bool,
        seconds: float,
        only: str | None,
    ) -> T:
        """Ask one member.  Raises Passed where the next one is to be asked, and as `_ask`."""
        try:
            answer = await self._connections.post(member, path, body, is_read=is_read, seconds=seconds)
            if answer.status == 200:
                another = None if only else await self._refused_as_another(member, answer)
                if another is None:
                    return read(answer.octets)
                failed, is_unknown = another, True
            else:
                failed = read_failed(answer.octets, answer.status)
                raise_if_final(failed)
                is_unknown = not was_not_carried_out(failed)
        except Refused as refused:
            failed, is_unknown = refused.failed, False
        except NotReached as away:
            failed, is_unknown = Failed(f"{member}: {away}"), False
        except TooLarge as large:
            if is_read:
                raise
            raise Unknown(str(large)) from None
        except (Lost, messages.DecodeError) as lost:
            failed, is_unknown = Failed(f"{member}: {lost}"), True
        if is_unknown and not is_read:
            if is_of_member(failed):
                self._members.put_last(member)
            raise unknown(failed)
        raise self._passed(member, failed)

    def _passed(self, member: str, failed: Failed) -> Passed | Unavailable:
        """Return what a failure of one member is to be raised as."""
        if not is_of_member(failed):
            return unavailable(failed.message)
        self._members.put_last(member)
        return Passed(failed, waits=has_no_leader(failed.message))

    async def _meet(self, member: str, seconds: float) -> None:
        """See of which cluster a member is before it is asked to change anything.  Raises as `_ask_one`."""
        await self._ask_one(member, STATUS, b"{}", len, is_read=True, seconds=seconds, only=None)

    async def _refused_as_another(self, member: str, answer: Answer) -> Failed | None:
        return await self._members.refuse_another(member, messages.read_cluster(answer.octets))

    def _end_watches(self, member: str) -> None:
        """End the watches on a member that has failed: they may have died with it."""
        for stream in tuple(self._streams):
            if stream.member == member:
                self._end(stream)
