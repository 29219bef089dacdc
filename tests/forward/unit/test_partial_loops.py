"""Partial loops: an upstream that asks us what we ask it hears what our zones say, once that is proved."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest
from forward.unit.forwarder_harness import ALIAS, Office, errors, office_in, run, working
from forward.unit.single_flight_harness import address, ask_for, name_of, nxdomain, until
from toolbox.answerer_harness import rrset

from svcdns.dns import stats
from svcdns.forward import partial_loops as circles_module
from svcdns.forward.health import Health
from svcdns.forward.partial_loops import CLOSED_SECONDS, OPEN_SECONDS, TELL_SECONDS, Circles
from svcdns.forward.upstreams.upstream import NoReply
from svcdns.names.packed import CUT
from svcdns.wire.query import Query
from svcdns.wire.response import Response

THERE = "198.51.100.53"
"""An upstream's address."""
OTHER = "2001:db8::53"
NAME = "9.2.0.192.in-addr.arpa"
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
    """An office whose upstreams may ask back."""

    def __init__(self, office: Office, *hosts: str, here: str = "") -> None:
        self.office = office
        self.time = 1000.0
        self.resolvers = [Resolver(host) for host in hosts]
        self.healths = [Health(one, address=one.host) for one in self.resolvers]
        self.circles = Circles(
            self._upstreams,
            office.sky.flights.is_under_way,
            is_here=lambda host: host == here,
            clock=lambda: self.time,
        )
        self.asked_at: list[bytes] = []

    def _upstreams(self, key: bytes) -> Sequence[Health]:
        self.asked_at.append(key)
        return self.healths

    async def under_way(self, name: str = NAME, rrtype: str = "PTR", **asked: Any) -> int:
        """Have somebody ask, until upstreams are; return the ticket."""
        ticket = self.office.hand(name, rrtype, **asked)
        await until(lambda: len(self.office.sky.upstreams))
        return ticket

    def back(self, name: str = NAME, rrtype: str = "PTR", host: str = THERE, **asked: Any) -> int:
        """Ask from an upstream's address."""
        return self.office.hand(name, rrtype, client=(host, 4321), **asked)

    async def prove(self, number: int = 0, count: int = 1) -> None:
        """Send an upstream's probe, the so many-th one, back to us."""
        resolver = self.resolvers[number]
        await until(lambda: len(resolver.probes) == count)
        ticket = self.back(name_of(resolver.probes[-1]), "HINFO", resolver.host)
        assert errors(await self.get(ticket)) == ("REFUSED", [0])

    async def get(self, ticket: int) -> dns.message.Message:
        got, reply = await self.office.reply()
        assert got == ticket
        return reply

    async def finish(self, *tickets: int, with_: object = nxdomain) -> dict[int, dns.message.Message]:
        """Have the upstream answer the one question that is under way; return these replies."""
        await self.office.sky.upstreams.answer(with_)
        return dict([await self.office.reply() for _ in tickets])

    def assert_answered_by_us(self, reply: dns.message.Message) -> None:
        assert errors(reply) == ("NXDOMAIN", [])
        assert reply.flags & dns.flags.AA


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    with office_in(tmp_path, monkeypatch) as made:
        yield made


