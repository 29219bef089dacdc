"""Flights: upstreams are asked once for all who ask, the cache has it before anybody hears, and all land."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import pytest
from forward.unit.single_flight_harness import (
    CONFIG,
    GUARD_SECONDS,
    NO_REPLY,
    Sky,
    Upstreams,
    address,
    ask_for,
    name_of,
    nxdomain,
    says,
    sky_over,
    truncated,
    until,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.cached_replies import asking, ede_of

from svcdns.cache import entry
from svcdns.wire import codes
from svcdns.wire.query import Query

WWW = ask_for("www.example.com")


@pytest.fixture
def sky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sky]:
    with sky_over(tmp_path, monkeypatch) as made:
        yield made


def run(work: Coroutine[Any, Any, None]) -> None:
    async def guarded() -> None:
        await asyncio.wait_for(work, GUARD_SECONDS)

    asyncio.run(guarded())


def reply_of(stored: bytes, now: int, name: str = "www.example.com") -> dns.message.Message:
    """Return what a client reads in what has landed."""
    return dns.message.from_wire(entry.decode(stored).reply(now, asking(name=name)), one_rr_per_rrset=True)


def data(reply: dns.message.Message) -> list[str]:
    return [str(rrset[0]) for rrset in reply.answer]


# Single flight


def test_a_crowd_is_one_question(sky: Sky) -> None:
    async def test() -> None:
        crowd = [sky.join(WWW) for _ in range(500)]
        await until(lambda: len(sky.upstreams))
        crowd += [sky.join(ask_for("wWw.eXample.Com")) for _ in range(500)]
        assert len(sky.flights) == 1
        await sky.upstreams.answer()
        landed = await asyncio.gather(*crowd)
        assert len(set(landed)) == 1
        assert data(reply_of(landed[0], sky.time)) == ["192.0.2.1"]
        assert [name_of(ask) for ask in sky.upstreams.asked] == ["www.example.com"]
        assert len(sky.flights) == 0

    run(test())


def test_what_changes_an_answer_is_kept_apart(sky: Sky) -> None:
    asks = [
        ask_for("www.example.com", rrtype, do=do, cd=cd)
        for rrtype in ("A", "AAAA")
        for do in (False, True)
        for cd in (False, True)
    ]
    asks.append(ask_for("example.com"))

    async def test() -> None:
        crowd = {ask: [sky.join(ask) for _ in range(3)] for ask in asks}
        for number in range(len(asks)):
            await sky.upstreams.answer(
                lambda ask, number=number: (
                    says(ask, rcode=codes.NOERROR) if ask.rrtype == 28 else address(ask, number, 100 + number)
                )
            )
        for landed in crowd.values():
            assert len({await one for one in landed}) == 1
        assert sky.upstreams.asked == asks
        fresh = [stored for ask in asks if (stored := sky.flights.fresh(ask))]
        assert len(fresh) == len(set(fresh)) == 5, "NODATA without an SOA is not kept"

    run(test())


def test_who_asks_while_an_answer_lands_asks_nobody_twice(sky: Sky) -> None:
    async def test() -> None:
        late: list[bytes] = []
        first = sky.join(WWW)
        await sky.upstreams.answer()
        sky.flights.join(WWW, late.append)
        await first
        await until(lambda: late)
        assert late == [first.result()]
        assert len(sky.upstreams.asked) == 1

    run(test())


# The cache


@pytest.mark.parametrize("with_", [address, nxdomain, NO_REPLY])
def test_it_is_in_the_cache_before_anybody_hears_of_it(sky: Sky, with_: object) -> None:
    async def test() -> None:
        seen: list[bool] = []

        def land(key: bytes, stored: bytes) -> None:
            seen.append(sky.cache.get(key) == stored and sky.cache.entries > len(seen))  # written, that is

        asks = [ask_for(f"n{number}.example.com") for number in range(20)]
        for ask in asks:
            key = entry.key(ask.key, ask.rrtype, False, False)
            sky.flights.join(ask, partial(land, key))
        for _ in asks:
            await sky.upstreams.answer(with_)
        await until(lambda: len(seen) == len(asks))
        assert all(seen)
        assert all(sky.flights.fresh(ask) for ask in asks)

    run(test())


@pytest.mark.parametrize(
    "with_",
    [
        lambda ask: address(ask, ttl=0),
        lambda ask: says(ask),
        lambda ask: says(ask, rcode=codes.NXDOMAIN),
        lambda ask: says(ask, rcode=codes.YXDOMAIN),
        truncated,
    ],
)
def test_what_must_not_be_kept_lands_all_the_same(sky: Sky, with_: object) -> None:
    async def test() -> None:
        for _ in range(2):
            crowd = [sky.join(WWW) for _ in range(3)]
            await sky.upstreams.answer(with_)
            assert len(set(await asyncio.gather(*crowd))) == 1
            assert sky.flights.fresh(WWW) is None
        assert len(sky.upstreams.asked) == 2
        assert sky.cache.entries == 0

    run(test())


def test_without_room_for_a_cache_all_land(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        for number in range(3):
            assert data(reply_of(await sky.asking(WWW, lambda ask, n=number: address(ask, n)), sky.time)) == [
                f"192.0.2.{number}"
            ]
            assert sky.flights.fresh(WWW) is None
        failed = reply_of(await sky.asking(WWW, NO_REPLY), sky.time)
        assert failed.rcode() == dns.rcode.SERVFAIL

    with sky_over(tmp_path, monkeypatch, replace(CONFIG, octets=0)) as sky:
        run(test())


# What goes wrong


def test_an_exception_costs_one_servfail(sky: Sky, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        crowd = [sky.join(WWW) for _ in range(3)]
        await sky.upstreams.answer(RuntimeError("unexpected"))
        for stored in await asyncio.gather(*crowd):
            assert reply_of(stored, sky.time).rcode() == dns.rcode.SERVFAIL
        assert "unexpected" in caplog.text
        assert sky.flights.fresh(WWW) is None
        assert len(sky.flights) == 0
        assert data(reply_of(await sky.asking(WWW), sky.time)) == ["192.0.2.1"]

    run(test())


def test_who_cannot_take_it_harms_no_other(sky: Sky, caplog: pytest.LogCaptureFixture) -> None:
    def stumble(_: bytes) -> None:
        raise RuntimeError("unexpected")

    async def test() -> None:
        sky.flights.join(WWW, stumble)
        other = sky.join(WWW)
        sky.flights.join(ask_for("a.example.com"), stumble)
        last = sky.join(ask_for("b.example.com"))
        for _ in range(3):
            await sky.upstreams.answer()
        await asyncio.gather(other, last)
        assert caplog.text.count("could not be given") == 2
        assert len(sky.flights) == 0

    run(test())


# The end


def test_at_the_end_flights_land_and_the_rest_is_told(sky: Sky) -> None:
    async def test() -> None:
        crowds = [[sky.join(ask_for(f"n{number}.example.com")) for _ in range(3)] for number in range(4)]
        await until(lambda: len(sky.upstreams) == 4)
        stopping = asyncio.create_task(sky.flights.stop(0.2))
        await sky.upstreams.answer()
        await sky.upstreams.answer(NO_REPLY)
        await stopping
        landed = [{one.result() for one in crowd} for crowd in crowds]
        assert [len(one) for one in landed] == [1] * 4
        rcodes = [dns.rcode.to_text(reply_of(stored, sky.time).rcode()) for (stored,) in landed]
        assert rcodes == ["NOERROR", "SERVFAIL", "SERVFAIL", "SERVFAIL"]
        assert [ede_of(reply_of(stored, sky.time)) for (stored,) in landed] == [[], [22], [23], [23]]
        assert len(sky.flights) == 0
        assert sky.flights.fresh(ask_for("n2.example.com")) is None, "the next forwarder asks again"

    run(test())


@pytest.mark.parametrize("turns", range(5))
def test_however_early_the_end_comes_all_land(sky: Sky, turns: int) -> None:
    async def test() -> None:
        crowd = [sky.join(ask_for(f"n{number}.example.com")) for number in range(5)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await sky.flights.stop(0)
        for one in crowd:
            assert reply_of(one.result(), sky.time).rcode() == dns.rcode.SERVFAIL

    run(test())


def test_without_flights_the_end_is_at_once(sky: Sky) -> None:
    run(sky.flights.stop(1000))


# Whatever happens

STEP = st.one_of(
    st.tuples(st.just("join"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("answer"), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("fail"), st.just(0), st.booleans()),
    st.tuples(st.just("stumble"), st.just(0), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 400), st.booleans()),
)


@settings(max_examples=150)
@given(steps=st.lists(STEP, max_size=30))
def test_whatever_happens_each_is_told_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, bool]]
) -> None:
    told: list[int] = []
    joined = 0

    async def test(sky: Sky) -> None:
        nonlocal joined
        upstreams: Upstreams = sky.upstreams
        for what, number, flag in steps:
            if what == "join":
                upstreams.is_down = flag
                ask: Query = ask_for(f"n{number}.example.com", cd=flag)
                sky.flights.join(ask, lambda _, joined=joined: told.append(joined))
                joined += 1
            elif what == "wait":
                sky.time += number
            elif len(upstreams):
                kind = [address, nxdomain, truncated, lambda ask: address(ask, ttl=0)][number]
                await upstreams.answer({"answer": kind, "fail": NO_REPLY}.get(what, RuntimeError("x")))
            if flag:
                await asyncio.sleep(0)
        await sky.flights.stop(0)
        assert sorted(told) == list(range(joined))
        assert len(sky.flights) == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("svcdns.forward.single_flight"), "disabled", True)
        with sky_over(tmp_path_factory.mktemp("sky"), patch) as sky:
            run(test(sky))
