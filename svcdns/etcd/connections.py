"""How a member of etcd is reached: connections, certificates, and the token of a user.

Files of certificates, keys and passwords are read again after any failure, where they have changed: new
requests then have connections of their own, and the old ones end with the last request on them.  What goes
wrong before anything was sent is told apart from what was lost on the way.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from svcdns.system.log_on_change import LogOnChange
from svcdns.system.watched_file import Signature

from . import messages
from .errors import Rejected, read_failed, wants_token
from .login import Login
from .messages import Failed

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 1.0
LARGEST_ANSWER = 16 << 20
"""Octets that are read of one answer, or of one message of a watch: 1.5 MiB is etcd's own limit of a
transaction, base64 takes a third more, and users may have raised it."""
_HAS_LEADER = {"Grpc-Metadata-hasleader": "true"}
"""A member that is cut off from the others refuses at once, and ends its watches, instead of waiting."""
_OF_CERTIFICATES = ("ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE", "ALERT_UNKNOWN_CA", "CERTIFICATE_REQUIRED")
"""TLS alerts of a member that does not want us; with TLS 1.3 they come after we have sent a request, and
nothing of that was looked at."""
_FAILURES = (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError)
_CUTS = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))


class NotReached(Exception):
    """The request was not sent, or surely not looked at."""


class Lost(Exception):
    """The request may have been sent; there is no answer."""


class Cut(Lost):
    """The connection was closed: perhaps while it was idle, and that is seen only now."""


class TooLarge(Rejected):
    """The answer is larger than what is read of one."""


class Refused(Exception):
    """A member does not begin what it was asked for, and nothing was changed."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


class Answer(NamedTuple):
    """What a member says."""

    status: int
    octets: bytes


class Stream:
    """An answer that does not end, of one member."""

    def __init__(self, member: str, answer: aiohttp.ClientResponse, on_close: Callable[[], None]) -> None:
        """`on_close` is called once."""
        self.member = member
        self._answer, self._on_close = answer, on_close
        self._is_open = True

    async def line(self) -> bytes:
        """Return the next line.  Raises Lost, at the end too."""
        try:
            line = await self._answer.content.readline()
        except (*_FAILURES, ValueError) as wrong:
            raise Lost(str(wrong)) from None
        if not line:
            raise Lost("it has ended")
        return line

    def close(self) -> None:
        """End it, for who waits for a line too."""
        if self._is_open:
            self._is_open = False
            self._answer.close()
            self._on_close()


class _Session:
    """Connections with one set of certificates."""

    def __init__(self, http: aiohttp.ClientSession, files: list[Signature]) -> None:
        self.http, self.files, self.users = http, files, 0


