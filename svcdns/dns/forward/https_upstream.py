"""An upstream over HTTPS (RFC 8484): POST over HTTP/2, by httpx.

* The connection is kept.  httpx notices only when it is used that the server has closed it, so what
  fails on one that has served before is asked once more.
* After a time-out during which nothing at all came, the next queries go over new connections.
* httpx' transport is used without its client: no cookies, no redirects, no proxies of the environment.
* The ID is 0, as caches like it (section 4.1).  A reply that a cache has kept has aged (section 5.1).

Imported only where there is such an upstream: httpx and h2 are much code.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

import httpx

from .ask import Ask, Received
from .query import message
from .received import Garbage, read
from .spec import Spec
from .upstream import NoReply, why

_TYPE = "application/dns-message"
_MAX_OCTETS = 65535
_LIMITS = httpx.Limits(max_connections=8, max_keepalive_connections=8, keepalive_expiry=30.0)


class HttpsUpstream:
    """See svcdns.dns.forward.upstream.Upstream."""

    def __init__(self, spec: Spec, tls: ssl.SSLContext) -> None:
        """The certificate has to be for the host of the URL, wherever it is connected to."""
        self.name = str(spec)
        self.garbage = 0
        self._tls = tls
        authority = spec.url.removeprefix("https://").partition("/")[0]
        url = httpx.URL(spec.url)
        self._url = url.copy_with(host=spec.connect) if spec.connect else url
        self._headers = {
            "host": authority,
            "accept": _TYPE,
            "content-type": _TYPE,
            "accept-encoding": "identity",
        }
        self._extensions = {"sni_hostname": spec.host}
        self._session = _Session(tls)
        self._sessions = {self._session}
        self._closed = False

    async def exchange(self, ask: Ask, seconds: float) -> Received:
        """Ask once and return the reply.  Raises NoReply, after `seconds` at most."""
        if self._closed:
            raise NoReply("it was closed")
        session = self._session
        replies = session.replies
        session.under_way += 1
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(session, ask)
        except TimeoutError:
            if session.replies == replies and session is self._session and not self._closed:
                self._session = _Session(self._tls)
                self._sessions.add(self._session)
            raise NoReply("no reply in time") from None
        except NoReply:
            raise
        except Exception as wrong:  # httpx has its own errors, and lets those of the libraries below through
            raise NoReply("it was closed" if self._closed else _why(wrong)) from None
        finally:
            session.under_way -= 1
            if session is not self._session and not session.under_way:
                self._sessions.discard(session)
                await session.transport.aclose()

    async def close(self) -> None:
        """Close all connections; what is under way gets NoReply."""
        self._closed = True
        for session in list(self._sessions):
            await session.transport.aclose()

    async def _ask(self, session: _Session, ask: Ask) -> Received:
        try:
            return await self._post(session, ask)
        except (httpx.NetworkError, httpx.ProtocolError) as wrong:
            if not session.replies or isinstance(wrong, httpx.ConnectError):
                raise
        return await self._post(session, ask)

    async def _post(self, session: _Session, ask: Ask) -> Received:
        request = httpx.Request(
            "POST", self._url, headers=self._headers, content=message(ask, 0), extensions=self._extensions
        )
        response = await session.transport.handle_async_request(request)
        try:
            wire = await _body(response)
        finally:
            await response.aclose()
        session.replies += 1
        try:
            received = read(wire, ask, 0)
        except Garbage as wrong:
            self.garbage += 1
            raise NoReply(f"its reply is garbage: {wrong}") from None
        age = response.headers.get("age", "")
        return _aged(received, int(age)) if age.isascii() and age.isdigit() and len(age) < 10 else received


class _Session:
    """Connections that live and die together."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.transport = httpx.AsyncHTTPTransport(verify=tls, http2=True, limits=_LIMITS, trust_env=False)
        self.under_way = 0
        self.replies = 0


async def _body(response: httpx.Response) -> bytes:
    """Return the message of a response.  Raises NoReply."""
    if response.status_code != 200:
        raise NoReply(f"HTTP status {response.status_code}")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _TYPE or "content-encoding" in response.headers:
        raise NoReply(f"its HTTP reply is of type {kind[:40]!r}, not {_TYPE}")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > _MAX_OCTETS:
            raise NoReply(f"its HTTP reply has more than {_MAX_OCTETS} octets")
    return bytes(body)


def _aged(received: Received, age: int) -> Received:
    """Return a reply that an HTTP cache has held for `age` seconds, its TTLs counted down."""
    if not age:
        return received
    wire = bytearray(received.wire)
    for at in received.ttl_at:
        wire[at : at + 4] = max(int.from_bytes(wire[at : at + 4]) - age, 0).to_bytes(4)
    lifetime = None if received.lifetime is None else max(received.lifetime - age, 0)
    return replace(received, wire=bytes(wire), lifetime=lifetime)


def _why(wrong: BaseException) -> str:
    """Return the words of the error at the bottom: httpx wraps those of the system and of TLS."""
    at: BaseException | None = wrong
    while at is not None:
        if isinstance(at, OSError):
            return why(at)
        at = at.__cause__ or at.__context__
    return why(wrong)
