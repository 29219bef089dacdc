"""Zone transfer over real connections, read by dnspython."""

import asyncio
import fcntl
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.xfr
import dns.zone
import pytest
from toolbox.answerer_harness import AnswererHarness, Z, glue, rrset
from toolbox.tcp_streams import connect, framed, query, reply_from
from toolbox.waiting import until

from svcdns.config.sections import AclConfig
from svcdns.dns import stats
from svcdns.dns.access import Access, Rights
from svcdns.dns.tcp import TcpListener
from svcdns.dns.transfer import Transfers, is_newer
from svcdns.names.packed import CUT

LOOPBACK = (ip_network("127.0.0.0/8"),)


@asynccontextmanager
async def serving(world: AnswererHarness, **options: Any) -> AsyncIterator[int]:
    networks = options.pop("networks", LOOPBACK)
    transfers = Transfers(
        Rights(Access(AclConfig(), forwards=False, transfer_to=networks)),
        world.folder,
        world.snapshots.begin,
        world.counters,
        **options,
    )
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        begin = world.snapshots.begin
        listener = TcpListener(sock, begin, world.answerer, world.counters, transfers=transfers)
        await listener.start()
        try:
            yield sock.getsockname()[1]
        finally:
            await listener.close()


async def messages_of(reader: asyncio.StreamReader) -> list[dns.message.Message]:
    """Read messages until the second SOA."""
    found: list[dns.message.Message] = []
    soas = 0
    while soas < 2:
        size = int.from_bytes(await reader.readexactly(2))
        found.append(dns.message.from_wire(await reader.readexactly(size), one_rr_per_rrset=True))
        soas += sum(r.rdtype == dns.rdatatype.SOA for r in found[-1].answer)
    return found


async def transfer(world: AnswererHarness, zone: str, **options: Any) -> list[dns.message.Message]:
    async with serving(world, **options) as port:
        reader, writer = await connect(port)
        writer.write(framed(query(zone, "AXFR", 77), query(zone, "SOA", 78)))
        found = await messages_of(reader)
        assert (await reply_from(reader)).id == 78  # the connection goes on
        writer.close()
    return found


def as_text(messages: list[dns.message.Message]) -> list[str]:
    return [rrset.to_text() for message in messages for rrset in message.answer]


async def test_cluster_zone_is_complete(world: AnswererHarness) -> None:
    messages = await transfer(world, Z)
    assert all(message.id == 77 and message.flags & dns.flags.AA for message in messages)
    assert [len(message.question) for message in messages] == [1] + [0] * (len(messages) - 1)
    assert len(messages) > 5
    assert all(len(message.to_wire()) < 20_000 for message in messages)
    rrs = as_text(messages)
    assert rrs[0] == rrs[-1]
    assert " SOA " in rrs[0]
    middle = set(rrs[1:-1])
    assert len(middle) == len(rrs) - 2
    assert not any(" SOA " in line for line in middle)
    web = f"web.default.svc.{Z}."
    for line in (
        f"{Z}. 5 IN NS ns.dns.{Z}.",
        f"ns.dns.{Z}. 5 IN A 192.0.2.53",
        f'dns-version.{Z}. 28800 IN TXT "1.1.0"',
        f"{web} 5 IN A 10.96.0.10",
        f"_http._tcp.{web} 5 IN SRV 0 50 80 {web}",
        f"many-7.many.default.svc.{Z}. 5 IN A 10.1.0.7",
        f"away.default.svc.{Z}. 5 IN CNAME www.elsewhere.info.",
    ):
        assert line in middle
    assert sum(line.startswith(f"huge.default.svc.{Z}.") for line in middle) == 5000
    assert not any("arpa" in line.split()[0] for line in middle)
    assert world.counters.slots[stats.TRANSFERS] == 1


