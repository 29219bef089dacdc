"""What a client makes of members that hang, hang up, or say what is no answer; the test plays these."""

import asyncio
import contextlib
import itertools

import pytest
from aiohttp import web
from etcd.played_members import (
    RANGE,
    TXN,
    Handler,
    babbles,
    good,
    hangs,
    hangs_up,
    of_keys,
    played,
    refuses,
    watched,
)

from svcdns.etcd.client import Etcd, Full, Login, Rejected, Unavailable, Unknown
from svcdns.etcd.messages import Put

NOWHERE = "http://127.0.0.1:1"
SECONDS = 2.0
"""A member's time for an answer."""


@pytest.mark.parametrize("bad", [hangs, hangs_up, babbles, refuses("etcdserver: no leader")])
async def test_a_read_goes_on_at_the_next_member_and_stays_there(bad: Handler) -> None:
    async with played(bad, good) as (first, second):
        client = Etcd([first.url, second.url], timeout=30)
        found = await asyncio.gather(*(client.range(b"%d" % number) for number in range(9)))
        assert [one.revision for one in found] == [7] * 9, "those that failed together too"
        asked = first.times(RANGE)
        await client.range(b"a")
        assert first.times(RANGE) == asked, "it goes on with the member that answered"
        await client.close()


@pytest.mark.parametrize(
    "bad", [hangs, hangs_up, babbles, refuses("etcdserver: request timed out"), refuses("never heard of")]
)
async def test_a_transaction_without_an_answer_is_not_sent_again(bad: Handler) -> None:
    async with played(of_keys(bad), good) as (first, second):
        client = Etcd([first.url, second.url], timeout=SECONDS)
        with pytest.raises(Unknown):
            await client.transaction([], [Put(b"a", b"")])
        assert (first.times(TXN), second.asked) == (1, [])
        assert (await client.transaction([], [Put(b"a", b"")])).succeeded, "the next one goes elsewhere"
        await client.close()


@pytest.mark.parametrize(
    "message", ["etcdserver: no leader", "etcdserver: rpc not supported for learner", "Error while dialing x"]
)
async def test_a_transaction_that_was_not_carried_out_is_sent_to_the_next(message: str) -> None:
    async with played(refuses(message), good) as (first, second):
        client = Etcd([NOWHERE, first.url, second.url], timeout=SECONDS)
        assert (await client.transaction([], [Put(b"a", b"")])).revision == 7
        await client.close()


async def test_while_members_choose_a_leader_a_transaction_waits() -> None:
    answers = itertools.chain([refuses("etcdserver: no leader")] * 4, itertools.repeat(good))

    async def chooses(request: web.Request) -> web.StreamResponse:
        return await next(answers)(request)

    async with played(chooses, chooses) as members:
        client = Etcd([member.url for member in members], timeout=30)
        assert (await client.transaction([], [Put(b"a", b"")])).revision == 7
        await client.close()


@pytest.mark.parametrize("bad", [hangs, hangs_up, babbles])
async def test_a_token_that_is_not_given_leaves_no_doubt_of_a_transaction(bad: Handler) -> None:
    async def login_fails(request: web.Request) -> web.StreamResponse:
        return await (bad if "auth" in request.path else good)(request)

    async with played(login_fails, good) as (first, second):
        client = Etcd([first.url, second.url], Login(user="u"), timeout=SECONDS)
        assert (await client.transaction([], [Put(b"a", b"")])).succeeded
        assert not first.times(TXN)
        with pytest.raises(Unavailable):
            await Etcd([first.url], Login(user="u"), timeout=SECONDS).transaction([], [Put(b"a", b"")])
        await client.close()


async def test_a_token_is_asked_for_once_by_all_who_want_one() -> None:
    async with played(good) as [member]:
        client = Etcd([member.url], Login(user="u"))
        await asyncio.gather(*(client.range(b"%d" % number) for number in range(9)))
        assert member.asked.count("/v3/auth/authenticate") == 1
        await client.close()


