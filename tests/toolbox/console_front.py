"""The console in front of a server: its files under PREFIX/console/, its stream, all else as the API says it.

A reverse proxy, as a site may have one.  It sends the headers that the console is to be served with, so that a
browser enforces them in tests, and makes the one stream of the API's own watches.  `down` has it close each
connection without an answer, as where the API is away; `refuse_streams` answers 429 to those who want one;
`token` makes it ask for a login.

Rules: a browser's reports are read in the test; nothing is cached here, and nothing is decided that the page decides.
"""

import asyncio
import json
import mimetypes
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession, ClientTimeout, web

from toolbox.running_server import SOURCE
from toolbox.waiting import GUARD_SECONDS

STATIC = SOURCE / "svcdns" / "console" / "static"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
PATHS = {
    "services": ("/api/v1", "services"),
    "pods": ("/api/v1", "pods"),
    "events": ("/api/v1", "events"),
    "endpointslices": ("/apis/discovery.k8s.io/v1", "endpointslices"),
}
_HOP_BY_HOP = {"transfer-encoding", "content-length", "connection", "content-encoding", "keep-alive"}


class ConsoleFront:
    """Serves the console of `api` (a URL) on a port that the kernel chooses; a context manager."""

    def __init__(self, api: str, prefix: str = "") -> None:
        self._api, self._prefix = api, prefix
        self.down = self.refuse_streams = False
        self.token = ""
        self.forbidden: set[str] = set()
        """Paths that answer 403."""
        self.streams = 0
        """Streams that are open."""
        self.asked: list[str] = []
        """Paths of the API that were asked for."""
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
        async with ClientSession(timeout=ClientTimeout(None)) as self._session:
            self._started.set()
            await self._end.wait()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(self._prefix)
        if path == "/console/session" and request.method == "POST":
            if (await request.json())["token"] != self.token:
                return web.json_response({"message": "no such token"}, status=401)
            answer = web.json_response({})
            answer.set_cookie("svcdns", "session", httponly=True, samesite="Strict")
            return answer
        if path.startswith("/console/"):
            return self._file(path.removeprefix("/console/") or "index.html")
        if self.down:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        self.asked.append(request.path_qs)
        if self.token and request.cookies.get("svcdns") != "session":
            return web.json_response({"message": "Unauthorized"}, status=401)
        if path in self.forbidden:
            return web.json_response({"message": f"you may not list {path}"}, status=403)
        if path == "/svcdns/v1/stream":
            return await self._stream(request)
        return await self._pass_on(request, path)

    def _file(self, name: str) -> web.Response:
        file = (STATIC / name).resolve()
        if STATIC not in file.parents or not file.is_file():
            return web.Response(status=404)
        kind = "text/javascript" if file.suffix == ".mjs" else mimetypes.guess_type(file.name)[0]
        return web.Response(body=file.read_bytes(), content_type=kind, headers=HEADERS)

    async def _pass_on(self, request: web.Request, path: str) -> web.StreamResponse:
        url = f"{self._api}{path}?{request.query_string}"
        async with self._session.get(url, headers={"Accept": request.headers["Accept"]}) as said:
            headers = {key: value for key, value in said.headers.items() if key.lower() not in _HOP_BY_HOP}
            answer = web.StreamResponse(status=said.status, headers=headers)
            await answer.prepare(request)
            async for octets in said.content.iter_any():
                await answer.write(octets)
            return answer

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_streams:
            return web.json_response({"message": "too many streams"}, status=429)
        answer = web.StreamResponse(headers={"Content-Type": "application/jsonl", "Cache-Control": "no-store"})
        await answer.prepare(request)
        kinds, namespace = request.query["kinds"].split(","), request.query.get("namespace")
        self.streams += 1
        try:
            listed = [await self._list(answer, kind, namespace) for kind in kinds]
            await _say(answer, "", "SYNCED", {"metadata": {"resourceVersion": listed[-1]}})
            async with asyncio.TaskGroup() as group:
                for kind, revision in zip(kinds, listed, strict=True):
                    group.create_task(self._watch(answer, kind, namespace, revision))
                group.create_task(self._until_down(answer))
        finally:
            self.streams -= 1
        return answer

    async def _list(self, answer: web.StreamResponse, kind: str, namespace: str | None) -> str:
        async with self._session.get(self._url(kind, namespace)) as said:
            found: dict[str, Any] = await said.json()
        lines = (json.dumps({"kind": kind, "type": "ADDED", "object": one}) for one in found["items"])
        await answer.write("".join(f"{line}\n" for line in lines).encode())
        return str(found["metadata"]["resourceVersion"])

    async def _watch(self, answer: web.StreamResponse, kind: str, namespace: str | None, revision: str) -> None:
        async for event in self._events(f"{self._url(kind, namespace)}?watch=1&resourceVersion={revision}"):
            await _say(answer, kind, event["type"], event["object"])

    async def _events(self, url: str) -> AsyncIterator[dict[str, Any]]:
        async with self._session.get(url) as said:
            rest = b""
            async for octets in said.content.iter_any():
                *lines, rest = (rest + octets).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    async def _until_down(self, answer: web.StreamResponse) -> None:
        while not self.down:
            await asyncio.sleep(0.05)
        raise ConnectionResetError

    def _url(self, kind: str, namespace: str | None) -> str:
        group, plural = PATHS[kind]
        return f"{self._api}{group}/{f'namespaces/{namespace}/' if namespace else ''}{plural}"


async def _say(answer: web.StreamResponse, kind: str, happened: str, what: Any) -> None:
    await answer.write(json.dumps({"kind": kind, "type": happened, "object": what}).encode() + b"\n")


def static_files() -> list[Path]:
    """Return all files of the console."""
    return sorted(file for file in STATIC.rglob("*") if file.is_file())
