"""An upstream over HTTPS (RFC 8484): POST over HTTP/2 (HTTP/1.1 where it must be), by httpcore.

* Connections are kept.  httpcore notices only when it uses one that the upstream has closed it, so what
  is lost on connections that have served before is asked once more.
* After a time-out during which nothing at all came, the next queries go over new connections.
* httpcore is what httpx stands on: no cookies, redirects or proxies of the environment to switch off.
* The ID is 0, as HTTP caches like it (section 4.1).  A reply that such a cache has kept has aged
  (section 5.1).

Imported only where there is such an upstream: httpcore and h2 are much code.
"""

from __future__ import annotations

import asyncio
import ssl

import httpcore
from msgspec.structs import replace

from svcdns.config.upstream_spec import Spec
from svcdns.wire.garbage import Garbage, Unusable
from svcdns.wire.query import Query, encode_query
from svcdns.wire.response import Response, read

from .https_network import Network
from .upstream import NoReply, UselessReply, no_reply

_TYPE = b"application/dns-message"
_MAX_OCTETS = 65535
_CONNECTIONS = 8
"""HTTP/2 takes one for some hundred queries at a time."""
_IDLE_SECONDS = 30.0
_LOST = (OSError, EOFError, httpcore.NetworkError, httpcore.ProtocolError)


class HttpsUpstream:
    """See svcdns.forward.upstreams.upstream.Upstream."""

    def __init__(self, spec: Spec, tls: ssl.SSLContext) -> None:
        """The certificate has to be for the host of the URL, wherever it is connected to."""
        self.name = str(spec)
        self.garbage = 0
        self._tls = tls
        self._url = spec.url
        self._place = (spec.connect or spec.host, spec.port)
        authority = spec.url.removeprefix("https://").partition("/")[0]
        self._headers = [(b"host", authority.encode()), (b"accept", _TYPE), (b"content-type", _TYPE)]
        self._session = _Session(tls, self._place)
        self._sessions = {self._session}
        self._timeouts: set[asyncio.Timeout] = set()
        self._closed = False

    async def exchange(self, query: Query, seconds: float) -> Response:
        """Ask once and return the reply.  Raises NoReply, after `seconds` at most."""
        if self._closed:
            raise NoReply("it was closed")
        session = self._session
        replies = session.replies
        session.under_way += 1
        timeout = asyncio.timeout(seconds)
        self._timeouts.add(timeout)
        try:
            async with timeout:
                return await self._ask(session, query)
        except NoReply:
            raise
        except TimeoutError:
            if session.replies == replies and session is self._session and not self._closed:
                self._session = _Session(self._tls, self._place)
                self._sessions.add(self._session)
            raise NoReply("it was closed" if self._closed else "no reply in time") from None
        except Exception as wrong:  # of httpcore, and of what lies below it
            raise (NoReply("it was closed") if self._closed else no_reply(wrong)) from None
        finally:
            self._timeouts.discard(timeout)
            session.under_way -= 1
            if session is not self._session and not session.under_way:
                self._sessions.discard(session)
                await session.pool.aclose()

    async def close(self) -> None:
        """Close all connections; what is under way gets NoReply."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        for timeout in self._timeouts:
            timeout.reschedule(now)
        for session in list(self._sessions):
            await session.pool.aclose()

    async def _ask(self, session: _Session, query: Query) -> Response:
        try:
            return await self._post(session, query)
        except _LOST:
            if not session.replies:
                raise
        return await self._post(session, query)

    async def _post(self, session: _Session, query: Query) -> Response:
        body = encode_query(query, 0, padded=True)
        headers = [*self._headers, (b"content-length", str(len(body)).encode())]
        async with session.pool.stream("POST", self._url, headers=headers, content=body) as http:
            wire = await _body(http)
        session.replies += 1
        try:
            response = read(wire, query, 0)
        except Garbage as wrong:
            self.garbage += 1
            kind = UselessReply if isinstance(wrong, Unusable) else NoReply
            raise kind(f"its reply is garbage: {wrong}") from None
        age = _header(http, b"age")
        return _aged(response, int(age)) if age.isdigit() and len(age) < 10 else response


class _Session:
    """Connections that live and die together."""

    def __init__(self, tls: ssl.SSLContext, place: tuple[str, int]) -> None:
        self.pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            http2=True,
            max_connections=_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=Network(*place),
        )
        self.under_way = 0
        self.replies = 0


def _header(http: httpcore.Response, name: bytes) -> bytes:
    return next((value for key, value in http.headers if key.lower() == name), b"")


async def _body(http: httpcore.Response) -> bytes:
    """Return the message of an HTTP response.  Raises NoReply."""
    if http.status != 200:
        raise NoReply(f"HTTP status {http.status}")
    kind = _header(http, b"content-type").partition(b";")[0].strip().lower()
    if kind != _TYPE or _header(http, b"content-encoding"):
        raise NoReply(f"its HTTP reply is of type {kind[:40].decode('latin-1')!r}, not {_TYPE.decode()}")
    body = bytearray()
    async for part in http.aiter_stream():
        body += part
        if len(body) > _MAX_OCTETS:
            raise NoReply(f"its HTTP reply has more than {_MAX_OCTETS} octets")
    return bytes(body)


def _aged(response: Response, age: int) -> Response:
    """Return a reply that an HTTP cache has held for `age` seconds, its TTLs counted down."""
    wire = bytearray(response.wire)
    for at in response.ttl_at:
        wire[at : at + 4] = max(int.from_bytes(wire[at : at + 4]) - age, 0).to_bytes(4)
    lifetime = None if response.lifetime is None else max(response.lifetime - age, 0)
    return replace(response, wire=bytes(wire), lifetime=lifetime)
