"""The forwarder: errands in, replies out by the way they came; our zones first; what is no errand."""

import asyncio
import socket
from time import monotonic

import dns.flags
import dns.message
import dns.rcode
import pytest
from forward.unit.forwarder_harness import (
    ALIAS,
    CLIENT,
    PROBE,
    ForwarderHarness,
    bound,
    errors,
    question,
    working,
)
from forward.unit.upstream_replies import ask_for, nxdomain
from toolbox.answerer_harness import TTL, Z, rrset
from toolbox.cached_replies import SOA, texts
from toolbox.waiting import GUARD_SECONDS

from svcdns.dns import stats
from svcdns.dns.forward_link import OLDEST_SECONDS, ForwardRequest, receive_requests, send
from svcdns.dns.udp import ask_for_addresses, from_there
from svcdns.forward.intake import BATCH
from svcdns.forward.single_flight import Limits
from svcdns.store.snapshot import NO_SNAPSHOT
from svcdns.wire.key import key_of

# Ways back


async def test_a_udp_client_is_answered_from_the_listener_that_was_asked(harness: ForwarderHarness) -> None:
    async with working(harness):
        for number, listener in enumerate(harness.udp):
            with bound("127.0.0.1") as client:
                client.connect(listener.getsockname())  # nothing from elsewhere is received
                packet = question(f"n{number}.example.com").to_wire()
                assert send(
                    harness.workers[1], ForwardRequest(packet, monotonic(), client.getsockname(), number)
                )
                await harness.single_flight.upstreams.answer()
                octets = await asyncio.get_running_loop().sock_recv(client, 4096)
                reply = dns.message.from_wire(octets)
                assert texts(reply.answer) == [f"n{number}.example.com. 300 IN A 192.0.2.1"]
                assert octets[:2] == packet[:2]


@pytest.mark.parametrize(
    ("family", "wildcard", "host"), [(socket.AF_INET, "0.0.0.0", "127.0.0.5"), (socket.AF_INET6, "::", "::1")]
)
async def test_it_leaves_from_the_address_that_was_asked(
    harness: ForwarderHarness, family: socket.AddressFamily, wildcard: str, host: str
) -> None:
    loop = asyncio.get_running_loop()
    with (
        socket.socket(family, socket.SOCK_DGRAM) as listener,
        socket.socket(family, socket.SOCK_DGRAM) as client,
    ):
        listener.bind((wildcard, 0))
        ask_for_addresses(listener)
        harness.udp.append(listener)
        client.setblocking(False)
        client.connect((host, listener.getsockname()[1]))
        client.send(question("www.example.com").to_wire())
        listener.settimeout(GUARD_SECONDS)
        packet, ancillary, _, place = listener.recvmsg(4096, 64)
        async with working(harness):
            assert send(
                harness.workers[0], ForwardRequest(packet, monotonic(), place, 2, from_there(ancillary))
            )
            await harness.single_flight.upstreams.answer()
            reply = dns.message.from_wire(await loop.sock_recv(client, 4096))
        assert texts(reply.answer) == ["www.example.com. 300 IN A 192.0.2.1"]


async def test_a_tcp_client_is_answered_through_its_worker(harness: ForwarderHarness) -> None:
    async with working(harness):
        tickets = [harness.hand("www.example.com", worker=worker) for worker in (0, 1)]
        await harness.single_flight.upstreams.answer()
        for worker in (0, 1):
            ticket, reply = await harness.reply(worker)
            assert ticket == tickets[worker]
            assert texts(reply.answer) == ["www.example.com. 300 IN A 192.0.2.1"]
    assert len(harness.single_flight.upstreams.asked) == 1


async def test_flags_and_spelling_are_each_clients_own(harness: ForwarderHarness) -> None:
    async with working(harness):
        asked = {
            harness.hand("www.example.com"): ("www.example.com.", 0),
            harness.hand("WWW.example.com", edns=False): ("WWW.example.com.", -1),
        }
        await harness.single_flight.upstreams.answer()
        for _ in range(2):
            ticket, reply = await harness.reply()
            name, edns = asked.pop(ticket)
            assert str(reply.question[0].name) == str(reply.answer[0].name) == name
            assert reply.edns == edns
            assert reply.flags == dns.flags.QR | dns.flags.RD | dns.flags.RA


