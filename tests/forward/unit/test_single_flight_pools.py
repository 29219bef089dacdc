"""Which pool a flight goes to: DS is the parent's to say, all else is asked where the name is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import dns.rdatatype
import pytest
from forward.unit.single_flight_harness import CONFIG, Sky, Upstreams, ask_for, name_of, sky_over, until

from svcdns.forward.single_flight import Flights
from svcdns.wire.key import key_of

CORP = key_of("corp.example")
DS = int(dns.rdatatype.DS)


@pytest.fixture
def sky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sky]:
    with sky_over(tmp_path, monkeypatch) as made:
        yield made


@pytest.mark.parametrize(
    ("name", "rrtype", "of_corp"),
    [
        ("corp.example", "DS", False),
        ("CORP.example", "DS", False),
        ("x.corp.example", "DS", True),
        ("x.x.corp.example", "DS", True),
        ("corp.example", "DNSKEY", True),
        ("corp.example", "A", True),
        ("x.corp.example", "A", True),
        ("example", "DS", False),
        (".", "DS", False),
    ],
)
def test_ds_is_asked_for_above(sky: Sky, name: str, rrtype: str, of_corp: bool) -> None:
    corp, others = Upstreams(), Upstreams()

    async def test() -> None:
        flights = Flights(lambda key: corp if key.startswith(CORP) else others, sky.cache, CONFIG)
        landed: list[bytes] = []
        flights.join(ask_for(name, rrtype), landed.append)
        await until(lambda: corp.asked or others.asked)
        (asked,) = (corp if of_corp else others).asked
        assert (name_of(asked), asked.rrtype) == (name, dns.rdatatype.from_text(rrtype))
        await flights.stop(0)
        assert len(landed) == 1

    asyncio.run(test())


def test_whether_there_is_a_pool_depends_on_the_type(sky: Sky) -> None:
    flights = Flights(lambda key: Upstreams() if key.startswith(CORP) else None, sky.cache, CONFIG)
    assert flights.has_pool(CORP, 1)
    assert not flights.has_pool(CORP, DS)
    assert flights.has_pool(key_of("x.corp.example"), DS)
    assert not flights.has_pool(b"", DS)


def test_a_question_is_under_way_whatever_its_flags(sky: Sky) -> None:
    async def test() -> None:
        ask = ask_for("www.example.com", do=True, cd=True)
        assert not sky.flights.is_under_way(ask.key, ask.rrtype)
        landed = sky.join(ask)
        assert sky.flights.is_under_way(ask.key, ask.rrtype)
        assert not sky.flights.is_under_way(ask.key, DS)
        assert not sky.flights.is_under_way(key_of("example.com"), ask.rrtype)
        await sky.upstreams.answer()
        await landed
        assert not sky.flights.is_under_way(ask.key, ask.rrtype)

    asyncio.run(test())