class Connections:
    """Those to all members; belongs to one event loop."""

    def __init__(self, login: Login, seconds: float) -> None:
        """`seconds` is how long a member has for an answer."""
        self._login = login
        self._seconds = seconds
        self._session: _Session | None = None
        self._retired: set[_Session] = set()
        """Those with older certificates that are in use."""
        self._closing: set[asyncio.Future[None]] = set()
        self._has_failed = False
        """Whether certificates may have to be read again."""
        self._turn = asyncio.Lock()
        self._token = ""
        self._logins: dict[str, asyncio.Task[str]] = {}
        self._trouble = LogOnChange()

    async def close(self) -> None:
        """End all connections."""
        sessions, self._session = {self._session, *self._retired}, None
        self._retired.clear()
        for session in sessions:
            if session is not None:
                await session.http.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def post(
        self, member: str, path: str, body: bytes, *, is_read: bool, seconds: float | None = None
    ) -> Answer:
        """Return what a member says, with a new token if it wants one; `seconds`: it has no more time.

        Raises NotReached, Refused (of the user), Lost, TooLarge.
        """
        token = await self._token_of(member)
        try:
            answer = await self._post(member, path, body, token, seconds)
        except Cut:
            if not is_read:
                raise
            answer = await self._post(member, path, body, token, seconds)
        if answer.status != 200 and self._forget(token, read_failed(answer.octets, answer.status).message):
            answer = await self._post(member, path, body, await self._token_of(member), seconds)
        return answer

    async def open(self, member: str, path: str, body: bytes, seconds: float) -> Stream:
        """Begin a request whose answer does not end.  Raises NotReached, Lost, Refused."""
        token = await self._token_of(member)
        try:
            return await self._open(member, path, body, token, seconds)
        except Cut:
            return await self._open(member, path, body, token, seconds)

    async def _open(
        self, member: str, path: str, body: bytes, token: str, seconds: float, *, is_again: bool = False
    ) -> Stream:
        options: Any = {"timeout": aiohttp.ClientTimeout(None), "read_bufsize": LARGEST_ANSWER // 2}
        session = await self._taken()
        try:
            async with asyncio.timeout(seconds):
                url = member + path
                answer = await session.http.post(url, data=body, headers=_headers(token), **options)
                if answer.status != 200:
                    raise Refused(read_failed(await _read(answer), answer.status))
        except BaseException as wrong:
            self._give_back(session)
            if not isinstance(wrong, _FAILURES):
                raise
            failed = await self._failed(wrong)
            if is_again or not await self._may_be_renewed(failed, session):
                raise failed from None
            return await self._open(member, path, body, token, seconds, is_again=True)
        return Stream(member, answer, lambda: self._give_back(session))

    def refuse_token(self, why: str, *, is_watch: bool) -> bool:
        """Have the token asked for again, if a refusal may be due to it; return whether it may.

        Of a watch, etcd 3.4 says "permission denied" for a token that it does not know.
        """
        if is_watch and "permission denied" in why and self._token:
            self._token = ""
            return True
        return self._forget(self._token, why)

    async def _post(
        self,
        member: str,
        path: str,
        body: bytes,
        token: str,
        seconds: float | None = None,
        *,
        is_again: bool = False,
    ) -> Answer:
        session, within = await self._taken(), min(self._seconds, seconds or self._seconds)
        timeout = aiohttp.ClientTimeout(within, connect=min(CONNECT_SECONDS, within))
        try:
            async with session.http.post(
                member + path, data=body, timeout=timeout, headers=_headers(token)
            ) as answer:
                return Answer(answer.status, await _read(answer))
        except _FAILURES as wrong:
            failed = await self._failed(wrong)
        finally:
            self._give_back(session)
        if is_again or not await self._may_be_renewed(failed, session):
            raise failed
        return await self._post(member, path, body, token, seconds, is_again=True)

    async def _may_be_renewed(self, failed: NotReached | Lost, session: _Session) -> bool:
        """Return whether files have changed since, so that what was not sent may be taken now."""
        is_closed = self._session is None
        return isinstance(failed, NotReached) and not is_closed and await self._newest() is not session

    async def _failed(self, wrong: Exception) -> NotReached | Lost:
        self._has_failed = True
        text = _words(wrong)
        if any(words in text for words in _OF_CERTIFICATES):
            return NotReached(await self._certificate_trouble() or text)
        if isinstance(wrong, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            return NotReached(text)
        if isinstance(wrong, _CUTS):  # a member may hang up before its alert is read
            return Cut(await self._certificate_trouble() or text)
        return Lost(text)

    async def _certificate_trouble(self) -> str:
        return await asyncio.to_thread(self._login.certificate_trouble)

    async def _token_of(self, member: str) -> str:
        """Return the token, "" without a user; a member is asked once at a time.  As `open`."""
        if self._token or not self._login.user:
            return self._token
        task = self._logins.get(member)
        if task is None:
            task = self._logins[member] = asyncio.ensure_future(self._authenticate(member))
            task.add_done_callback(lambda done: self._authenticated(member, done))
        return await asyncio.shield(task)

    def _authenticated(self, member: str, done: asyncio.Task[str]) -> None:
        del self._logins[member]
        if not done.cancelled() and done.exception() is None:
            self._token = done.result()

    async def _authenticate(self, member: str) -> str:
        try:
            password = await asyncio.to_thread(self._login.password)
        except (OSError, ValueError) as wrong:
            raise NotReached(f"store.etcd_password_file can't be read: {wrong}") from None
        body = messages.encode({"name": self._login.user, "password": password})
        try:
            answer = await self._post(member, "/v3/auth/authenticate", body, "")
        except (Lost, TooLarge) as lost:
            raise NotReached(str(lost)) from None
        if answer.status != 200:
            raise Refused(read_failed(answer.octets, answer.status))
        try:
            return messages.read_token(answer.octets)
        except messages.DecodeError as wrong:
            raise NotReached(f"no token: {wrong}") from None

    def _forget(self, token: str, why: str) -> bool:
        """Have a token asked for again that was refused; return whether there may be another."""
        if not self._login.user or not wants_token(why):
            return False
        if self._token == token:
            self._token = ""
        return True

    async def _taken(self) -> _Session:
        """Return the connections for one request."""
        session = self._session
        if session is None or self._has_failed:
            session = await self._newest()
        session.users += 1
        return session

    def _give_back(self, session: _Session) -> None:
        session.users -= 1
        if not session.users and session is not self._session:
            self._retired.discard(session)
            closing = asyncio.ensure_future(session.http.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _newest(self) -> _Session:
        """Return connections with the certificates as they are now, the old where they can't be read."""
        async with self._turn:
            files = await asyncio.to_thread(self._login.signatures)
            old, self._has_failed = self._session, False
            if old is not None and old.files == files:
                return old
            try:
                context = await asyncio.to_thread(self._login.context)
            except (OSError, ssl.SSLError, ValueError) as wrong:
                self._has_failed = True
                if old is None:
                    raise NotReached(f"the certificates of store.etcd_* can't be read: {wrong}") from None
                if self._trouble.is_new(str(wrong)):
                    logger.warning("certificates for etcd can't be read, the old ones are used: %s", wrong)
                return old
            self._session = _Session(_http(context), files)
            if old is not None and old.users:
                self._retired.add(old)
            elif old is not None:
                await old.http.close()
            return self._session


def _http(context: ssl.SSLContext | None) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(ssl=context if context is not None else True, socket_factory=_socket)
    return aiohttp.ClientSession(connector=connector, trust_env=False)


def _socket(info: Any) -> socket.socket:
    """Return a socket on which a peer that is gone is noticed, also where nothing is said for long."""
    made = socket.socket(*info[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made


def _words(wrong: Exception) -> str:
    if isinstance(wrong, aiohttp.ClientConnectorError) and not isinstance(wrong, aiohttp.ClientSSLError):
        number = wrong.os_error.errno
        text = os.strerror(number) if number and number in errno.errorcode else wrong.os_error.strerror
        return (text or str(wrong)).lower()
    return str(wrong) or "no answer in time"


def _headers(token: str) -> dict[str, str]:
    return {**_HAS_LEADER, "Authorization": token} if token else _HAS_LEADER


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Return the whole of an answer.  Raises TooLarge."""
    pieces, size = [], 0
    async for piece in answer.content.iter_any():
        size += len(piece)
        if size > LARGEST_ANSWER:
            answer.close()
            raise TooLarge(f"an answer of more than {LARGEST_ANSWER >> 20} MiB")
        pieces.append(piece)
    return b"".join(pieces)
