"""A client of etcd's JSON gateway: ranges, transactions and watches, over all members that are named.

A member that can't be reached is passed over, and the next one asked.  A transaction is only sent again where
it is known that it was not carried out; where that isn't known, Unknown is raised, and who sent it finds out.
Files of certificates, keys and passwords are read again after any failure.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from . import messages
from .messages import (
    Change,
    Changes,
    Compare,
    Delete,
    Failed,
    Found,
    Get,
    Outcome,
    Put,
    Sent,
    WatchAnswer,
)

CONNECT_SECONDS = 1.0
REQUEST_SECONDS = 2.0
LONGEST_LINE = 64 << 20
"""Octets of one message of a watch: a transaction has at most 1.5 MiB, base64 takes a third more."""

_UNAUTHENTICATED = ("invalid auth token", "user name is empty", "revision of auth store is old")
_NOT_CARRIED_OUT = (
    "no leader",
    "too many requests",
    "authentication failed",
    "permission denied",
    "authentication is not enabled",
    *_UNAUTHENTICATED,
)
"""Errors after which a transaction was surely not carried out."""
_FULL = "space exceeded"
_REMEDIES = {
    _FULL: " (NOSPACE: compact and defragment it, then `etcdctl alarm disarm`)",
    "permission denied": " (the user needs to read and write all keys below store.etcd_prefix)",
    "authentication failed": " (store.etcd_user and store.etcd_password_file)",
    "user name is empty": " (it asks for a user: store.etcd_user and store.etcd_password_file)",
}
_INVALID, _OUT_OF_RANGE = 3, 11
"""Codes of gRPC."""


class Unavailable(Exception):
    """No member takes the request, for this reason: nothing was changed, and nothing will be."""


class Unknown(Exception):
    """Whether a transaction was carried out is not known."""


class Full(Unknown):
    """etcd says that it has no room, and has done with the transaction.

    The first one for which there is none is carried out all the same (quotaApplierV3 of etcd 3.4 to 3.6).
    """


class Rejected(Exception):
    """etcd takes no such request, whichever member is asked."""


class Compacted(Exception):
    """What is asked for is older than what etcd keeps."""


class NotYet(Exception):
    """What is asked for is newer than what etcd has."""


@dataclass(frozen=True, slots=True)
class Login:
    """How members are to be convinced, and to convince us; each where it is not None or ""."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str = ""
    password_file: Path | None = None

    def changed(self) -> list[int]:
        """Return when the files of certificates were changed last, in nanoseconds; 0 where one is missing."""
        files = (file for file in (self.ca, self.certificate, self.key) if file is not None)
        return [file.stat().st_mtime_ns if file.exists() else 0 for file in files]


