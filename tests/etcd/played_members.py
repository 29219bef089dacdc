"""Members of etcd that a test plays: each answers any request as a function of the test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Played:
    """A member, and how often it was asked for what."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []


@contextlib.asynccontextmanager
async def played(*answers: Handler) -> AsyncIterator[list[Played]]:
    """Give one member for each of these."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(one_played(answer)) for answer in answers]


@contextlib.asynccontextmanager
async def one_played(answer: Handler) -> AsyncIterator[Played]:
    member = Played("")

    async def noted(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.BaseRequest)
        member.asked.append(request.path)
        return await answer(request)  # type: ignore[arg-type]

    runner = web.ServerRunner(web.Server(noted), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    member.url = f"http://{host}:{port}"
    try:
        yield member
    finally:
        await runner.cleanup()


async def good(request: web.Request) -> web.StreamResponse:
    return web.json_response({"header": {"revision": "7"}, "succeeded": True, "token": "t"})


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def babbles(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>welcome</html>")


def refuses(message: str, code: int = 14, status: int = 503) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": message, "message": message, "code": code}, status=status)

    return answer
