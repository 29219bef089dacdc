"""HTTP probes, by aiohttp: a GET of the Pod's own address, judged as the kubelet judges it.

Rules: a status from 200 to 399 is success; certificates are not verified; a redirect is followed as long as
it stays on the Pod's address, any other is a success that leads nowhere; nothing is kept between two probes,
no connection and no cookie, and the body is not read.
"""

from __future__ import annotations

from ipaddress import ip_address
from types import TracebackType
from typing import Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from svcdns import __version__

from .specs import HttpGet
from .verdicts import Outcome

_MOST_REDIRECTS = 10
_PATH_SAFE = "/?&=%:@!$'()*+,;~-._[]"
_HEADERS = {"User-Agent": f"kube-probe/svcdns-{__version__}", "Accept": "*/*", "Connection": "close"}


class HttpChecker:
    """Runs HTTP probes; made and used in one event loop."""

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(force_close=True, limit=0, ssl=False, use_dns_cache=False)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def check(self, probe: HttpGet, address: str) -> Outcome:
        """Probe once; the caller bounds the time.  What goes wrong is the outcome."""
        try:
            return await self._follow(probe, address)
        except aiohttp.ClientConnectorError as wrong:
            return Outcome(False, f"{_where(probe, address)}: {wrong.strerror or wrong}".lower())
        except (aiohttp.ClientError, ValueError, OSError) as wrong:
            return Outcome(False, f"{_where(probe, address)}: {wrong or type(wrong).__name__}")

    async def _follow(self, probe: HttpGet, address: str) -> Outcome:
        url = _url(probe, address)
        headers = _headers(probe)
        for _ in range(_MOST_REDIRECTS):
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                status, location = answer.status, answer.headers.get("Location", "")
            if not 300 <= status < 400 or not location:
                break
            following = url.join(URL(location))
            if following.scheme not in ("http", "https") or not _is_at(following, address):
                return Outcome(True, f"redirected to {following.host or location}, which is not followed")
            url = following
        else:
            return Outcome(False, f"{_where(probe, address)}: stopped after {_MOST_REDIRECTS} redirects")
        text = (
            f"HTTP status {status} from {url.scheme}://{_bracketed(address)}:{url.port}{url.raw_path[:100]}"
        )
        return Outcome(200 <= status < 400, text)


def _url(probe: HttpGet, address: str) -> URL:
    path = quote(probe.path, safe=_PATH_SAFE)
    return URL(f"{probe.scheme}://{_bracketed(address)}:{probe.port}{path}", encoded=True)


def _headers(probe: HttpGet) -> list[tuple[str, str]]:
    """Return the headers: those given win over ours, and an empty one leaves ours out."""
    given = {name.lower(): value for name, value in probe.headers}
    ours = [(name, value) for name, value in _HEADERS.items() if name.lower() not in given]
    host = [("Host", probe.host)] if probe.host else []
    return [*ours, *host, *((name, value) for name, value in probe.headers if value)]


def _is_at(url: URL, address: str) -> bool:
    try:
        return ip_address(url.host or "") == ip_address(address)
    except ValueError:
        return False


def _where(probe: HttpGet, address: str) -> str:
    return f"{probe.scheme}://{_bracketed(address)}:{probe.port}{probe.path[:100]}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
