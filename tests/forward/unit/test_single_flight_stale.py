"""SingleFlight whose upstreams fail: what has run out stands in, else a failure that is kept for a while."""

import dns.message
import dns.rcode
import pytest
from forward.unit.single_flight_harness import CONFIG, SingleFlightHarness
from forward.unit.upstream_replies import NO_REPLY, WWW, address, data, nxdomain, reply_of
from toolbox.cached_replies import ede_of

from svcdns.cache import entry
from svcdns.forward.pool import Unresolved


async def test_a_failure_says_why_and_is_kept_for_five_seconds(single_flight: SingleFlightHarness) -> None:
    reply = reply_of(await single_flight.asking(WWW, NO_REPLY), single_flight.time)
    assert reply.rcode() == dns.rcode.SERVFAIL
    (error,) = reply.extended_errors()
    assert (int(error.code), error.text) == (22, "no upstream answered")
    single_flight.time += 4
    assert single_flight.flights.fresh(WWW) is not None
    single_flight.time += 1
    assert single_flight.flights.fresh(WWW) is None
    assert data(reply_of(await single_flight.asking(WWW), single_flight.time)) == ["192.0.2.1"]


@pytest.mark.parametrize(("with_", "why"), [(address, 3), (nxdomain, 19)])
@pytest.mark.parametrize("down", [False, True])
async def test_what_has_run_out_stands_in_for_five_seconds_at_a_time(
    single_flight: SingleFlightHarness, with_: object, why: int, down: bool
) -> None:
    fresh = reply_of(await single_flight.asking(WWW, with_), single_flight.time)
    single_flight.time += 301
    single_flight.upstreams.is_down = down
    for _ in range(3):
        assert single_flight.flights.fresh(WWW) is None
        stored = await (single_flight.join(WWW) if down else single_flight.asking(WWW, NO_REPLY))
        for _ in range(5):
            reply = reply_of(stored, single_flight.time)
            assert ede_of(reply) == [why]
            assert reply.rcode() == fresh.rcode()
            assert data(reply) == data(fresh)
            assert {rrset.ttl for rrset in reply.answer + reply.authority} == {30}
            assert single_flight.flights.fresh(WWW) == (entry.decode(stored), ())
            single_flight.time += 1
    assert len(single_flight.upstreams.asked) == (1 if down else 4)
    single_flight.upstreams.is_down = False
    again = reply_of(await single_flight.asking(WWW, lambda ask: address(ask, 9)), single_flight.time)
    assert data(again) == ["192.0.2.9"]
    assert ede_of(again) == []


@pytest.mark.parametrize("down", [False, True])
async def test_nothing_stands_in_for_longer_than_configured(
    single_flight: SingleFlightHarness, down: bool
) -> None:
    await single_flight.asking(WWW)
    single_flight.upstreams.is_down = down
    single_flight.time += 300 + CONFIG.stale - 1
    stored = await (single_flight.join(WWW) if down else single_flight.asking(WWW, NO_REPLY))
    assert ede_of(reply_of(stored, single_flight.time)) == [3]
    single_flight.time += 1
    assert single_flight.flights.fresh(WWW) is None
    assert ede_of(reply_of(await single_flight.asking(WWW, NO_REPLY), single_flight.time)) == [22]


async def test_a_failure_does_not_take_the_place_of_what_can_still_stand_in(
    single_flight: SingleFlightHarness,
) -> None:
    await single_flight.asking(WWW)
    for _ in range(5):
        single_flight.time += 100
        stored = (
            await single_flight.asking(WWW, NO_REPLY) if single_flight.flights.fresh(WWW) is None else b""
        )
    assert data(reply_of(stored, single_flight.time)) == ["192.0.2.1"]


async def test_what_is_not_kept_takes_the_outdated_with_it(single_flight: SingleFlightHarness) -> None:
    await single_flight.asking(WWW)
    single_flight.time += 301
    assert data(
        reply_of(await single_flight.asking(WWW, lambda ask: address(ask, 2, 0)), single_flight.time)
    ) == ["192.0.2.2"]
    assert data(reply_of(await single_flight.asking(WWW, NO_REPLY), single_flight.time)) == []


async def test_one_that_is_down_is_asked_where_nothing_can_stand_in(
    single_flight: SingleFlightHarness,
) -> None:
    single_flight.upstreams.is_down = True
    assert data(reply_of(await single_flight.asking(WWW), single_flight.time)) == ["192.0.2.1"]


async def test_a_fresh_failure_is_no_answer_to_stand_in(single_flight: SingleFlightHarness) -> None:
    await single_flight.asking(WWW, NO_REPLY)
    single_flight.time += 5
    single_flight.upstreams.is_down = True
    assert ede_of(reply_of(await single_flight.asking(WWW, Unresolved(22, "again")), single_flight.time)) == [
        22
    ]
    assert len(single_flight.upstreams.asked) == 2


async def test_where_nobody_is_to_be_asked_it_says_so_and_is_not_kept(
    single_flight: SingleFlightHarness,
) -> None:
    single_flight.pool = None
    assert ede_of(reply_of(await single_flight.join(WWW), single_flight.time)) == [20]
    assert single_flight.flights.fresh(WWW) is None
    single_flight.pool = single_flight.upstreams
    assert data(reply_of(await single_flight.asking(WWW), single_flight.time)) == ["192.0.2.1"]
