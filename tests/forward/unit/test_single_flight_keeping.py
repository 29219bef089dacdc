"""An answer that must not be kept ends the one that was: that one is outdated, not stale."""

import dns.message
import dns.rcode
import pytest
from forward.unit.single_flight_harness import SingleFlightHarness
from forward.unit.upstream_replies import NO_REPLY, WWW, address, ask_for, nxdomain, reply_of, says, truncated
from toolbox.cached_replies import ede_of

from svcdns.wire import codes


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
async def test_it_does_not_come_back_as_a_stale_answer(
    single_flight: SingleFlightHarness, before: object, newer: object
) -> None:
    await single_flight.asking(WWW, before)
    other = ask_for("other.example.com")
    await single_flight.asking(other)
    single_flight.time += 301
    assert ede_of(reply_of(await single_flight.asking(WWW, newer), single_flight.time)) == []
    assert single_flight.cache.entries == 1
    for down in (False, True):
        single_flight.upstreams.is_down = down
        lost = reply_of(await single_flight.asking(WWW, NO_REPLY), single_flight.time)
        assert (lost.rcode(), ede_of(lost)) == (dns.rcode.SERVFAIL, [22])
        single_flight.time += 5
    assert ede_of(reply_of(await single_flight.join(other), single_flight.time)) == [3]


@pytest.mark.parametrize("code", [codes.YXDOMAIN, codes.NOTAUTH])
async def test_what_says_nothing_about_the_name_leaves_it(
    single_flight: SingleFlightHarness, code: int
) -> None:
    """RFC 8767 section 4: only NOERROR and NXDOMAIN are answers that refresh."""
    await single_flight.asking(WWW)
    single_flight.time += 301
    await single_flight.asking(WWW, lambda ask: says(ask, rcode=code))
    assert ede_of(reply_of(await single_flight.asking(WWW, NO_REPLY), single_flight.time)) == [3]


async def test_another_type_of_the_name_is_left_alone(single_flight: SingleFlightHarness) -> None:
    await single_flight.asking(WWW)
    await single_flight.asking(ask_for("www.example.com", "TXT"), lambda ask: says(ask))
    assert single_flight.flights.fresh(WWW) is not None


def test_it_says_whether_there_is_anybody_to_ask(single_flight: SingleFlightHarness) -> None:
    assert single_flight.flights.has_pool(WWW.key, WWW.rrtype)
    single_flight.pool = None
    assert not single_flight.flights.has_pool(WWW.key, WWW.rrtype)
