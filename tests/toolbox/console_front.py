"""A reverse proxy in front of a server, as a site may have one: all of the API, below a path of its own.

`down` has it close each connection without an answer, as where the API is away; `refuse_streams` answers 429
to those who want a stream, `forbidden` 403 to those who ask for a path.

Rules: everything else is the server's own: its files with their headers, its stream, its session.
"""

import asyncio
import threading
from pathlib import Path
from typing import Self

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, web
from toolbox.running_server import SOURCE
from toolbox.waiting import GUARD_SECONDS

STATIC = SOURCE / "svcdns" / "console" / "static"
_HOP_BY_HOP = {"transfer-encoding", "content-length", "connection", "keep-alive"}


class ConsoleFront:
    """Serves `api` (a URL) below `prefix`, on a port that the kernel chooses; a context manager."""

    def __init__(self, api: str, prefix: str = "") -> None:
        self._api, self._prefix = api, prefix
        self.down = self.refuse_streams = False
        self.forbidden: set[str] = set()
        """Paths that answer 403."""
        self.streams = 0
        """Streams that are open."""
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self._prefix}/console/"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(GUARD_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(GUARD_SECONDS)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]
        options = {"timeout": ClientTimeout(None), "cookie_jar": DummyCookieJar(), "auto_decompress": False}
        async with ClientSession(**options) as self._session:
            self._started.set()
            await self._end.wait()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(self._prefix)
        if self.down:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if path in self.forbidden:
            return web.json_response({"message": f"you may not list {path}"}, status=403)
        if path != "/svcdns/v1/stream":
            return await self._pass_on(request, path)
        if self.refuse_streams:
            return web.json_response({"message": "too many streams"}, status=429)
        self.streams += 1
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(
                    self._until_down(passing := asyncio.ensure_future(self._pass_on(request, path)))
                )
                return await passing
        finally:
            self.streams -= 1

    async def _pass_on(self, request: web.Request, path: str) -> web.StreamResponse:
        url = f"{self._api}{path}?{request.query_string}"
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_BY_HOP}
        body = await request.read()
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False
        ) as said:
            answer = web.StreamResponse(status=said.status)
            for key, value in said.headers.items():
                if key.lower() not in _HOP_BY_HOP:
                    answer.headers.add(key, value)
            await answer.prepare(request)
            async for octets in said.content.iter_any():
                await answer.write(octets)
            return answer

    async def _until_down(self, passing: asyncio.Task[web.StreamResponse]) -> None:
        while not passing.done():
            await asyncio.wait({passing}, timeout=0.05)
            if self.down:
                passing.cancel()


def static_files() -> list[Path]:
    """Return all files of the console."""
    return sorted(file for file in STATIC.rglob("*") if file.is_file())