# Ours first


async def test_what_has_become_ours_on_the_way_is_answered_from_our_zones(harness: ForwarderHarness) -> None:
    name = "9.2.3.192.in-addr.arpa"
    await harness.single_flight.asking(ask_for("www.corp.example"))
    tickets = [
        harness.hand(name, "PTR"),
        harness.hand("www.corp.example"),
        harness.hand("no.corp.example"),
    ]
    harness.world.put(name, rrset("PTR", f"web.default.svc.{Z}."))
    zone = harness.world.file_zone("corp.example")
    harness.world.put_file(zone, "www.corp.example", rrset("A", "198.51.100.9"))
    async with working(harness):
        got = dict([await harness.reply() for _ in tickets])
        ptr, www, no = (got[ticket] for ticket in tickets)
        assert texts(ptr.answer) == [f"{name}. {TTL} IN PTR web.default.svc.{Z}."]
        assert texts(www.answer) == [f"www.corp.example. {TTL} IN A 198.51.100.9"], "the cache has another"
        assert no.rcode() == dns.rcode.NXDOMAIN
        for reply in (ptr, www, no):
            assert reply.flags & dns.flags.AA
            assert reply.flags & dns.flags.RA
    assert [ask.key for ask in harness.single_flight.upstreams.asked] == [key_of("www.corp.example")]


async def test_an_alias_that_was_changed_on_the_way_leads_where_it_does_now(
    harness: ForwarderHarness,
) -> None:
    tickets = [harness.hand(ALIAS), harness.hand(f"ext.default.svc.{Z}")]
    harness.world.put(ALIAS, rrset("CNAME", "new.elsewhere.info."))
    harness.world.drop(f"ext.default.svc.{Z}")
    async with working(harness):
        await harness.single_flight.upstreams.answer()
        got = dict([await harness.reply() for _ in tickets])
        changed, gone = (got[ticket] for ticket in tickets)
        assert texts(changed.answer) == [
            f"{ALIAS}. {TTL} IN CNAME new.elsewhere.info.",
            "new.elsewhere.info. 300 IN A 192.0.2.1",
        ]
        assert gone.rcode() == dns.rcode.NXDOMAIN
        assert gone.flags & dns.flags.AA


async def test_of_an_alias_only_the_target_is_asked_for_and_shared(harness: ForwarderHarness) -> None:
    async with working(harness):
        tickets = {harness.hand(ALIAS): 2, harness.hand("WWW.elsewhere.info"): 1}
        await harness.single_flight.upstreams.answer()
        for _ in range(2):
            ticket, reply = await harness.reply()
            assert len(reply.answer) == tickets[ticket]
        assert len((await harness.asking(ALIAS)).answer) == 2, "from the cache"
    assert [ask.key for ask in harness.single_flight.upstreams.asked] == [key_of("www.elsewhere.info")]


@pytest.mark.parametrize("name", ["arpa", "in-addr.arpa"])
async def test_names_above_ours_exist_whatever_upstreams_say(harness: ForwarderHarness, name: str) -> None:
    async with working(harness):
        harness.hand(name)
        await harness.single_flight.upstreams.answer(nxdomain)
        for reply in ((await harness.reply())[1], await harness.asking(name)):
            assert reply.rcode() == dns.rcode.NOERROR
            assert [str(rr.name) for rr in reply.authority] == [SOA.split()[0]]


async def test_an_alias_to_a_name_above_ours_says_the_same(harness: ForwarderHarness) -> None:
    with harness.world.writing():
        harness.world.put(f"above.default.svc.{Z}", rrset("CNAME", "arpa."))
    async with working(harness):
        harness.hand(f"above.default.svc.{Z}")
        await harness.single_flight.upstreams.answer(nxdomain)
        _, reply = await harness.reply()
        assert reply.rcode() == dns.rcode.NOERROR
        assert texts(reply.answer) == [f"above.default.svc.{Z}. {TTL} IN CNAME arpa."]


