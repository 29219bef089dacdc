"""Members of etcd that a test plays: they answer, hang, hang up, refuse, or say what is no answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

RANGE, TXN, STATUS = "/v3/kv/range", "/v3/kv/txn", "/v3/maintenance/status"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Played:
    """A member, and how often it was asked for what."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []

    def times(self, path: str) -> int:
        """Return how often it was asked for this: whether it lives it is asked beside that."""
        return self.asked.count(path)


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


def good_of(cluster: int) -> Handler:
    """Return what answers well, as a member of some cluster."""

    async def answer(request: web.Request) -> web.StreamResponse:
        header = {"revision": "7", "cluster_id": str(cluster)}
        return web.json_response({"header": header, "succeeded": True, "token": "t"})

    return answer


good = good_of(1)


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def babbles(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>welcome</html>")


def of_keys(bad: Handler) -> Handler:
    """Return what answers requests of keys so, and others well."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (bad if request.path.startswith("/v3/kv/") else good)(request)

    return answer


def refuses(message: str, code: int = 14, status: int = 503) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": message, "message": message, "code": code}, status=status)

    return answer


def watched_of(cluster: int) -> Handler:
    """Return what gives one change to who watches, and then nothing more."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.path:
            return await hangs(request)
        answer = web.StreamResponse()
        await answer.prepare(request)
        header = b'"header":{"cluster_id":"%d","revision":"9"}' % cluster
        await answer.write(b'{"result":{%s,"created":true}}\n' % header)
        event = b'{"kv":{"key":"YQ==","mod_revision":"3"}}'
        await answer.write(b'{"result":{%s,"events":[%s]}}\n' % (header, event))
        return await hangs(request)

    return answer


watched = watched_of(1)
