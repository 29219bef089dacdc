"""DELETE /cache and DELETE /cache/NAME: forget forwarded answers, all or those at and below a name.

    {"flushed": 12}

NAME is a domain name in presentation format (RFC 1035 section 5.1), percent-encoded.  Once it is answered, no
worker answers from what was forgotten.  It is for administrators of all namespaces.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import msgspec
from aiohttp import web

from svcdns.objects.errors import StatusError, bad_request
from svcdns.wire.name import BadName
from svcdns.wire.presentation import key_of_text

from .paths import Action
from .responses import json_answer, method_not_allowed, no_such_path

PATH = "/cache"
METHODS = ("DELETE",)
FLUSHING = Action("delete", "svcdns.io", "cache")
"""What no role but admin may do, and that in all namespaces."""

Flush = Callable[[bytes], Awaitable[int]]
"""Forgets the answers whose keys begin so (b"": all); returns how many, raises StatusError."""


def is_at(path: str) -> bool:
    """Say whether a path is one of those that are answered here."""
    return path == PATH or path.startswith(PATH + "/")


async def answer(request: web.Request, path: str, flush: Flush | None) -> web.Response:
    """Forget answers.  Raises StatusError 400, 404, 405 and 503."""
    name = path.removeprefix(PATH).removeprefix("/")
    if "/" in name:
        raise no_such_path()
    if request.method not in METHODS:
        raise method_not_allowed()
    try:
        prefix = key_of_text(unquote(name)) if name else b""
    except BadName as wrong:
        raise bad_request(str(wrong)) from None
    if flush is None:
        raise StatusError(503, "ServiceUnavailable", "the cache can't be flushed: there is none")
    return json_answer(request, msgspec.json.encode({"flushed": await flush(prefix)}))
