"""An API that says what a test has it say: lists, and watches that end as the test likes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Object = dict[str, Any]
GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}


@dataclass
class ScriptedApi:
    """Objects by their plural; watches take what `send` puts in."""

    objects: dict[str, list[Object]] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)
    """Plurals, as they were listed."""
    watched: list[tuple[str, str]] = field(default_factory=list)
    """(plural, revision), as watches began."""
    answer: Callable[[str], web.Response | None] = lambda plural: None
    """What a list is answered with instead."""
    url: str = ""
    _open: dict[str, asyncio.Queue[bytes | None]] = field(default_factory=dict)

    def send(self, plural: str, *events: Object | bytes) -> None:
        """Send events (or octets as they are) on the watch of a kind."""
        octets = [one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in events]
        self._open[plural].put_nowait(b"".join(octets))

    def end(self, plural: str) -> None:
        """End the watch in order."""
        self._open[plural].put_nowait(None)

    def cut(self, plural: str) -> None:
        """Cut the watch's connection."""
        self._open[plural].put_nowait(b"cut")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        plural = request.path.rpartition("/")[2]
        if "watch" in request.query:
            return await self._watch(request, plural)
        self.lists.append(plural)
        if (instead := self.answer(plural)) is not None:
            return instead
        return web.json_response(
            {"metadata": {"resourceVersion": "100"}, "items": self.objects.get(plural, [])}
        )

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._open[plural] = queue = asyncio.Queue()
        self.watched.append((plural, request.query["resourceVersion"]))
        while (octets := await queue.get()) is not None:
            if octets == b"cut":
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(octets)
        return response


@asynccontextmanager
async def scripted_api() -> AsyncIterator[ScriptedApi]:
    """Serve one on a port that the kernel chooses."""
    api = ScriptedApi()
    app = web.Application()
    app.router.add_get("/{rest:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api
    finally:
        await runner.cleanup()
