"""GET /svcdns/v1/status: what the server is and holds, on one page.

It shows the names of zones and upstreams and counts of all namespaces, so it is for who may read the metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from .responses import json_answer

PATH = "/svcdns/v1/status"

Overview = Callable[[], dict[str, Any]]
"""Returns the page as JSON's values; takes a moment where there are many objects."""


async def answer(request: web.Request, overview: Overview) -> web.Response:
    """Return the page."""
    return json_answer(request, msgspec.json.encode(await asyncio.to_thread(overview)))