async def test_a_secondary_answers_as_we_do(world: AnswererHarness) -> None:
    """What dnspython's own transfer client builds holds the RRset of every name that we answer."""
    zone = dns.zone.Zone(f"{Z}.", relativize=False)
    async with serving(world) as port:
        await asyncio.to_thread(
            dns.query.inbound_xfr, "127.0.0.1", zone, port=port, udp_mode=dns.query.UDPMode.NEVER
        )
    for name in (f"web.default.svc.{Z}.", f"many.default.svc.{Z}.", f"db-1.db.default.svc.{Z}.", f"{Z}."):
        for rrtype in ("A", "AAAA", "SRV", "NS", "SOA"):
            there = zone.get_rdataset(name, rrtype)
            here = world.ask(name, rrtype, transport=stats.TCP).answer
            assert (set(there) if there else set()) == (set(here[0]) if here else set()), (name, rrtype)


async def test_reverse_zone_without_others_inside(world: AnswererHarness) -> None:
    world.registry_zone("0.96.10.in-addr.arpa", "reverse")
    world.put("7.0.96.10.in-addr.arpa", rrset("PTR", "inner."))
    world.put("7.1.96.10.in-addr.arpa", rrset("PTR", "outer."))
    world.put("7.0.97.10.in-addr.arpa", rrset("PTR", "outer."))
    inside = world.file_zone("99.10.in-addr.arpa")
    world.put_file(inside, "1.1.99.10.in-addr.arpa", rrset("PTR", "file."))
    rrs = as_text(await transfer(world, "10.in-addr.arpa"))
    assert sorted(rrs[1:-1]) == [
        f"0.96.10.in-addr.arpa. 5 IN NS ns.dns.{Z}.",
        f"10.in-addr.arpa. 5 IN NS ns.dns.{Z}.",
        "7.0.97.10.in-addr.arpa. 5 IN PTR outer.",
        "7.1.96.10.in-addr.arpa. 5 IN PTR outer.",
    ]
    inner = as_text(await transfer(world, "0.96.10.in-addr.arpa"))
    assert "7.0.96.10.in-addr.arpa. 5 IN PTR inner." in inner
    assert len(inner) == 5
    assert "1.1.99.10.in-addr.arpa. 5 IN PTR file." in as_text(await transfer(world, "99.10.in-addr.arpa"))


async def test_file_zone_with_glue_and_large_rrs(world: AnswererHarness) -> None:
    zone = world.file_zone("example.org", cuts=True)
    other = world.file_zone("example.net")
    world.put_file(other, "www.example.net", rrset("A", "192.0.2.1"))
    world.put_file(zone, "big.example.org", rrset("TXT", " ".join(f'"{"x" * 250}"' for _ in range(200))))
    ns = rrset("NS", "ns.sub.example.org.", glue=(glue("ns.sub.example.org", "A", "192.0.2.2"),))
    world.put_file(zone, "sub.example.org", ns, flags=CUT)
    world.put_file(zone, "ns.sub.example.org", rrset("A", "192.0.2.2"))
    world.put_file(zone, "*.w.example.org", rrset("A", "192.0.2.3"))
    rrs = as_text(await transfer(world, "Example.ORG"))
    assert len(rrs) == 7
    for line in (
        "sub.example.org. 5 IN NS ns.sub.example.org.",
        "ns.sub.example.org. 5 IN A 192.0.2.2",
        "*.w.example.org. 5 IN A 192.0.2.3",
    ):
        assert line in rrs


async def single_reply(world: AnswererHarness, packet: bytes, **options: Any) -> dns.message.Message:
    async with serving(world, **options) as port:
        reader, writer = await connect(port)
        writer.write(framed(packet))
        found = await reply_from(reader)
        writer.close()
    return found


@pytest.mark.parametrize("networks", [(), (ip_network("192.0.2.0/24"), ip_network("::1/128"))])
async def test_others_are_refused(world: AnswererHarness, networks: tuple[Any, ...]) -> None:
    for rrtype in ("AXFR", "IXFR"):
        reply = await single_reply(world, query(Z, rrtype), networks=networks)
        assert reply.rcode() == dns.rcode.REFUSED
        assert not reply.answer


async def test_names_that_are_no_zone(world: AnswererHarness) -> None:
    for name in (f"svc.{Z}", "example.com", "local", "."):
        assert (await single_reply(world, query(name, "AXFR"))).rcode() == dns.rcode.NOTAUTH