async def test_names_of_zones_that_fall_through_are_what_upstreams_say(harness: ForwarderHarness) -> None:
    async with working(harness):
        harness.hand("9.2.3.192.in-addr.arpa", "PTR")
        await harness.single_flight.upstreams.answer(nxdomain)
        _, reply = await harness.reply()
        assert reply.rcode() == dns.rcode.NXDOMAIN
        assert not reply.flags & dns.flags.AA
        assert [str(rr.name) for rr in reply.authority] == [SOA.split()[0]]


async def test_without_a_store_it_says_that_it_is_not_ready(
    harness: ForwarderHarness, caplog: pytest.LogCaptureFixture
) -> None:
    def failing() -> None:
        raise OSError("no store")

    for begin in (lambda: NO_SNAPSHOT, failing):
        async with working(harness, begin=begin):
            assert errors(await harness.asking("www.example.com")) == ("SERVFAIL", [14])
            assert errors(await harness.asking(f"web.default.svc.{Z}")) == ("SERVFAIL", [14])
    assert not harness.single_flight.upstreams.asked


# Probes, and errands that are none


async def test_a_probe_of_ours_is_refused_and_noted(harness: ForwarderHarness) -> None:
    async with working(harness):
        reply = await harness.asking(PROBE, "HINFO")
        assert errors(reply) == ("REFUSED", [0])
        assert harness.count(stats.FORWARD_LOOPS) == 1
        harness.hand(PROBE, "A")
        await harness.single_flight.upstreams.answer()
        assert (await harness.reply())[1].rcode() == dns.rcode.NOERROR
    assert harness.count(stats.FORWARD_LOOPS) == 1


async def test_what_has_waited_for_too_long_is_left(harness: ForwarderHarness) -> None:
    for _ in range(BATCH + 5):
        harness.hand("old.example.com", came=monotonic() - OLDEST_SECONDS - 0.1)
    last = harness.hand("young.example.com")
    async with working(harness):
        await harness.single_flight.upstreams.answer()
        ticket, _ = await harness.reply()
        assert ticket == last
    assert [ask.key for ask in harness.single_flight.upstreams.asked] == [key_of("young.example.com")]


async def test_what_waits_at_the_end_is_for_the_next_forwarder(harness: ForwarderHarness) -> None:
    async with working(harness):
        pass
    tickets = [harness.hand(f"n{number}.example.com", worker=number % 2) for number in range(2 * BATCH)]
    async with working(harness, limits=Limits(1000, 1000)):
        for _ in tickets:
            await harness.single_flight.upstreams.answer()
        got = [(await harness.reply(number % 2))[0] for number in range(2 * BATCH)]
        assert sorted(got) == tickets


async def test_what_waits_when_a_forwarder_is_to_finish_is_taken(harness: ForwarderHarness) -> None:
    """After an upgrade nobody else reads its links."""
    tickets = [harness.hand(f"n{number}.localhost", worker=number % 2) for number in range(8 * BATCH)]
    async with working(harness):
        await harness.forwarder.finish(GUARD_SECONDS)
        after = harness.hand("late.localhost")
        got = [(await harness.reply(number % 2))[0] for number in range(8 * BATCH)]
        assert sorted(got) == tickets
        assert [request.request_id for request in receive_requests(harness.ends[0], 2)] == [after]


@pytest.mark.parametrize("octets", [b"", b"\xc1", b"garbage", b"\x96" + b"\xc0" * 6])
async def test_garbage_in_a_link_ends_nothing(harness: ForwarderHarness, octets: bytes) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with working(harness):
        harness.workers[0].send(octets)
        for _ in range(10):
            await asyncio.sleep(0)
        for wrong in (b"", b"short", b"\0" * 12, question("x.example.com").to_wire()[:-5]):
            assert send(harness.workers[0], ForwardRequest(wrong, monotonic(), CLIENT, request_id=7))
        harness.hand("www.example.com")
        await harness.single_flight.upstreams.answer()
        assert (await harness.reply())[1].rcode() == dns.rcode.NOERROR
