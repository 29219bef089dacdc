"""The forwarder's limits, its counters, and that whatever is counted while it waits goes back to 0."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import dns.rcode
import pytest
from forward.unit.forwarder_harness import ALIAS, Office, errors, office_in, question, run, working
from forward.unit.single_flight_harness import NO_REPLY, address, nxdomain, says, truncated, until
from toolbox.answerer_harness import Z
from toolbox.cached_replies import SOA, texts

from svcdns.dns import stats
from svcdns.dns.forward_link import ForwardRequest, receive_replies, send
from svcdns.forward.forwarder import Limits
from svcdns.wire import codes
from svcdns.wire.query import Query


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    with office_in(tmp_path, monkeypatch) as made:
        yield made


def test_above_the_limit_of_a_client_it_is_refused_and_others_are_not(office: Office) -> None:
    async def test() -> None:
        async with working(office, limits=Limits(100, 3)):
            waiting = [office.hand(f"n{number}.example.com") for number in range(3)]
            refused = [office.hand(name) for name in ("n4.example.com", "n0.example.com", ALIAS)]
            for ticket in refused:
                got, reply = await office.reply()
                assert got == ticket
                assert errors(reply) == ("SERVFAIL", [23])
            own = office.hand(f"web.default.svc.{Z}")
            assert (await office.reply())[0] == own
            other = office.hand("n5.example.com", client=("192.0.2.78", 1))
            assert office.count(stats.FORWARD_REFUSED) == 3
            for ticket in (*waiting, other):
                await office.sky.upstreams.answer()
                assert (await office.reply())[0] == ticket
            office.hand("n6.example.com")
            await office.sky.upstreams.answer()
            assert (await office.reply())[1].rcode() == dns.rcode.NOERROR

    run(test())


def test_above_the_limit_of_all_everybody_is_refused_what_the_cache_lacks(office: Office) -> None:
    async def test() -> None:
        async with working(office, limits=Limits(5, 3)):
            office.hand("www.example.com")
            await office.sky.upstreams.answer()
            await office.reply()
            for number in range(5):
                office.hand(f"n{number}.example.com", client=(f"192.0.2.{number}", 1), worker=1)
            await until(lambda: office.forwarder.outstanding == 5)
            assert errors(await office.asking("new.example.com", edns=True)) == ("SERVFAIL", [23])
            assert errors(await office.asking("new.example.com", edns=False)) == ("SERVFAIL", [])
            assert texts((await office.asking("www.example.com")).answer)
            for _ in range(5):
                await office.sky.upstreams.answer(NO_REPLY)
            await until(lambda: office.forwarder.outstanding == 0)

    run(test())


ENDINGS: dict[str, Callable[[Office], Any]] = {
    "answered": lambda _: address,
    "nxdomain": lambda _: nxdomain,
    "truncated": lambda _: truncated,
    "not to be kept": lambda _: lambda ask: address(ask, ttl=0),
    "no upstream": lambda _: NO_REPLY,
    "exception": lambda _: RuntimeError("unexpected"),
    "extended rcode": lambda _: lambda ask: replace(address(ask), rcode=23),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["www.elsewhere.test", ALIAS])
def test_counters_go_back_in_every_ending(office: Office, ending: str, name: str) -> None:
    async def test() -> None:
        async with working(office):
            tickets = {office.hand(name, client=(f"192.0.2.{n % 3}", n)) for n in range(10)}
            await until(lambda: office.forwarder.outstanding == 10)
            await office.sky.upstreams.answer(ENDINGS[ending](office))
            assert {(await office.reply())[0] for _ in tickets} == tickets
            office.assert_idle()
        assert office.count(stats.CACHE_MISSES) == 10
        assert sum(count.value for count in stats.replies(office.counters.slots)) == 10

    run(test())


def test_counters_go_back_where_clients_are_gone(office: Office) -> None:
    async def test() -> None:
        async with working(office):
            packet = question("www.example.com").to_wire()
            for number in range(3):
                assert send(
                    office.workers[0], ForwardRequest(packet, monotonic(), (f"192.0.2.{number}", 0), 0)
                )
            assert send(office.workers[0], ForwardRequest(packet, monotonic(), ("127.0.0.1", 9), 99))
            await until(lambda: office.forwarder.outstanding == 4)
            await office.sky.upstreams.answer()
            await until(lambda: office.forwarder.outstanding == 0)
        assert office.count(stats.DROPPED) == 4

    run(test())


def test_counters_go_back_where_a_link_is_full(office: Office) -> None:
    def sixty_kilobytes(ask: Query) -> Any:
        return says(ask, [f'www.example.com. 300 IN TXT "{number:04} {"x" * 240}"' for number in range(230)])

    async def test() -> None:
        async with working(office, limits=Limits(10_000, 10_000)):
            count = 0
            while not office.count(stats.DROPPED) and count < 1000:
                office.hand("www.example.com", "TXT")
                count += 1
                if count == 1:
                    await office.sky.upstreams.answer(sixty_kilobytes)
                await asyncio.sleep(0)
            await until(lambda: office.count(stats.DROPPED))
            assert len(receive_replies(office.workers[0], 1000)) >= 3
            assert texts((await office.asking("www.example.com", "TXT")).answer)

    run(test())


def test_counters_go_back_at_the_end_and_all_are_told(office: Office) -> None:
    async def test() -> None:
        async with working(office):
            tickets = {office.hand(f"n{n}.example.com") for n in range(5)}
            await until(lambda: office.forwarder.outstanding == 5)
        got = dict([await office.reply() for _ in tickets])
        assert set(got) == tickets
        assert {(*map(str, errors(reply)),) for reply in got.values()} == {("SERVFAIL", "[23]")}

    run(test())


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
def test_replies_are_counted_by_what_they_say(office: Office, with_: Any, rcode: str) -> None:
    async def test() -> None:
        async with working(office):
            office.hand("www.example.com")
            await office.sky.upstreams.answer(with_)
            await office.reply()
            await office.asking("www.example.com")
        assert [*stats.replies(office.counters.slots)] == [("A", rcode, "tcp", "forward", 2)]
        assert (office.count(stats.CACHE_MISSES), office.count(stats.CACHE_HITS)) == (1, 1)

    run(test())


def test_what_stands_in_is_counted(office: Office) -> None:
    async def test() -> None:
        async with working(office):
            office.hand("www.example.com")
            await office.sky.upstreams.answer()
            await office.reply()
            office.sky.time += 301
            office.hand("www.example.com")
            await office.sky.upstreams.answer(NO_REPLY)
            for reply in ((await office.reply())[1], await office.asking("www.example.com")):
                assert errors(reply) == ("NOERROR", [codes.EDE_STALE_ANSWER])
        assert office.count(stats.STALE_ANSWERS) == 2

    run(test())
