"""Partial loops: an upstream that asks us what we ask it hears what our zones say, once that is proved."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import dns.flags
import dns.message
import pytest
from forward.unit.forwarder_harness import ALIAS, ForwarderHarness, errors, working
from forward.unit.upstream_replies import address, ask_for, name_of, nxdomain
from toolbox.answerer_harness import rrset
from toolbox.waiting import until

from svcdns.dns import stats
from svcdns.forward import partial_loops as partial_loops_module
from svcdns.forward.health import Health
from svcdns.forward.partial_loops import LOG_SECONDS, LOOP_SECONDS, NO_LOOP_SECONDS, PartialLoopDetector
from svcdns.forward.upstreams.upstream import NoReply
from svcdns.names.packed import CUT
from svcdns.wire.key import key_of
from svcdns.wire.query import Query
from svcdns.wire.response import Response

THERE = "198.51.100.53"
"""An upstream's address."""
OTHER = "2001:db8::53"
NAME = "9.2.3.192.in-addr.arpa"
"""In a zone of ours that falls through, where we know nothing of it."""
DELEGATED = "www.sub.parent.example"


class Resolver:
    """An upstream that takes probes; what else it is asked, the test's pool hears."""

    garbage = 0

    def __init__(self, host: str) -> None:
        self.name = self.host = host
        self.probes: list[Query] = []
        self.over = asyncio.Event()
        """Set when it is to answer."""

    async def exchange(self, ask: Query, seconds: float) -> Response:
        self.probes.append(ask)
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            raise NoReply("no reply in time") from None
        return nxdomain(ask)

    async def close(self) -> None:
        pass


class Round:
    """A forwarder whose upstreams may ask back."""

    def __init__(self, harness: ForwarderHarness, *hosts: str, here: str = "") -> None:
        self.harness = harness
        self.time = 1000.0
        self.resolvers = [Resolver(host) for host in hosts]
        self.healths = [Health(one, address=one.host) for one in self.resolvers]
        self.detector = PartialLoopDetector(
            self._upstreams,
            harness.single_flight.flights.is_under_way,
            is_here=lambda host: host == here,
            clock=lambda: self.time,
        )
        self.asked_at: list[bytes] = []

    def _upstreams(self, key: bytes) -> Sequence[Health]:
        self.asked_at.append(key)
        return self.healths

    async def under_way(self, name: str = NAME, rrtype: str = "PTR", **asked: Any) -> int:
        """Have somebody ask, until upstreams are; return the ticket."""
        ticket = self.harness.hand(name, rrtype, **asked)
        await until(lambda: len(self.harness.single_flight.upstreams))
        return ticket

    def back(self, name: str = NAME, rrtype: str = "PTR", host: str = THERE, **asked: Any) -> int:
        """Ask from an upstream's address."""
        return self.harness.hand(name, rrtype, client=(host, 4321), **asked)

    async def prove(self, number: int = 0, count: int = 1) -> None:
        """Send an upstream's probe, the so many-th one, back to us."""
        resolver = self.resolvers[number]
        await until(lambda: len(resolver.probes) == count)
        ticket = self.back(name_of(resolver.probes[-1]), "HINFO", resolver.host)
        assert errors(await self.get(ticket)) == ("REFUSED", [0])

    async def get(self, ticket: int) -> dns.message.Message:
        got, reply = await self.harness.reply()
        assert got == ticket
        return reply

    async def finish(self, *tickets: int, with_: object = nxdomain) -> dict[int, dns.message.Message]:
        """Have the upstream answer the one question that is under way; return these replies."""
        await self.harness.single_flight.upstreams.answer(with_)
        return dict([await self.harness.reply() for _ in tickets])

    async def prove_and_answer(self, rrtype: str = "PTR", host: str = THERE, count: int = 1) -> int:
        """Have somebody ask and the upstream ask back: once that is proved, it hears what our zones say.

        Return the ticket of the one who asked, whom the upstream still has to answer.
        """
        first = await self.under_way(NAME, rrtype)
        held = self.back(NAME, rrtype, host)
        await self.prove(count=count)
        self.assert_answered_by_us(await self.get(held))
        return first

    def assert_answered_by_us(self, reply: dns.message.Message) -> None:
        assert errors(reply) == ("NXDOMAIN", [])
        assert reply.flags & dns.flags.AA


@asynccontextmanager
async def at_work(harness: ForwarderHarness, *hosts: str, here: str = "") -> AsyncIterator[Round]:
    """Give a round with upstreams at these addresses, whose forwarder works; at the end nothing waits."""
    world = Round(harness, *hosts, here=here)
    async with working(harness, partial_loops=world.detector):
        yield world


