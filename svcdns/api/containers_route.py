"""GET /svcdns/v1/containers: which containers of which engines are registered, and why others are not.

    {"engines": [{"engine": "docker", "up": true, ...}], "containers": [{"container": "shop-db-1", ...}]}

It shows containers of all namespaces, so it is for who may read the metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from .responses import json_answer

PATH = "/svcdns/v1/containers"

Containers = Callable[[], dict[str, Any]]
"""Returns the page as JSON's values."""


def none() -> dict[str, Any]:
    """Return the page of a server without engines."""
    return {"engines": [], "containers": []}


async def answer(request: web.Request, containers: Containers) -> web.Response:
    """Return the page."""
    return json_answer(request, msgspec.json.encode(await asyncio.to_thread(containers)))
