"""SingleFlight: upstreams are asked once for all who ask, the cache has it before anybody hears, all hear."""

import asyncio
import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from forward.unit.single_flight_harness import CONFIG, SingleFlightHarness, Upstreams, single_flight_over
from forward.unit.upstream_replies import (
    NO_REPLY,
    WWW,
    address,
    ask_for,
    data,
    name_of,
    nxdomain,
    reply_of,
    says,
    truncated,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.cached_replies import ede_of
from toolbox.waiting import run, until

from svcdns.cache import entry
from svcdns.forward.single_flight import Resolution
from svcdns.wire import codes
from svcdns.wire.query import Query

# Single flight


async def test_a_crowd_is_one_question(single_flight: SingleFlightHarness) -> None:
    crowd = [single_flight.join(WWW) for _ in range(500)]
    await until(lambda: len(single_flight.upstreams))
    crowd += [single_flight.join(ask_for("wWw.eXample.Com")) for _ in range(500)]
    assert len(single_flight.flights) == 1
    await single_flight.upstreams.answer()
    landed = await asyncio.gather(*crowd)
    assert len(set(landed)) == 1
    assert data(reply_of(landed[0], single_flight.time)) == ["192.0.2.1"]
    assert [name_of(ask) for ask in single_flight.upstreams.asked] == ["www.example.com"]
    assert len(single_flight.flights) == 0


async def test_what_changes_an_answer_is_kept_apart(single_flight: SingleFlightHarness) -> None:
    asks = [
        ask_for("www.example.com", rrtype, do=do, cd=cd)
        for rrtype in ("A", "AAAA")
        for do in (False, True)
        for cd in (False, True)
    ]
    asks.append(ask_for("example.com"))
    crowd = {ask: [single_flight.join(ask) for _ in range(3)] for ask in asks}
    for number in range(len(asks)):
        await single_flight.upstreams.answer(
            lambda ask, number=number: (
                says(ask, rcode=codes.NOERROR) if ask.rrtype == 28 else address(ask, number, 100 + number)
            )
        )
    for landed in crowd.values():
        assert len({await one for one in landed}) == 1
    assert single_flight.upstreams.asked == asks
    fresh = [found.entry.stored for ask in asks if (found := single_flight.flights.fresh(ask))]
    assert len(fresh) == len(set(fresh)) == 5, "NODATA without an SOA is not kept"


async def test_who_asks_while_an_answer_lands_asks_nobody_twice(single_flight: SingleFlightHarness) -> None:
    late: list[Resolution] = []
    first = single_flight.join(WWW)
    await single_flight.upstreams.answer()
    single_flight.flights.resolve(WWW, late.append)
    await first
    await until(lambda: late)
    assert late == [(entry.decode(first.result()), ())]
    assert len(single_flight.upstreams.asked) == 1


# The cache


@pytest.mark.parametrize("with_", [address, nxdomain, NO_REPLY])
async def test_it_is_in_the_cache_before_anybody_hears_of_it(
    single_flight: SingleFlightHarness, with_: object
) -> None:
    seen: list[bool] = []

    def heard(key: bytes, resolution: Resolution) -> None:
        seen.append(
            single_flight.cache.get(key) == resolution.entry.stored
            and single_flight.cache.entries > len(seen)
        )  # written, that is

    asks = [ask_for(f"n{number}.example.com") for number in range(20)]
    for ask in asks:
        key = entry.key(ask.key, ask.rrtype, False, False)
        single_flight.flights.resolve(ask, partial(heard, key))
    for _ in asks:
        await single_flight.upstreams.answer(with_)
    await until(lambda: len(seen) == len(asks))
    assert all(seen)
    assert all(single_flight.flights.fresh(ask) for ask in asks)


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
async def test_what_must_not_be_kept_lands_all_the_same(
    single_flight: SingleFlightHarness, with_: object
) -> None:
    for _ in range(2):
        crowd = [single_flight.join(WWW) for _ in range(3)]
        await single_flight.upstreams.answer(with_)
        assert len(set(await asyncio.gather(*crowd))) == 1
        assert single_flight.flights.fresh(WWW) is None
    assert len(single_flight.upstreams.asked) == 2
    assert single_flight.cache.entries == 0


async def test_without_room_for_a_cache_all_land(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with single_flight_over(tmp_path, monkeypatch, replace(CONFIG, octets=0)) as single_flight:
        for number in range(3):
            assert data(
                reply_of(
                    await single_flight.asking(WWW, lambda ask, n=number: address(ask, n)), single_flight.time
                )
            ) == [f"192.0.2.{number}"]
            assert single_flight.flights.fresh(WWW) is None
        failed = reply_of(await single_flight.asking(WWW, NO_REPLY), single_flight.time)
        assert failed.rcode() == dns.rcode.SERVFAIL


# What goes wrong


async def test_an_exception_costs_one_servfail(
    single_flight: SingleFlightHarness, caplog: pytest.LogCaptureFixture
) -> None:
    crowd = [single_flight.join(WWW) for _ in range(3)]
    await single_flight.upstreams.answer(RuntimeError("unexpected"))
    for stored in await asyncio.gather(*crowd):
        assert reply_of(stored, single_flight.time).rcode() == dns.rcode.SERVFAIL
    assert "unexpected" in caplog.text
    assert single_flight.flights.fresh(WWW) is None
    assert len(single_flight.flights) == 0
    assert data(reply_of(await single_flight.asking(WWW), single_flight.time)) == ["192.0.2.1"]


async def test_who_cannot_take_it_harms_no_other(
    single_flight: SingleFlightHarness, caplog: pytest.LogCaptureFixture
) -> None:
    def stumble(_: bytes) -> None:
        raise RuntimeError("unexpected")

    single_flight.flights.resolve(WWW, stumble)
    other = single_flight.join(WWW)
    single_flight.flights.resolve(ask_for("a.example.com"), stumble)
    last = single_flight.join(ask_for("b.example.com"))
    for _ in range(3):
        await single_flight.upstreams.answer()
    await asyncio.gather(other, last)
    assert caplog.text.count("could not be given") == 2
    assert len(single_flight.flights) == 0


# The end


async def test_at_the_end_flights_land_and_the_rest_is_told(single_flight: SingleFlightHarness) -> None:
    crowds = [
        [single_flight.join(ask_for(f"n{number}.example.com")) for _ in range(3)] for number in range(4)
    ]
    await until(lambda: len(single_flight.upstreams) == 4)
    stopping = asyncio.create_task(single_flight.flights.stop(0.2))
    await single_flight.upstreams.answer()
    await single_flight.upstreams.answer(NO_REPLY)
    await stopping
    landed = [{one.result() for one in crowd} for crowd in crowds]
    assert [len(one) for one in landed] == [1] * 4
    rcodes = [dns.rcode.to_text(reply_of(stored, single_flight.time).rcode()) for (stored,) in landed]
    assert rcodes == ["NOERROR", "SERVFAIL", "SERVFAIL", "SERVFAIL"]
    assert [ede_of(reply_of(stored, single_flight.time)) for (stored,) in landed] == [
        [],
        [22],
        [23],
        [23],
    ]
    assert len(single_flight.flights) == 0
    assert single_flight.flights.fresh(ask_for("n2.example.com")) is None, "the next forwarder asks again"


@pytest.mark.parametrize("turns", range(5))
async def test_however_early_the_end_comes_all_land(single_flight: SingleFlightHarness, turns: int) -> None:
    crowd = [single_flight.join(ask_for(f"n{number}.example.com")) for number in range(5)]
    for _ in range(turns):
        await asyncio.sleep(0)
    await single_flight.flights.stop(0)
    for one in crowd:
        assert reply_of(one.result(), single_flight.time).rcode() == dns.rcode.SERVFAIL


async def test_without_flights_the_end_is_at_once(single_flight: SingleFlightHarness) -> None:
    await single_flight.flights.stop(1000)


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

    async def test(single_flight: SingleFlightHarness) -> None:
        nonlocal joined
        upstreams: Upstreams = single_flight.upstreams
        for what, number, flag in steps:
            if what == "join":
                upstreams.is_down = flag
                ask: Query = ask_for(f"n{number}.example.com", cd=flag)
                single_flight.flights.resolve(ask, lambda _, joined=joined: told.append(joined))
                joined += 1
            elif what == "wait":
                single_flight.time += number
            elif len(upstreams):
                kind = [address, nxdomain, truncated, lambda ask: address(ask, ttl=0)][number]
                await upstreams.answer({"answer": kind, "fail": NO_REPLY}.get(what, RuntimeError("x")))
            if flag:
                await asyncio.sleep(0)
        await single_flight.flights.stop(0)
        assert sorted(told) == list(range(joined))
        assert len(single_flight.flights) == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("svcdns.forward.single_flight"), "disabled", True)
        with single_flight_over(tmp_path_factory.mktemp("single-flight"), patch) as single_flight:
            run(test(single_flight))