async def test_nothing_loaded_is_servfail(empty_world: AnswererHarness) -> None:
    assert (await single_reply(empty_world, query(Z, "AXFR"))).rcode() == dns.rcode.SERVFAIL


def ixfr(serial: int) -> bytes:
    message = dns.message.make_query(Z, "IXFR")
    soa = f"ns.dns.{Z}. hostmaster.{Z}. {serial} 1 2 3 4"
    message.authority.append(dns.rrset.from_text(f"{Z}.", 0, "IN", "SOA", soa))
    return message.to_wire()


async def test_ixfr_that_does_not_say_what_its_client_has(world: AnswererHarness) -> None:
    assert (await single_reply(world, query(Z, "IXFR"))).rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize("serial", [7, 8, 7 + (1 << 30)])
async def test_ixfr_with_our_serial_is_one_soa(world: AnswererHarness, serial: int) -> None:
    reply = await single_reply(world, ixfr(serial))
    assert [r.rdtype for r in reply.answer] == [dns.rdatatype.SOA]
    assert reply.answer[0][0].serial == 7


@pytest.mark.parametrize("serial", [6, 0, (1 << 32) - 1])
async def test_ixfr_with_an_older_serial_is_the_whole_zone(world: AnswererHarness, serial: int) -> None:
    async with serving(world) as port:
        reader, writer = await connect(port)
        writer.write(framed(ixfr(serial)))
        assert len(as_text(await messages_of(reader))) > 5000
        writer.close()


def test_serial_arithmetic() -> None:
    assert is_newer(1, 0)
    assert is_newer(0, (1 << 32) - 1)
    assert not is_newer(5, 5)
    assert not is_newer(4, 5)


async def test_two_at_once_over_all_processes(world: AnswererHarness) -> None:
    """Locks are those of other open files, as another process would hold them."""
    files = [(world.folder / f"transfer-{n}.lock").open("w") for n in range(2)]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    busy = await single_reply(world, dns.message.make_query(Z, "AXFR", use_edns=0).to_wire())
    assert busy.rcode() == dns.rcode.SERVFAIL
    assert busy.extended_errors()[0].text == "2 transfers are running"
    files[0].close()
    assert len(await transfer(world, Z)) > 5
    assert len(await transfer(world, Z)) > 5  # the lock was given back
    files[1].close()


async def test_one_snapshot_and_given_up_without_progress(world: AnswererHarness) -> None:
    for n in range(6):
        world.put(f"bulk{n}.default.svc.{Z}", rrset("TXT", *(f'"{n} {i} {"x" * 200}"' for i in range(5000))))
    async with serving(world, stall_seconds=0.3) as port:
        reader, writer = await connect(port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(framed(query(Z, "AXFR")))
        await until(lambda: world.counters.slots[stats.TRANSFERS_FAILED], "the transfer to fail")
        # The worker answered others meanwhile and has no transaction left open.
        other_reader, other = await connect(port)
        other.write(framed(query(Z, "SOA")))
        assert (await reply_from(other_reader)).answer
        other.close()
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await messages_of(reader)
        writer.close()
    assert world.counters.slots[stats.TRANSFERS] == 0


async def test_writes_during_a_transfer_arent_in_it(world: AnswererHarness) -> None:
    world.put(f"bulk.default.svc.{Z}", rrset("TXT", *(f'"{i} {"x" * 200}"' for i in range(9000))))
    async with serving(world) as port:
        reader, writer = await connect(port)
        writer.write(framed(query(Z, "AXFR")))
        first = await reply_from(reader)
        world.put(f"zzz.default.svc.{Z}", rrset("A", "10.96.0.52"))
        assert first.answer
        # The first SOA has been read, so the rest ends with the only one that is left.
        soas, rest = 0, list[str]()
        while not soas:
            message = await reply_from(reader)
            soas += sum(r.rdtype == dns.rdatatype.SOA for r in message.answer)
            rest += [r.name.to_text() for r in message.answer]
        assert f"zzz.default.svc.{Z}." not in rest
        writer.close()
    assert world.ask(f"zzz.default.svc.{Z}").answer