def test_it_hears_what_our_zones_say(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        world = Round(office, THERE)
        async with working(office, circles=world.circles):
            first = await world.under_way()
            held = world.back()
            await world.prove()
            world.assert_answered_by_us(await world.get(held))
            assert len(office.sky.upstreams) == 1, "it is not asked again"
            more = [world.back(flags=flags) for flags in (dns.flags.RD, dns.flags.RD | dns.flags.CD)]
            for ticket in more:
                world.assert_answered_by_us(await world.get(ticket))
            assert len(world.resolvers[0].probes) == 1
            got = await world.finish(first)
            assert errors(got[first]) == ("NXDOMAIN", [])
        assert office.count(stats.FORWARD_LOOPS) == 4, "with the probe"
        assert world.resolvers[0].probes[0].key.startswith(ask_for(NAME).key)

    with caplog.at_level(logging.INFO):
        run(test())
    (told,) = [record for record in caplog.records if record.name.endswith("partial_loops")]
    assert told.levelname == "WARNING"
    assert (
        f"upstream {THERE} sends questions for names in our zone 192.in-addr.arpa. that" in told.getMessage()
    )
    assert f"such as {NAME}. " in told.getMessage()
    assert "[[forward.zone]]" in told.getMessage()


def test_a_proof_is_for_the_names_beside_it(office: Office) -> None:
    """Our zone may be all of in-addr.arpa, and what comes back to us one network of it."""
    beside, elsewhere = "8.2.0.192.in-addr.arpa", "9.3.0.192.in-addr.arpa"

    async def test() -> None:
        world = Round(office, THERE)
        async with working(office, circles=world.circles):
            first = await world.under_way()
            held = world.back()
            await world.prove()
            world.assert_answered_by_us(await world.get(held))
            await world.finish(first)
            first = await world.under_way(beside)
            world.assert_answered_by_us(await world.get(world.back(beside)))
            await world.finish(first)
            world.resolvers[0].over.set()
            tickets = [await world.under_way(elsewhere), world.back(elsewhere)]
            await until(lambda: office.forwarder.outstanding == 2)
            assert len(await world.finish(*tickets)) == 2, "that one doesn't come back"
            assert len(world.resolvers[0].probes) == 2

    run(test())


@pytest.mark.parametrize("most", [1, 2])
def test_what_is_known_is_bounded(office: Office, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(circles_module, "MOST_KNOWN", most)

    async def test() -> None:
        world = Round(office, THERE)
        world.resolvers[0].over.set()
        async with working(office, circles=world.circles):
            for number in range(5):
                name = f"9.{number}.0.192.in-addr.arpa"
                tickets = [await world.under_way(name), world.back(name)]
                await until(lambda: office.forwarder.outstanding == 2)
                await world.finish(*tickets)
                assert len(world.circles._findings) <= most
            assert len(world.resolvers[0].probes) == 5

    run(test())


def test_of_what_a_zone_file_delegates_it_gets_the_referral(office: Office) -> None:
    with office.world.writing():
        zone = office.world.file_zone("parent.example", cuts=True)
        office.world.put_file(zone, "sub.parent.example", rrset("NS", "ns.elsewhere.test."), flags=CUT)

    async def test() -> None:
        world = Round(office, THERE)
        async with working(office, circles=world.circles):
            first = await world.under_way(DELEGATED, "A")
            held = world.back(DELEGATED, "A")
            await world.prove()
            reply = await world.get(held)
            assert errors(reply) == ("NOERROR", [])
            assert not reply.answer
            assert [str(rr.name) for rr in reply.authority] == ["sub.parent.example."]
            await world.finish(first)

    run(test())


def test_without_a_proof_it_is_a_client_like_others(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody on the upstream's host, or behind one NAT with it, asks twice or what others ask."""

    async def test() -> None:
        world = Round(office, THERE)
        world.resolvers[0].over.set()
        async with working(office, circles=world.circles):
            for _ in range(3):
                first = await world.under_way(NAME, "A")
                tickets = [first, world.back(NAME, "A"), world.back(NAME, "A")]
                await until(lambda: office.forwarder.outstanding == 3)
                for reply in (await world.finish(*tickets, with_=address)).values():
                    assert len(reply.answer) == 1
                office.sky.time += 1000
            assert len(world.resolvers[0].probes) == 1, "nor is it suspected again for a while"
            world.time += OPEN_SECONDS
            tickets = [await world.under_way(NAME, "A"), world.back(NAME, "A")]
            await until(lambda: office.forwarder.outstanding == 2)
            await world.finish(*tickets)
            assert len(world.resolvers[0].probes) == 2
        assert office.count(stats.FORWARD_LOOPS) == 0

    run(test())
    assert not caplog.records


def test_a_probe_that_is_lost_costs_no_more_than_the_time_for_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circles_module, "PROOF_SECONDS", 0.05)

    async def test() -> None:
        world = Round(office, THERE)
        async with working(office, circles=world.circles):
            tickets = [await world.under_way(), world.back()]
            await until(lambda: world.resolvers[0].probes)
            await until(lambda: office.forwarder.outstanding == 2)
            assert len(await world.finish(*tickets)) == 2
            late = world.back(name_of(world.resolvers[0].probes[0]), "HINFO")
            await office.sky.upstreams.answer(nxdomain)
            assert errors(await world.get(late)) == ("NXDOMAIN", []), "no probe any more"

    run(test())


@pytest.mark.parametrize(
    ("name", "rrtype", "asked", "changed"),
    [
        ("www.example.com", "A", "www.example.com", {}),  # in no zone of ours
        (ALIAS, "A", "www.elsewhere.test", {}),  # the target is under way, which is no circle
        (NAME, "PTR", NAME, {"host": "198.51.100.54"}),  # no upstream
        (NAME, "PTR", NAME, {"here": THERE}),
    ],
    ids=["no zone of ours", "an alias of ours", "another client", "this host"],
)
def test_who_is_not_suspected(
    office: Office, name: str, rrtype: str, asked: str, changed: dict[str, str]
) -> None:
    async def test() -> None:
        world = Round(office, THERE, here=changed.pop("here", ""))
        async with working(office, circles=world.circles):
            tickets = [await world.under_way(asked, rrtype), world.back(name, rrtype, **changed)]
            await until(lambda: office.forwarder.outstanding == 2)
            await world.finish(*tickets)
            assert not world.resolvers[0].probes

    run(test())


def test_an_upstream_that_begins_is_not_suspected(office: Office) -> None:
    async def test() -> None:
        world = Round(office, THERE)
        async with working(office, circles=world.circles):
            ticket = world.back()
            other = world.back(NAME, "A")
            await until(lambda: len(office.sky.upstreams) == 2)
            for _ in range(2):
                await office.sky.upstreams.answer(nxdomain)
            assert {(await office.reply())[0] for _ in range(2)} == {ticket, other}
            assert not world.resolvers[0].probes

    run(test())


@pytest.mark.parametrize("host", [f"::ffff:{THERE}", THERE])
def test_its_address_is_known_however_it_came(office: Office, host: str) -> None:
    async def test() -> None:
        world = Round(office, THERE)
        async with working(office, circles=world.circles):
            first = await world.under_way()
            held = world.back(host=host)
            await world.prove()
            world.assert_answered_by_us(await world.get(held))
            await world.finish(first)

    run(test())


def test_ds_is_looked_at_where_it_is_asked_for(office: Office) -> None:
    async def test() -> None:
        world = Round(office, THERE)
        async with working(office, circles=world.circles):
            first = await world.under_way(NAME, "DS")
            held = world.back(NAME, "DS")
            await world.prove()
            world.assert_answered_by_us(await world.get(held))
            await world.finish(first)
        assert set(world.asked_at) == {ask_for("2.0.192.in-addr.arpa").key}

    run(test())


def test_while_another_upstream_may_know_it_is_refused(office: Office) -> None:
    """So the pool goes on to that one at once; when that asks back too, nobody knows."""

    async def test() -> None:
        world = Round(office, THERE, OTHER)
        async with working(office, circles=world.circles):
            first = await world.under_way()
            held = world.back()
            await world.prove(0)
            assert errors(await world.get(held)) == ("REFUSED", [0])
            held = world.back(host=OTHER)
            await world.prove(1)
            world.assert_answered_by_us(await world.get(held))
            world.assert_answered_by_us(await world.get(world.back()))
            await world.finish(first)
        assert office.count(stats.FORWARD_LOOPS) == 5

    run(test())


def test_one_that_is_out_of_use_knows_nothing(office: Office) -> None:
    async def test() -> None:
        world = Round(office, THERE, OTHER)
        world.healths[1].looped = True
        async with working(office, circles=world.circles):
            first = await world.under_way()
            held = world.back()
            await world.prove()
            world.assert_answered_by_us(await world.get(held))
            await world.finish(first)

    run(test())


def test_a_proof_ends_and_is_told_once_an_hour(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    def told() -> int:
        return sum(record.name.endswith("partial_loops") for record in caplog.records)

    async def test() -> None:
        world = Round(office, THERE)
        async with working(office, circles=world.circles):
            for count, after in enumerate((0.0, CLOSED_SECONDS, TELL_SECONDS)):
                world.time += after
                first = await world.under_way()
                held = world.back()
                await world.prove(0, count + 1)
                world.assert_answered_by_us(await world.get(held))
                await world.finish(first)
                office.sky.time += 1000
                assert told() == (1, 1, 2)[count]

    run(test())


def test_no_more_are_held_than_there_is_room_for(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circles_module, "MOST_HELD", 2)

    async def test() -> None:
        world = Round(office, THERE)
        async with working(office, circles=world.circles):
            tickets = [await world.under_way(), *(world.back() for _ in range(5))]
            await until(lambda: office.forwarder.outstanding == 4)
            world.resolvers[0].over.set()
            await until(lambda: office.forwarder.outstanding == 6)
            assert set(await world.finish(*tickets)) == set(tickets)

    run(test())


def test_while_there_are_too_many_probes_nobody_is_suspected(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circles_module, "MOST_PROBES", 1)
    other = "9.3.0.192.in-addr.arpa"

    async def test() -> None:
        world = Round(office, THERE)
        async with working(office, circles=world.circles):
            first = await world.under_way()
            held = world.back()
            await until(lambda: world.resolvers[0].probes)
            tickets = [office.hand(other, "PTR")]
            await until(lambda: len(office.sky.upstreams) == 2)
            tickets.append(world.back(other))
            await until(lambda: office.forwarder.outstanding == 3)
            await world.prove()
            world.assert_answered_by_us(await world.get(held))
            await world.finish(first)
            assert len(await world.finish(*tickets)) == 2

    run(test())


def test_at_the_end_nobody_is_held(office: Office) -> None:
    async def test() -> None:
        world = Round(office, THERE)
        async with working(office, circles=world.circles):
            tickets = [await world.under_way(), world.back()]
            await until(lambda: world.resolvers[0].probes)
            office.forwarder.stop()
            await until(lambda: office.forwarder.outstanding == 2)
            assert len(await world.finish(*tickets)) == 2
            office.forwarder.start()
        await until(lambda: not world.circles._proving)

    run(test())