async def test_it_hears_what_our_zones_say(
    harness: ForwarderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with at_work(harness, THERE) as world:
            first = await world.prove_and_answer()
            assert len(harness.single_flight.upstreams) == 1, "it is not asked again"
            more = [world.back(flags=flags) for flags in (dns.flags.RD, dns.flags.RD | dns.flags.CD)]
            for ticket in more:
                world.assert_answered_by_us(await world.get(ticket))
            assert len(world.resolvers[0].probes) == 1
            got = await world.finish(first)
            assert errors(got[first]) == ("NXDOMAIN", [])
        assert harness.count(stats.FORWARD_LOOPS) == 4, "with the probe"
        assert world.resolvers[0].probes[0].key.startswith(ask_for(NAME).key)
    (told,) = [record for record in caplog.records if record.name.endswith("partial_loops")]
    assert told.levelname == "WARNING"
    assert (
        f"upstream {THERE} sends questions for names in our zone 192.in-addr.arpa. that" in told.getMessage()
    )
    assert f"such as {NAME}. " in told.getMessage()
    assert "[[forward.zone]]" in told.getMessage()


async def test_a_zone_for_aliases_comes_back_too(
    harness: ForwarderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """A site's resolver that sends all of the zone here; nobody speaks for what no alias has."""
    name = "none.example.com"
    harness.world.serve(alias_zones=(key_of("example.com"),))
    async with at_work(harness, THERE) as world:
        first = await world.under_way(name, "A")
        held = world.back(name, "A")
        await world.prove()
        assert errors(await world.get(held)) == ("REFUSED", [20])
        await world.finish(first)
    assert "in our zone example.com. that" in caplog.text


async def test_a_proof_is_for_the_names_beside_it(harness: ForwarderHarness) -> None:
    """Our zone may be all of in-addr.arpa, and what comes back to us one network of it."""
    beside, elsewhere = "8.2.3.192.in-addr.arpa", "9.3.3.192.in-addr.arpa"
    async with at_work(harness, THERE) as world:
        await world.finish(await world.prove_and_answer())
        first = await world.under_way(beside)
        world.assert_answered_by_us(await world.get(world.back(beside)))
        await world.finish(first)
        world.resolvers[0].over.set()
        tickets = [await world.under_way(elsewhere), world.back(elsewhere)]
        await until(lambda: harness.lookups.outstanding == 2)
        assert len(await world.finish(*tickets)) == 2, "that one doesn't come back"
        assert len(world.resolvers[0].probes) == 2


@pytest.mark.parametrize("most", [1, 2])
async def test_what_is_known_is_bounded(
    harness: ForwarderHarness, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(partial_loops_module, "MOST_KNOWN", most)
    async with at_work(harness, THERE) as world:
        world.resolvers[0].over.set()
        for number in range(5):
            name = f"9.{number}.3.192.in-addr.arpa"
            tickets = [await world.under_way(name), world.back(name)]
            await until(lambda: harness.lookups.outstanding == 2)
            await world.finish(*tickets)
            assert len(world.detector._findings) <= most
        assert len(world.resolvers[0].probes) == 5


async def test_of_what_a_zone_file_delegates_it_gets_the_referral(harness: ForwarderHarness) -> None:
    with harness.world.writing():
        zone = harness.world.file_zone("parent.example", cuts=True)
        harness.world.put_file(zone, "sub.parent.example", rrset("NS", "ns.elsewhere.info."), flags=CUT)
    async with at_work(harness, THERE) as world:
        first = await world.under_way(DELEGATED, "A")
        held = world.back(DELEGATED, "A")
        await world.prove()
        reply = await world.get(held)
        assert errors(reply) == ("NOERROR", [])
        assert not reply.answer
        assert [str(rr.name) for rr in reply.authority] == ["sub.parent.example."]
        await world.finish(first)


async def test_without_a_proof_it_is_a_client_like_others(
    harness: ForwarderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody on the upstream's host, or behind one NAT with it, asks twice or what others ask."""
    async with at_work(harness, THERE) as world:
        world.resolvers[0].over.set()
        for _ in range(3):
            first = await world.under_way(NAME, "A")
            tickets = [first, world.back(NAME, "A"), world.back(NAME, "A")]
            await until(lambda: harness.lookups.outstanding == 3)
            for reply in (await world.finish(*tickets, with_=address)).values():
                assert len(reply.answer) == 1
            harness.single_flight.time += 1000
        assert len(world.resolvers[0].probes) == 1, "nor is it suspected again for a while"
        world.time += NO_LOOP_SECONDS
        tickets = [await world.under_way(NAME, "A"), world.back(NAME, "A")]
        await until(lambda: harness.lookups.outstanding == 2)
        await world.finish(*tickets)
        assert len(world.resolvers[0].probes) == 2
    assert harness.count(stats.FORWARD_LOOPS) == 0
    assert not caplog.records


async def test_a_probe_that_is_lost_costs_no_more_than_the_time_for_it(
    harness: ForwarderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial_loops_module, "PROOF_SECONDS", 0.05)
    async with at_work(harness, THERE) as world:
        tickets = [await world.under_way(), world.back()]
        await until(lambda: world.resolvers[0].probes)
        await until(lambda: harness.lookups.outstanding == 2)
        assert len(await world.finish(*tickets)) == 2
        late = world.back(name_of(world.resolvers[0].probes[0]), "HINFO")
        await harness.single_flight.upstreams.answer(nxdomain)
        assert errors(await world.get(late)) == ("NXDOMAIN", []), "no probe any more"


@pytest.mark.parametrize(
    ("name", "rrtype", "asked", "changed"),
    [
        ("www.example.com", "A", "www.example.com", {}),  # in no zone of ours
        (ALIAS, "A", "www.elsewhere.info", {}),  # the target is under way, which is no circle
        (NAME, "PTR", NAME, {"host": "198.51.100.54"}),  # no upstream
        (NAME, "PTR", NAME, {"here": THERE}),
    ],
    ids=["no zone of ours", "an alias of ours", "another client", "this host"],
)
async def test_who_is_not_suspected(
    harness: ForwarderHarness, name: str, rrtype: str, asked: str, changed: dict[str, str]
) -> None:
    async with at_work(harness, THERE, here=changed.pop("here", "")) as world:
        tickets = [await world.under_way(asked, rrtype), world.back(name, rrtype, **changed)]
        await until(lambda: harness.lookups.outstanding == 2)
        await world.finish(*tickets)
        assert not world.resolvers[0].probes


async def test_an_upstream_that_begins_is_not_suspected(harness: ForwarderHarness) -> None:
    async with at_work(harness, THERE) as world:
        ticket = world.back()
        other = world.back(NAME, "A")
        await until(lambda: len(harness.single_flight.upstreams) == 2)
        for _ in range(2):
            await harness.single_flight.upstreams.answer(nxdomain)
        assert {(await harness.reply())[0] for _ in range(2)} == {ticket, other}
        assert not world.resolvers[0].probes


@pytest.mark.parametrize("host", [f"::ffff:{THERE}", THERE])
async def test_its_address_is_known_however_it_came(harness: ForwarderHarness, host: str) -> None:
    async with at_work(harness, THERE) as world:
        await world.finish(await world.prove_and_answer(host=host))


async def test_ds_is_looked_at_where_it_is_asked_for(harness: ForwarderHarness) -> None:
    async with at_work(harness, THERE) as world:
        await world.finish(await world.prove_and_answer("DS"))
    assert set(world.asked_at) == {ask_for("2.3.192.in-addr.arpa").key}


async def test_while_another_upstream_may_know_it_is_refused(harness: ForwarderHarness) -> None:
    """So the pool goes on to that one at once; when that asks back too, nobody knows."""
    async with at_work(harness, THERE, OTHER) as world:
        first = await world.under_way()
        held = world.back()
        await world.prove(0)
        assert errors(await world.get(held)) == ("REFUSED", [0])
        held = world.back(host=OTHER)
        await world.prove(1)
        world.assert_answered_by_us(await world.get(held))
        world.assert_answered_by_us(await world.get(world.back()))
        await world.finish(first)
    assert harness.count(stats.FORWARD_LOOPS) == 5


async def test_one_that_is_out_of_use_knows_nothing(harness: ForwarderHarness) -> None:
    async with at_work(harness, THERE, OTHER) as world:
        world.healths[1].looped = True
        await world.finish(await world.prove_and_answer())


async def test_a_proof_ends_and_is_told_once_an_hour(
    harness: ForwarderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> int:
        return sum(record.name.endswith("partial_loops") for record in caplog.records)

    async with at_work(harness, THERE) as world:
        for count, after in enumerate((0.0, LOOP_SECONDS, LOG_SECONDS)):
            world.time += after
            await world.finish(await world.prove_and_answer(count=count + 1))
            harness.single_flight.time += 1000
            assert told() == (1, 1, 2)[count]


async def test_no_more_are_held_than_there_is_room_for(
    harness: ForwarderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial_loops_module, "MOST_HELD", 2)
    async with at_work(harness, THERE) as world:
        tickets = [await world.under_way(), *(world.back() for _ in range(5))]
        await until(lambda: harness.lookups.outstanding == 4)
        world.resolvers[0].over.set()
        await until(lambda: harness.lookups.outstanding == 6)
        assert set(await world.finish(*tickets)) == set(tickets)


async def test_while_there_are_too_many_probes_nobody_is_suspected(
    harness: ForwarderHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial_loops_module, "MOST_PROBES", 1)
    other = "9.3.3.192.in-addr.arpa"
    async with at_work(harness, THERE) as world:
        first = await world.under_way()
        held = world.back()
        await until(lambda: world.resolvers[0].probes)
        tickets = [harness.hand(other, "PTR")]
        await until(lambda: len(harness.single_flight.upstreams) == 2)
        tickets.append(world.back(other))
        await until(lambda: harness.lookups.outstanding == 3)
        await world.prove()
        world.assert_answered_by_us(await world.get(held))
        await world.finish(first)
        assert len(await world.finish(*tickets)) == 2


async def test_at_the_end_nobody_is_held(harness: ForwarderHarness) -> None:
    async with at_work(harness, THERE) as world:
        tickets = [await world.under_way(), world.back()]
        await until(lambda: world.resolvers[0].probes)
        harness.forwarder.stop()
        await until(lambda: harness.lookups.outstanding == 2)
        assert len(await world.finish(*tickets)) == 2
        harness.forwarder.start()
    await until(lambda: not world.detector._proving)
