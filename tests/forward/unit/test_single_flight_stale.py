"""Flights whose upstreams fail: what has run out stands in, else a failure that is kept for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
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
    address,
    ask_for,
    nxdomain,
    sky_over,
)
from toolbox.cached_replies import asking, ede_of

from svcdns.cache import entry
from svcdns.forward.pool import Unresolved

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


def test_a_failure_says_why_and_is_kept_for_five_seconds(sky: Sky) -> None:
    async def test() -> None:
        reply = reply_of(await sky.asking(WWW, NO_REPLY), sky.time)
        assert reply.rcode() == dns.rcode.SERVFAIL
        (error,) = reply.extended_errors()
        assert (int(error.code), error.text) == (22, "no upstream answered")
        sky.time += 4
        assert sky.flights.fresh(WWW) is not None
        sky.time += 1
        assert sky.flights.fresh(WWW) is None
        assert data(reply_of(await sky.asking(WWW), sky.time)) == ["192.0.2.1"]

    run(test())


@pytest.mark.parametrize(("with_", "why"), [(address, 3), (nxdomain, 19)])
@pytest.mark.parametrize("down", [False, True])
def test_what_has_run_out_stands_in_for_five_seconds_at_a_time(
    sky: Sky, with_: object, why: int, down: bool
) -> None:
    async def test() -> None:
        fresh = reply_of(await sky.asking(WWW, with_), sky.time)
        sky.time += 301
        sky.upstreams.is_down = down
        for _ in range(3):
            assert sky.flights.fresh(WWW) is None
            stored = await (sky.join(WWW) if down else sky.asking(WWW, NO_REPLY))
            for _ in range(5):
                reply = reply_of(stored, sky.time)
                assert ede_of(reply) == [why]
                assert reply.rcode() == fresh.rcode()
                assert data(reply) == data(fresh)
                assert {rrset.ttl for rrset in reply.answer + reply.authority} == {30}
                assert sky.flights.fresh(WWW) == stored
                sky.time += 1
        assert len(sky.upstreams.asked) == (1 if down else 4)
        sky.upstreams.is_down = False
        again = reply_of(await sky.asking(WWW, lambda ask: address(ask, 9)), sky.time)
        assert data(again) == ["192.0.2.9"]
        assert ede_of(again) == []

    run(test())


@pytest.mark.parametrize("down", [False, True])
def test_nothing_stands_in_for_longer_than_configured(sky: Sky, down: bool) -> None:
    async def test() -> None:
        await sky.asking(WWW)
        sky.upstreams.is_down = down
        sky.time += 300 + CONFIG.stale - 1
        stored = await (sky.join(WWW) if down else sky.asking(WWW, NO_REPLY))
        assert ede_of(reply_of(stored, sky.time)) == [3]
        sky.time += 1
        assert sky.flights.fresh(WWW) is None
        assert ede_of(reply_of(await sky.asking(WWW, NO_REPLY), sky.time)) == [22]

    run(test())


def test_a_failure_does_not_take_the_place_of_what_can_still_stand_in(sky: Sky) -> None:
    async def test() -> None:
        await sky.asking(WWW)
        for _ in range(5):
            sky.time += 100
            stored = await sky.asking(WWW, NO_REPLY) if sky.flights.fresh(WWW) is None else b""
        assert data(reply_of(stored, sky.time)) == ["192.0.2.1"]

    run(test())


def test_what_is_not_kept_takes_the_outdated_with_it(sky: Sky) -> None:
    async def test() -> None:
        await sky.asking(WWW)
        sky.time += 301
        assert data(reply_of(await sky.asking(WWW, lambda ask: address(ask, 2, 0)), sky.time)) == [
            "192.0.2.2"
        ]
        assert data(reply_of(await sky.asking(WWW, NO_REPLY), sky.time)) == []

    run(test())


def test_one_that_is_down_is_asked_where_nothing_can_stand_in(sky: Sky) -> None:
    async def test() -> None:
        sky.upstreams.is_down = True
        assert data(reply_of(await sky.asking(WWW), sky.time)) == ["192.0.2.1"]

    run(test())


def test_a_fresh_failure_is_no_answer_to_stand_in(sky: Sky) -> None:
    async def test() -> None:
        await sky.asking(WWW, NO_REPLY)
        sky.time += 5
        sky.upstreams.is_down = True
        assert ede_of(reply_of(await sky.asking(WWW, Unresolved(22, "again")), sky.time)) == [22]
        assert len(sky.upstreams.asked) == 2

    run(test())


def test_where_nobody_is_to_be_asked_it_says_so_and_is_not_kept(sky: Sky) -> None:
    async def test() -> None:
        sky.pool = None
        assert ede_of(reply_of(await sky.join(WWW), sky.time)) == [20]
        assert sky.flights.fresh(WWW) is None
        sky.pool = sky.upstreams
        assert data(reply_of(await sky.asking(WWW), sky.time)) == ["192.0.2.1"]

    run(test())