@pytest.mark.parametrize(
    ("message", "wrong"), [("permission denied", Unavailable), ("mvcc: database space exceeded", Full)]
)
async def test_what_all_members_say_alike_is_asked_of_one(message: str, wrong: type[Exception]) -> None:
    bad = of_keys(refuses(f"etcdserver: {message}", 7, 403))
    async with played(bad, bad) as (first, second):
        client = Etcd([first.url, second.url])
        with pytest.raises(wrong, match=message):
            await client.transaction([], [Put(b"a", b"")])
        assert (first.times(TXN), second.asked) == (1, [])
        await client.close()


@pytest.mark.parametrize("bad", [hangs, hangs_up, refuses("etcdserver: no leader"), refuses("x", 0, 500)])
async def test_a_watch_begins_at_the_next_member(bad: Handler) -> None:
    async with played(bad, watched) as (first, second):
        client = Etcd([first.url, second.url], timeout=SECONDS)
        changes = await anext(client.watch(b"a", b"b", 1))
        assert [change.kv.key for change in changes.events] == [b"a"]
        await client.close()


async def test_a_watch_ends_when_its_member_fails_and_is_taken_up_at_the_next() -> None:
    async with played(watched, watched) as (first, second):
        client = Etcd([first.url, second.url], timeout=SECONDS)
        watch = client.watch(b"a", b"b", 1)
        changes = await anext(watch)
        assert changes.revision == 3, "that of the event, not of the header"
        with pytest.raises(Unavailable):
            await client.status(first.url)  # it hangs, and nothing comes of its watch either
        with pytest.raises(Unavailable):
            await anext(watch)
        assert (await anext(client.watch(b"a", b"b", 4))).revision == 3
        assert second.asked[0] == "/v3/watch"
        await client.close()


@pytest.mark.parametrize(
    "line",
    [b"<html>\n", b'{"result":{"events":[', b"{}\n", b'{"error":{"message":"x"}}\n', b"x" * (18 << 20)],
)
async def test_a_watch_that_brings_no_message_is_lost(line: bytes) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(line)
        return answer

    async with played(broken) as [member]:
        client = Etcd([member.url], timeout=SECONDS)
        with pytest.raises(Unavailable):
            await anext(client.watch(b"a", b"b", 1))
        await client.close()


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b" " * (1 << 20))
        return answer

    async with played(of_keys(endless)) as [member]:
        client = Etcd([member.url], timeout=30)
        with pytest.raises(Rejected, match="MiB"):
            await client.range(b"a", limit=1)
        with pytest.raises(Unknown, match="MiB"):
            await client.transaction([], [Put(b"a", b"")])
        await client.close()


async def test_a_watch_that_is_not_permitted_is_tried_with_another_token() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if "auth" in request.path:
            return await good(request)
        if member.asked.count("/v3/watch") > 1:
            return await watched(request)
        refusal = (
            b'{"result":{"created":true,"canceled":true,"cancel_reason":"etcdserver: permission denied"}}\n'
        )
        return web.Response(body=refusal)

    async with played(answer) as [member]:
        client = Etcd([member.url], Login(user="u"), timeout=SECONDS)
        assert (await anext(client.watch(b"a", b"b", 1))).revision == 3
        assert member.asked.count("/v3/auth/authenticate") == 2
        await client.close()


async def test_what_speaks_another_protocol_leaves_no_doubt_of_a_transaction() -> None:
    async def not_http(request: web.Request) -> web.StreamResponse:
        return web.Response(status=400, text="Client sent an HTTP request to an HTTPS server.\n")

    async with played(not_http) as [member]:
        client = Etcd([member.url], timeout=SECONDS)
        with pytest.raises(Unavailable, match="https://"):
            await client.transaction([], [Put(b"a", b"")])
        await client.close()
