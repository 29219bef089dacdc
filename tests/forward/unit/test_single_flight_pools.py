"""Which pool a flight goes to: DS is the parent's to say, all else is asked where the name is."""

import dns.rdatatype
import pytest
from forward.unit.single_flight_harness import CONFIG, SingleFlightHarness, Upstreams
from forward.unit.upstream_replies import ask_for, name_of
from toolbox.waiting import until

from svcdns.forward.single_flight import Resolution, SingleFlight
from svcdns.wire.key import key_of

CORP = key_of("corp.example")
DS = int(dns.rdatatype.DS)


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
async def test_ds_is_asked_for_above(
    single_flight: SingleFlightHarness, name: str, rrtype: str, of_corp: bool
) -> None:
    corp, others = Upstreams(), Upstreams()
    flights = SingleFlight(lambda key: corp if key.startswith(CORP) else others, single_flight.cache, CONFIG)
    landed: list[Resolution] = []
    flights.resolve(ask_for(name, rrtype), landed.append)
    await until(lambda: corp.asked or others.asked)
    (asked,) = (corp if of_corp else others).asked
    assert (name_of(asked), asked.rrtype) == (name, dns.rdatatype.from_text(rrtype))
    await flights.stop(0)
    assert len(landed) == 1


def test_whether_there_is_a_pool_depends_on_the_type(single_flight: SingleFlightHarness) -> None:
    flights = SingleFlight(
        lambda key: Upstreams() if key.startswith(CORP) else None, single_flight.cache, CONFIG
    )
    assert flights.has_pool(CORP, 1)
    assert not flights.has_pool(CORP, DS)
    assert flights.has_pool(key_of("x.corp.example"), DS)
    assert not flights.has_pool(b"", DS)


async def test_a_question_is_under_way_whatever_its_flags(single_flight: SingleFlightHarness) -> None:
    ask = ask_for("www.example.com", do=True, cd=True)
    assert not single_flight.flights.is_under_way(ask.key, ask.rrtype)
    landed = single_flight.join(ask)
    assert single_flight.flights.is_under_way(ask.key, ask.rrtype)
    assert not single_flight.flights.is_under_way(ask.key, DS)
    assert not single_flight.flights.is_under_way(key_of("example.com"), ask.rrtype)
    await single_flight.upstreams.answer()
    await landed
    assert not single_flight.flights.is_under_way(ask.key, ask.rrtype)
