"""The forwarder's limits, its counters, and that whatever is counted while it waits goes back to 0."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import dns.rcode
import pytest
from forward.unit.forwarder_harness import ALIAS, ForwarderHarness, errors, question, working
from forward.unit.upstream_replies import NO_REPLY, address, nxdomain, says, truncated
from msgspec.structs import replace
from toolbox.answerer_harness import Z
from toolbox.cached_replies import SOA, texts
from toolbox.waiting import until

from svcdns.dns import stats
from svcdns.dns.forward_link import ForwardRequest, receive_replies, send
from svcdns.forward.single_flight import Limits
from svcdns.wire import codes
from svcdns.wire.query import Query


async def test_above_the_limit_of_a_client_it_is_refused_and_others_are_not(
    harness: ForwarderHarness,
) -> None:
    async with working(harness, limits=Limits(100, 3)):
        waiting = [harness.hand(f"n{number}.example.com") for number in range(3)]
        refused = [harness.hand(name) for name in ("n4.example.com", "n0.example.com", ALIAS)]
        for ticket in refused:
            got, reply = await harness.reply()
            assert got == ticket
            assert errors(reply) == ("SERVFAIL", [23])
        own = harness.hand(f"web.default.svc.{Z}")
        assert (await harness.reply())[0] == own
        other = harness.hand("n5.example.com", client=("192.0.2.78", 1))
        assert harness.count(stats.FORWARD_REFUSED) == 3
        for ticket in (*waiting, other):
            await harness.single_flight.upstreams.answer()
            assert (await harness.reply())[0] == ticket
        harness.hand("n6.example.com")
        await harness.single_flight.upstreams.answer()
        assert (await harness.reply())[1].rcode() == dns.rcode.NOERROR


async def test_above_the_limit_of_all_everybody_is_refused_what_the_cache_lacks(
    harness: ForwarderHarness,
) -> None:
    async with working(harness, limits=Limits(5, 3)):
        harness.hand("www.example.com")
        await harness.single_flight.upstreams.answer()
        await harness.reply()
        for number in range(5):
            harness.hand(f"n{number}.example.com", client=(f"192.0.2.{number}", 1), worker=1)
        await until(lambda: harness.lookups.outstanding == 5)
        assert errors(await harness.asking("new.example.com", edns=True)) == ("SERVFAIL", [23])
        assert errors(await harness.asking("new.example.com", edns=False)) == ("SERVFAIL", [])
        assert texts((await harness.asking("www.example.com")).answer)
        for _ in range(5):
            await harness.single_flight.upstreams.answer(NO_REPLY)
        await until(lambda: harness.lookups.outstanding == 0)


ENDINGS: dict[str, Callable[[ForwarderHarness], Any]] = {
    "answered": lambda _: address,
    "nxdomain": lambda _: nxdomain,
    "truncated": lambda _: truncated,
    "not to be kept": lambda _: lambda ask: address(ask, ttl=0),
    "no upstream": lambda _: NO_REPLY,
    "exception": lambda _: RuntimeError("unexpected"),
    "extended rcode": lambda _: lambda ask: replace(address(ask), rcode=23),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["www.elsewhere.info", ALIAS])
async def test_counters_go_back_in_every_ending(harness: ForwarderHarness, ending: str, name: str) -> None:
    async with working(harness):
        tickets = {harness.hand(name, client=(f"192.0.2.{n % 3}", n)) for n in range(10)}
        await until(lambda: harness.lookups.outstanding == 10)
        await harness.single_flight.upstreams.answer(ENDINGS[ending](harness))
        assert {(await harness.reply())[0] for _ in tickets} == tickets
        harness.assert_idle()
    assert harness.count(stats.CACHE_MISSES) == 10
    assert sum(count.value for count in stats.replies(harness.counters.slots)) == 10


async def test_counters_go_back_where_clients_are_gone(harness: ForwarderHarness) -> None:
    async with working(harness):
        packet = question("www.example.com").to_wire()
        for number in range(3):
            assert send(harness.workers[0], ForwardRequest(packet, monotonic(), (f"192.0.2.{number}", 0), 0))
        assert send(harness.workers[0], ForwardRequest(packet, monotonic(), ("127.0.0.1", 9), 99))
        await until(lambda: harness.lookups.outstanding == 4)
        await harness.single_flight.upstreams.answer()
        await until(lambda: harness.lookups.outstanding == 0)
    assert harness.count(stats.DROPPED) == 4


async def test_counters_go_back_where_a_link_is_full(harness: ForwarderHarness) -> None:
    def sixty_kilobytes(ask: Query) -> Any:
        return says(ask, [f'www.example.com. 300 IN TXT "{number:04} {"x" * 240}"' for number in range(230)])

    async with working(harness, limits=Limits(10_000, 10_000)):
        count = 0
        while not harness.count(stats.DROPPED) and count < 1000:
            harness.hand("www.example.com", "TXT")
            count += 1
            if count == 1:
                await harness.single_flight.upstreams.answer(sixty_kilobytes)
            await asyncio.sleep(0)
        await until(lambda: harness.count(stats.DROPPED))
        assert len(receive_replies(harness.workers[0], 1000)) >= 3
        assert texts((await harness.asking("www.example.com", "TXT")).answer)


async def test_counters_go_back_at_the_end_and_all_are_told(harness: ForwarderHarness) -> None:
    async with working(harness):
        tickets = {harness.hand(f"n{n}.example.com") for n in range(5)}
        await until(lambda: harness.lookups.outstanding == 5)
    got = dict([await harness.reply() for _ in tickets])
    assert set(got) == tickets
    assert {(*map(str, errors(reply)),) for reply in got.values()} == {("SERVFAIL", "[23]")}


# What is counted


@pytest.mark.parametrize(
    ("with_", "rcode"),
    [
        (address, "NOERROR"),
        (nxdomain, "NXDOMAIN"),
        (lambda ask: says(ask, (), [SOA]), "NODATA"),
        (NO_REPLY, "SERVFAIL"),
    ],
)
async def test_replies_are_counted_by_what_they_say(
    harness: ForwarderHarness, with_: Any, rcode: str
) -> None:
    async with working(harness):
        harness.hand("www.example.com")
        await harness.single_flight.upstreams.answer(with_)
        await harness.reply()
        await harness.asking("www.example.com")
    assert [*stats.replies(harness.counters.slots)] == [("A", rcode, "tcp", "forward", 2)]
    assert (harness.count(stats.CACHE_MISSES), harness.count(stats.CACHE_HITS)) == (1, 1)


async def test_what_stands_in_is_counted(harness: ForwarderHarness) -> None:
    async with working(harness):
        harness.hand("www.example.com")
        await harness.single_flight.upstreams.answer()
        await harness.reply()
        harness.single_flight.time += 301
        harness.hand("www.example.com")
        await harness.single_flight.upstreams.answer(NO_REPLY)
        for reply in ((await harness.reply())[1], await harness.asking("www.example.com")):
            assert errors(reply) == ("NOERROR", [codes.EDE_STALE_ANSWER])
    assert harness.count(stats.STALE_ANSWERS) == 2