class Etcd:
    """A client; belongs to one event loop.  Every request raises Unavailable, and Rejected."""

    def __init__(
        self, endpoints: Sequence[str], login: Login | None = None, *, timeout: float = REQUEST_SECONDS
    ) -> None:
        """`endpoints` are URLs of members, `timeout` is that of a request at one member, in seconds."""
        self._endpoints = [endpoint.rstrip("/") for endpoint in endpoints]
        self._login = login or Login()
        self._timeout = aiohttp.ClientTimeout(timeout, sock_connect=min(CONNECT_SECONDS, timeout))
        self._at = 0
        """Which member is asked first."""
        self._session: aiohttp.ClientSession | None = None
        self._token = ""
        self._failed = False
        self._read_at: list[int] = []
        """When the files of certificates were changed last, as they were read."""

    async def close(self) -> None:
        """End all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def range(
        self, key: bytes, end: bytes | None = None, *, revision: int = 0, limit: int = 0
    ) -> Found:
        """Read up to `limit` keys of a range, at a revision or the newest.  Raises Compacted, NotYet."""
        sent = messages.between(key, end) | {"revision": str(revision), "limit": str(limit)}
        return messages.read_found(await self._ask("/v3/kv/range", sent, is_read=True))

    async def transaction(
        self, compares: Sequence[Compare], success: Sequence[Put | Delete | Get], failure: Sequence[Get] = ()
    ) -> Outcome:
        """Do one or the other, as all compares hold or not.  Raises Unknown."""
        sent = {
            "compare": [one.sent() for one in compares],
            "success": [one.sent() for one in success],
            "failure": [one.sent() for one in failure],
        }
        return messages.read_outcome(await self._ask("/v3/kv/txn", sent, is_read=False))

    async def watch(self, key: bytes, end: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """Yield what happens to a range from a revision on, whole revisions at a time; never ends.

        Raises Compacted where that revision is gone, Unavailable when the connection is: who watches goes on
        from the revision after the last one.
        """
        was_renewed = False
        while True:
            try:
                async for changes in self._watch_once(key, end, from_revision):
                    from_revision, was_renewed = changes.revision + 1, False
                    yield changes
            except Unavailable as lost:
                if was_renewed or not self._forget_token(str(lost)):
                    raise
                was_renewed = True

    async def _watch_once(self, key: bytes, end: bytes, from_revision: int) -> AsyncIterator[Changes]:
        wanted = messages.between(key, end) | {"start_revision": str(from_revision), "fragment": True}
        body = messages.encode({"create_request": wanted})
        events: list[Change] = []
        async with self._opened("/v3/watch", body) as answer:
            while line := await self._line(answer):
                got = _watched(line)
                events += got.changes()
                if events and not got.fragment:
                    yield Changes(events[-1].mod_revision, tuple(events))
                    events = []
        raise Unavailable("the watch has ended")

    async def _line(self, answer: aiohttp.ClientResponse) -> bytes:
        try:
            return await answer.content.readline()
        except (aiohttp.ClientError, ValueError, OSError) as lost:
            self._next_member()
            raise Unavailable(f"the watch was lost: {lost}") from None

    def _opened(self, path: str, body: bytes) -> _Opened:
        return _Opened(self, path, body)

    async def open_stream(self, path: str, body: bytes) -> aiohttp.ClientResponse:
        """Begin a request whose answer does not end.  Raises as all requests do."""
        timeout = aiohttp.ClientTimeout(None, sock_connect=CONNECT_SECONDS)
        why = ""
        for _ in self._endpoints:
            try:
                answer = await (await self._http()).post(
                    self._endpoints[self._at] + path,
                    data=body,
                    timeout=timeout,
                    headers=await self._headers(),
                )
            except (aiohttp.ClientError, TimeoutError, OSError) as away:
                why = self._failed_to_reach(away)
                continue
            if answer.status == 200:
                return answer
            failed = _failed(await answer.read(), answer.status)
            self._forget_token(failed.message)
            why = failed.message
            self._next_member()
        raise Unavailable(_with_remedy(why))

    async def _ask(self, path: str, sent: Sent, *, is_read: bool) -> bytes:
        """Ask one member after the other.  Raises Compacted, NotYet, Unknown for what is no read."""
        body = messages.encode(sent)
        why = ""
        for _ in range(len(self._endpoints) + 1):  # once more, where a token had to be renewed
            try:
                status, octets = await self._post(path, body)
            except aiohttp.ClientConnectorError as away:
                why = self._failed_to_reach(away)
                continue
            except (aiohttp.ClientError, TimeoutError, OSError) as lost:
                why = self._failed_to_reach(lost)
                if not is_read:
                    raise Unknown(why) from None
                continue
            if status == 200:
                return octets
            failed = _failed(octets, status)
            why = failed.message
            if failed.code == _OUT_OF_RANGE:
                raise (NotYet if "future revision" in why else Compacted)(why)
            if _FULL in why and not is_read:
                raise Full(_with_remedy(why))
            if not any(words in why for words in _NOT_CARRIED_OUT):
                if failed.code == _INVALID:
                    raise Rejected(why)
                if not is_read:
                    raise Unknown(why)
            if not self._forget_token(why):
                self._next_member()
        raise Unavailable(_with_remedy(why))

    async def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        url = self._endpoints[self._at] + path
        headers = await self._headers()
        async with (await self._http()).post(
            url, data=body, timeout=self._timeout, headers=headers
        ) as answer:
            return answer.status, await answer.read()

    async def _headers(self) -> Mapping[str, str]:
        """Return what says who we are; asks for a token where there is none."""
        if not self._login.user:
            return {}
        if not self._token:
            password = ""
            if self._login.password_file is not None:
                password = (await asyncio.to_thread(self._login.password_file.read_text)).strip()
            body = messages.encode({"name": self._login.user, "password": password})
            url = self._endpoints[self._at] + "/v3/auth/authenticate"
            async with (await self._http()).post(url, data=body, timeout=self._timeout) as answer:
                octets = await answer.read()
                if answer.status != 200:
                    raise Unavailable(_with_remedy(_failed(octets, answer.status).message))
                self._token = messages.read_token(octets)
        return {"Authorization": self._token}

    def _forget_token(self, why: str) -> bool:
        """Have a token asked for again, if it was that; return whether it was."""
        if not self._login.user or not any(words in why for words in _UNAUTHENTICATED):
            return False
        self._token = ""
        return True

    def _failed_to_reach(self, why: Exception) -> str:
        """Go on to the next member; return why in words."""
        text = f"{self._endpoints[self._at]}: {str(why) or 'no answer in time'}"
        self._next_member()
        self._failed = True
        return text

    def _next_member(self) -> None:
        self._at = (self._at + 1) % len(self._endpoints)

    async def _http(self) -> aiohttp.ClientSession:
        """Return what has the connections: with certificates that changed, after a failure, another one."""
        if self._failed:
            self._failed = False
            if self._read_at != self._login.changed():
                await self.close()
        if self._session is None:
            self._read_at = self._login.changed()
            try:
                context = await asyncio.to_thread(self._context)
            except (OSError, ssl.SSLError) as wrong:
                raise Unavailable(f"its certificates can't be read: {wrong}") from None
            connector = aiohttp.TCPConnector(ssl=context if context is not None else True)
            self._session = aiohttp.ClientSession(
                connector=connector, read_bufsize=LONGEST_LINE, trust_env=False
            )
        return self._session

    def _context(self) -> ssl.SSLContext | None:
        login = self._login
        if login.ca is None and login.certificate is None:
            return None
        context = ssl.create_default_context(cafile=login.ca)
        if login.certificate is not None:
            context.load_cert_chain(login.certificate, login.key)
        return context


class _Opened:
    """A stream that is ended with the block."""

    def __init__(self, etcd: Etcd, path: str, body: bytes) -> None:
        self._etcd, self._path, self._body = etcd, path, body
        self._answer: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        self._answer = await self._etcd.open_stream(self._path, self._body)
        return self._answer

    async def __aexit__(self, *_: object) -> None:
        if self._answer is not None:
            self._answer.close()


def _watched(line: bytes) -> WatchAnswer:
    """Return one message of a watch.  Raises Compacted, Unavailable."""
    try:
        got = messages.read_watched(line)
    except msgspec.DecodeError as wrong:
        raise Unavailable(f"a watch has brought what is no message: {wrong}") from None
    if isinstance(got, Failed):
        raise Unavailable(got.message)
    if got.compact_revision:
        raise Compacted(f"compacted up to revision {got.compact_revision}")
    if got.canceled:
        raise Unavailable(got.cancel_reason or "the watch was cancelled")
    return got


def _failed(octets: bytes, status: int) -> Failed:
    try:
        failed = messages.read_failed(octets)
    except msgspec.DecodeError:
        return Failed(f"HTTP status {status}")
    if not failed.message:
        failed.message = str(failed.error or f"HTTP status {status}")
    return failed


def _with_remedy(why: str) -> str:
    return why + "".join(remedy for words, remedy in _REMEDIES.items() if words in why)
