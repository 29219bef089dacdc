"""GET /svcdns/v1/status: what the server is and holds, on one page.

It shows the names of zones and upstreams and counts of all namespaces, so it is for who may read the metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from aiohttp import web

from .proxies import Known, Proxies
from .responses import json_answer

PATH = "/svcdns/v1/status"
_SECONDS = 0.5
"""What a proxy that is there needs at most to say how far it is."""

Overview = Callable[[], dict[str, Any]]
"""Returns the page as JSON's values; takes a moment where there are many objects."""


async def answer(request: web.Request, overview: Overview, proxies: Proxies) -> web.Response:
    """Return the page; proxies have a moment to say how far they are."""
    known = await proxies.known(_SECONDS)
    page = await asyncio.to_thread(overview)
    page["proxies"] = list(_proxies(known, page.pop("nodes", {})))
    return json_answer(request, msgspec.json.encode(page))


def _proxies(known: Mapping[str, Known], nodes: Mapping[str, bool]) -> Iterator[dict[str, Any]]:
    """Yield the proxies that are there, or were; `nodes` says of each that has one whether that ended."""
    for node in sorted({*known, *nodes}):
        if (one := known.get(node)) is None:
            yield {"node": node, "state": "ended" if nodes[node] else "late"}
        else:
            engine, services = one.carries
            yield {
                "node": node,
                "state": "ready",
                "engine": engine,
                "services": services,
                "behind": one.behind,
            }
