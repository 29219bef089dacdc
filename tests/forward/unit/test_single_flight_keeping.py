"""An answer that must not be kept ends the one that was: that one is outdated, not stale."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import pytest
from forward.unit.single_flight_harness import (
    GUARD_SECONDS,
    NO_REPLY,
    Sky,
    address,
    ask_for,
    nxdomain,
    says,
    sky_over,
    truncated,
)
from toolbox.cached_replies import asking, ede_of

from svcdns.cache import entry
from svcdns.wire import codes

WWW = ask_for("www.example.com")


@pytest.fixture
def sky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sky]:
    with sky_over(tmp_path, monkeypatch) as made:
        yield made


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, GUARD_SECONDS))


def reply_of(stored: bytes, now: int) -> dns.message.Message:
    """Return what a client reads in what has landed."""
    return dns.message.from_wire(entry.decode(stored).reply(now, asking(name="www.example.com")))


@pytest.mark.parametrize("before", [address, nxdomain])
@pytest.mark.parametrize(
    "newer",
    [
        lambda ask: address(ask, 2, 0),
        lambda ask: says(ask, rcode=codes.NXDOMAIN),
        lambda ask: says(ask),
        truncated,
    ],
    ids=["ttl 0", "NXDOMAIN without SOA", "NODATA without SOA", "truncated"],
)
def test_it_does_not_come_back_as_a_stale_answer(sky: Sky, before: object, newer: object) -> None:
    async def test() -> None:
        await sky.asking(WWW, before)
        other = ask_for("other.example.com")
        await sky.asking(other)
        sky.time += 301
        assert ede_of(reply_of(await sky.asking(WWW, newer), sky.time)) == []
        assert sky.cache.entries == 1
        for down in (False, True):
            sky.upstreams.is_down = down
            lost = reply_of(await sky.asking(WWW, NO_REPLY), sky.time)
            assert (lost.rcode(), ede_of(lost)) == (dns.rcode.SERVFAIL, [22])
            sky.time += 5
        assert ede_of(reply_of(await sky.join(other), sky.time)) == [3]

    run(test())


@pytest.mark.parametrize("code", [codes.YXDOMAIN, codes.NOTAUTH])
def test_what_says_nothing_about_the_name_leaves_it(sky: Sky, code: int) -> None:
    """RFC 8767 section 4: only NOERROR and NXDOMAIN are answers that refresh."""

    async def test() -> None:
        await sky.asking(WWW)
        sky.time += 301
        await sky.asking(WWW, lambda ask: says(ask, rcode=code))
        assert ede_of(reply_of(await sky.asking(WWW, NO_REPLY), sky.time)) == [3]

    run(test())


def test_another_type_of_the_name_is_left_alone(sky: Sky) -> None:
    async def test() -> None:
        await sky.asking(WWW)
        await sky.asking(ask_for("www.example.com", "TXT"), lambda ask: says(ask))
        assert sky.flights.fresh(WWW) is not None

    run(test())


def test_it_says_whether_there_is_anybody_to_ask(sky: Sky) -> None:
    assert sky.flights.has_pool(WWW.key, WWW.rrtype)
    sky.pool = None
    assert not sky.flights.has_pool(WWW.key, WWW.rrtype)
