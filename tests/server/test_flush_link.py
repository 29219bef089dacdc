"""The link by which the writer has the forwarder forget answers: what is asked, answered, and lost."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from toolbox.waiting import GUARD_SECONDS

from svcdns.objects.errors import StatusError
from svcdns.server.flush_link import FlushClient, FlushServer
from svcdns.server.sockets import link

Link = tuple[socket.socket, socket.socket]


class Cache:
    """What is flushed; an error is raised where there is one."""

    def __init__(self) -> None:
        self.flushed: list[bytes] = []
        self.error: Exception | None = None
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def flush(self, prefix: bytes) -> int:
        self.has_begun.set()
        await self.may_end.wait()
        if self.error:
            raise self.error
        self.flushed.append(prefix)
        return len(prefix)


@pytest.fixture
def ends() -> Iterator[Link]:
    """Give the writer's and the forwarder's end."""
    made = link()
    yield made
    for end in made:
        end.close()


@asynccontextmanager
async def serving(ends: Link, cache: Cache) -> Any:
    server = FlushServer(ends[1], cache.flush)
    server.start()
    try:
        yield
    finally:
        await server.stop()


def client_of(ends: Link | None, *, lives: bool = True, seconds: float = GUARD_SECONDS) -> FlushClient:
    return FlushClient(ends[0] if ends else None, lambda: lives, seconds)


async def refused(client: FlushClient) -> tuple[int, str]:
    with pytest.raises(StatusError) as caught:
        await client.flush(b"")
    return caught.value.code, caught.value.message.removeprefix("the cache can't be flushed: ")


async def test_each_who_asks_hears_of_their_own(ends: Link) -> None:
    cache, client = Cache(), client_of(ends)
    async with serving(ends, cache):
        prefixes = [b"", b"com\0", b"com\0example\0"] * 50
        assert await asyncio.gather(*map(client.flush, prefixes)) == list(map(len, prefixes))
        assert cache.flushed == prefixes


async def test_who_can_be_asked_at_all(ends: Link) -> None:
    nothing = (503, "nothing is forwarded, as upstreams in [forward] is empty")
    assert await refused(client_of(None)) == nothing
    assert await refused(client_of(ends, lives=False)) == (
        503,
        "the forwarder is not running; it is being started",
    )
    assert await refused(client_of(ends, seconds=0.05)) == (
        503,
        "the forwarder did not answer within 0.05 s",
    )


async def test_a_cache_that_fails_is_told_of_and_ends_nothing(ends: Link) -> None:
    cache, client = Cache(), client_of(ends)
    async with serving(ends, cache):
        cache.error = OSError("disk")
        assert await refused(client) == (500, "the server's log says more")
        cache.error = None
        assert await client.flush(b"x") == 1


async def test_what_was_asked_of_a_forwarder_that_died_is_for_the_next(ends: Link) -> None:
    cache, client = Cache(), client_of(ends)
    asking = asyncio.ensure_future(client.flush(b"x"))
    await asyncio.sleep(0)
    async with serving(ends, cache):
        assert await asking == 1


async def test_what_nobody_waits_for_any_more_is_not_done(ends: Link) -> None:
    cache = Cache()
    assert (await refused(client_of(ends, seconds=0.01)))[0] == 503
    async with serving(ends, cache):
        assert await client_of(ends).flush(b"new") == 3
    assert cache.flushed == [b"new"]


async def test_a_reply_to_a_former_writer_is_left(ends: Link) -> None:
    cache = Cache()
    cache.may_end.clear()
    async with serving(ends, cache):
        former = asyncio.ensure_future(client_of(ends).flush(b"former"))
        await cache.has_begun.wait()
        former.cancel()
        cache.may_end.set()
        assert await client_of(ends).flush(b"x") == 1
    assert cache.flushed == [b"former", b"x"]


@pytest.mark.parametrize("octets", [b"\xc1", b"garbage", b"\x90", b"x" * 5000])
async def test_garbage_in_the_link_ends_nothing(ends: Link, octets: bytes) -> None:
    cache, client = Cache(), client_of(ends)
    async with serving(ends, cache):
        ends[0].send(octets)
        ends[1].send(octets)
        assert await client.flush(b"x") == 1


async def test_a_link_that_is_full_is_a_refusal(ends: Link) -> None:
    ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with pytest.raises(BlockingIOError):
        while True:
            ends[0].send(b"x" * 1000)
    assert await refused(client_of(ends)) == (503, "too many others wait for it")


async def test_an_end_waits_for_nothing(ends: Link) -> None:
    cache, client = Cache(), client_of(ends, seconds=0.2)
    cache.may_end.clear()
    async with serving(ends, cache):
        asking = asyncio.ensure_future(refused(client))
        await cache.has_begun.wait()
    assert (await asking)[0] == 503
    assert cache.flushed == []
