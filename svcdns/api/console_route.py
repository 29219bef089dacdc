"""GET of / and below /console/: the console's files, with the headers that keep a page to itself.

A browser that opens / is led to the console; all places are relative, so that a reverse proxy may put the API
below a path of its own.  What a page shows it asks the API for, as any other client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from svcdns.console.files import HEADERS, INDEX, find

from . import plain_page
from .auth import session_route
from .auth.access_control import AccessControl
from .console_paths import PLAIN, ROOT, is_at, is_session
from .negotiation import accepts_gzip, media_types
from .paths import READ
from .responses import method_not_allowed, no_such_path

if TYPE_CHECKING:
    from svcdns.registry.registry import Registry

_HTML = "text/html"


class Console:
    """Answers for the console of one API."""

    def __init__(self, registry: Registry, access: AccessControl, enabled: bool) -> None:
        self._registry = registry
        self._access = access
        self._enabled = enabled

    def answers(self, request: web.Request, path: str) -> bool:
        """Say whether a path is the console's; / is where it is a browser that asks."""
        if path != "/":
            return self._enabled and is_at(path)
        wanted = media_types(request.headers.get("Accept", ""))
        return self._enabled and request.method in READ and _HTML in wanted

    async def answer(self, request: web.Request, path: str) -> web.Response:
        """Answer what `answers` says yes to.  Raises StatusError 400 to 429."""
        if is_session(path):
            return await session_route.answer(request, self._access)
        if path == PLAIN:
            return await plain_page.answer(request, self._registry, self._access.check_again)
        return _file(request, path)


def _file(request: web.Request, path: str) -> web.Response:
    """Answer with a file, or lead to the page.  Raises StatusError 404 and 405."""
    if request.method not in READ:
        raise method_not_allowed()
    asked = request.rel_url.raw_path
    if not is_at(path) or asked == ROOT:
        return _moved()
    name = asked.removeprefix(ROOT + "/")
    found = find(name or INDEX)
    if found is None:
        raise no_such_path()
    headers = {**HEADERS, "ETag": found.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if request.headers.get("If-None-Match") == found.tag:
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = found.content_type
    if not accepts_gzip(request.headers.get("Accept-Encoding", "")):
        return web.Response(body=found.octets, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return web.Response(body=found.compressed, headers=headers)


def _moved() -> web.Response:
    headers = {**HEADERS, "Location": "console/", "Vary": "Accept", "Cache-Control": "no-store"}
    return web.Response(status=302, headers=headers)
