"""Replicas that share the registry: who lives, and waiting until all show a write.

    GET /svcdns/v1/replicas      {"name": "5f0c...", "replicas": [{"name": "5f0c...", "host": "a", ...}, ...]}
    POST ...?waitFor=all         any write: it is answered when all replicas that live show it

A wait that is not over in SECONDS is given up: the write has succeeded, and a Warning names who is behind.  A
server whose registry is its own has no replicas, and nobody to wait for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from aiohttp import web

from svcdns.objects.errors import bad_request

from .paths import READ
from .responses import json_answer, with_warnings

if TYPE_CHECKING:
    from svcdns.registry.replicated import Sharing

PATH = "/svcdns/v1/replicas"
PARAMETER = "waitFor"
SECONDS = 2.0


class Replicas(NamedTuple):
    """What is known of them, and waiting for them."""

    sharing: Callable[[], Sharing | None]
    """How it stands with etcd, None where the registry is this server's own."""
    behind: Callable[[float], Awaitable[list[str]]]
    """Waits at most for some seconds, and returns which replicas are behind this one then."""


def answer(request: web.Request, replicas: Replicas) -> web.Response:
    """Return the page."""
    sharing = replicas.sharing()
    living = sorted(sharing.living.items()) if sharing is not None else []
    shown = [
        {"name": name, "host": said.host, "revision": said.revision, "stuck": said.stuck}
        for name, said in living
    ]
    name = sharing.name if sharing is not None else ""
    return json_answer(request, msgspec.json.encode({"name": name, "replicas": shown}))


def asked(request: web.Request) -> bool:
    """Return whether a write is to wait for all replicas.  Raises StatusError 400."""
    given = request.query.get(PARAMETER)
    if given is None or request.method in READ:
        return False
    if given != "all":
        raise bad_request(f"{PARAMETER}: {given!r:.80} is unknown; the only value allowed is all")
    return True


async def wait_beside(answer: web.StreamResponse, replicas: Replicas) -> None:
    """Hold the answer of a write back until every replica shows it; else it gets a Warning."""
    if not 200 <= answer.status < 300 or not (names := await replicas.behind(SECONDS)):
        return
    text = f"not all replicas show this yet, after {SECONDS:g} s: behind is {', '.join(names)}"
    with_warnings(answer, [text])
