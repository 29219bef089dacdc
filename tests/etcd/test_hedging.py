"""Members that hang cost a moment each, and members of another etcd are refused; the test plays them."""

import asyncio

import pytest
from aiohttp import web
from etcd.played_members import (
    RANGE,
    STATUS,
    TXN,
    Handler,
    good,
    good_of,
    hangs,
    of_keys,
    played,
    refuses,
    watched,
    watched_of,
)
from toolbox.waiting import GUARD_SECONDS, until

from svcdns.etcd.client import Etcd, Unavailable
from svcdns.etcd.messages import Put

NOWHERE = "http://127.0.0.1:1"
LONG = 100 * GUARD_SECONDS
"""Seconds of which nobody waits for the end."""


async def test_members_that_hang_cost_a_moment_each() -> None:
    async with played(hangs, hangs, hangs, good) as members:
        client = Etcd([member.url for member in members], timeout=LONG)
        async with asyncio.timeout(GUARD_SECONDS):
            assert (await client.range(b"a")).revision == 7
            assert (await client.range(b"a")).revision == 7
            assert (await client.transaction([], [Put(b"a", b"")])).succeeded
        assert [member.times(RANGE) for member in members] == [1, 1, 1, 2], "those that hung are asked last"
        assert [member.times(TXN) for member in members] == [0, 0, 0, 1]
        await client.close()


async def test_a_watch_begins_though_members_hang() -> None:
    async with played(hangs, hangs, watched) as members:
        client = Etcd([member.url for member in members], timeout=LONG)
        async with asyncio.timeout(GUARD_SECONDS):
            assert (await anext(client.watch(b"a", b"b", 1))).revision == 3
        await client.close()


async def test_a_member_that_is_slow_may_still_answer() -> None:
    may = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await may.wait()
        return await good(request)

    async def later(request: web.Request) -> web.StreamResponse:
        may.set()
        return await hangs(request)

    async with played(slow, later) as members:
        client = Etcd([member.url for member in members], timeout=LONG)
        async with asyncio.timeout(GUARD_SECONDS):
            assert (await client.range(b"a")).revision == 7
        await client.close()


@pytest.mark.parametrize("members", [1, 5])
async def test_all_of_a_request_takes_no_longer_than_one_member_has(members: int) -> None:
    seconds = 2.0
    async with played(*[hangs] * members) as there:
        client = Etcd([member.url for member in there], timeout=seconds)
        for work in (
            client.range(b"a"),
            client.transaction([], [Put(b"a", b"")]),
            anext(client.watch(b"a", b"b", 1)),
        ):
            began = asyncio.get_running_loop().time()
            with pytest.raises(Unavailable):
                await work
            took = asyncio.get_running_loop().time() - began
            assert took < 4 * seconds, "and not that for each of five"
        await client.close()


@pytest.mark.parametrize("hangs_wholly", [False, True])
async def test_a_watch_outlasts_a_slow_answer_and_not_its_member(hangs_wholly: bool) -> None:
    async def first_member(request: web.Request) -> web.StreamResponse:
        if request.path == "/v3/watch":
            return await watched(request)
        return await (hangs if hangs_wholly else of_keys(hangs))(request)

    async with played(first_member, good) as (first, second):
        client = Etcd([first.url, second.url], timeout=2.0 if hangs_wholly else LONG)
        watch = client.watch(b"a", b"b", 1)
        assert (await anext(watch)).revision == 3
        watching = asyncio.ensure_future(anext(watch))
        assert (await client.range(b"a")).revision == 7
        assert second.times(RANGE) == 1
        await until(lambda: first.times(STATUS), "the first one to be looked at")
        if hangs_wholly:
            with pytest.raises(Unavailable):
                await watching
        else:
            for _ in range(5):
                await client.range(b"a")
            assert not watching.done()
            watching.cancel()
        await client.close()


async def test_a_member_that_hung_is_asked_again_when_it_answers() -> None:
    well = asyncio.Event()

    async def hung(request: web.Request) -> web.StreamResponse:
        await well.wait()
        return await good(request)

    later: list[Handler] = [good]

    async def second_member(request: web.Request) -> web.StreamResponse:
        return await later[0](request)

    async with played(hung, second_member) as (first, second):
        client = Etcd([first.url, second.url], timeout=LONG)
        await client.range(b"a")
        well.set()
        await until(lambda: first.times(STATUS), "the first one to be looked at")
        later[0] = refuses("etcdserver: no leader")
        assert (await client.range(b"a")).revision == 7
        await client.close()


async def test_a_member_of_another_etcd_is_refused() -> None:
    async with played(good_of(1), good_of(2)) as (ours, other):
        client = Etcd([ours.url, other.url], timeout=LONG)
        assert (await client.transaction([], [Put(b"a", b"")])).succeeded
        assert (await client.range(b"a")).revision == 7
        mixed = Etcd([NOWHERE, other.url, ours.url], timeout=LONG)
        assert (await mixed.range(b"a")).revision == 7, "of the one that answered first"
        assert await client.clusters() == {ours.url: 1, other.url: 2}
        await client.close()
        await mixed.close()


async def test_nothing_is_written_to_a_member_of_another_etcd() -> None:
    answers: list[Handler] = [good_of(1)]

    async def ours(request: web.Request) -> web.StreamResponse:
        return await answers[0](request)

    async with played(ours, good_of(2)) as (first, other):
        client = Etcd([first.url, other.url], timeout=2.0)
        assert (await client.range(b"a")).revision == 7
        answers[0] = refuses("etcdserver: no leader")
        for work in (client.transaction([], [Put(b"a", b"")]), client.range(b"a")):
            with pytest.raises(Unavailable, match=r"no leader|another etcd"):
                await work
        assert not other.times(TXN)
        answers[0] = good_of(1)
        assert (await client.transaction([], [Put(b"a", b"")])).succeeded
        await client.close()


async def test_a_watch_at_a_member_of_another_etcd_brings_nothing() -> None:
    async with played(good_of(1), watched_of(2)) as (ours, other):
        client = Etcd([ours.url, other.url], timeout=2.0)
        await client.range(b"a")
        with pytest.raises(Unavailable):
            await anext(client.watch(b"a", b"b", 1))  # ours knows of no watches
        with pytest.raises(Unavailable, match="another etcd"):
            await anext(client.watch(b"a", b"b", 1))
        await client.close()


async def test_a_cluster_that_was_made_anew_is_taken_up() -> None:
    now = [1, 1, 1]

    def member(number: int) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await (good_of(now[number]) if now[number] else refuses("etcdserver: no leader"))(request)

        return answer

    async with played(member(0), member(1), member(2)) as members:
        client = Etcd([member.url for member in members], timeout=2.0)
        assert (await client.range(b"a")).revision == 7
        now[:] = [2, 0, 0]
        with pytest.raises(Unavailable):
            await client.range(b"a")
        now[:] = [2, 2, 0]
        assert (await client.transaction([], [Put(b"a", b"")])).succeeded, "most of them say so"
        await client.close()
