"""Rows H: zone transfer over TCP, by listeners on real sockets."""

from collections.abc import Callable
from functools import partial
from typing import Any

import dns.asyncquery
import dns.message
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.versioned
import pytest
from behaviour.cluster_harness import SERVER, SVC, TTL, ClusterHarness, Reply, Z
from behaviour.listening import HANG, ask_udp, transfer
from behaviour.objects import endpoint, endpoint_slice, external, headless, namespace, pod, port, service

HERE = "127.0.0.0/8"
ELSEWHERE = "192.0.2.0/24"


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    return make_world(
        namespace("empty"),
        namespace("hidden"),
        service("web", clusterIPs=["10.96.0.10", "fd00:96::10"], ipFamilyPolicy="RequireDualStack"),
        headless("db", selector={}),
        endpoint_slice(
            "db-1",
            "db",
            endpoint("10.1.0.1", hostname="db-0"),
            endpoint("10.1.0.2"),
            ports=[port(5432, "pg")],
        ),
        external("ext", "www.example.org"),
        external("wide", "a" * 64 + ".example.org"),
        pod("lonely", "10.1.0.9", app="none"),
        service("secret", clusterIP="10.96.0.66", ns="hidden"),
        pod("secret", "10.1.0.66", app="secret", ns="hidden"),
        namespaces=("default", "empty"),
    )


def transferred(
    world: ClusterHarness, zone: str, *allowed: str, serial: int | None = None, edns: bool = False
) -> list[Reply]:
    """Transfer a zone; `allowed` are networks that may, `serial` is that of an IXFR."""

    async def work() -> list[Reply]:
        async with world.listening(*allowed) as place:
            return await transfer(place, transfer_query(zone, serial, edns=edns))

    replies: list[Reply] = world.run(work())
    return replies


@pytest.fixture(scope="module")
def axfr(world: ClusterHarness) -> Callable[..., list[Reply]]:
    """Transfer a zone of the module's `world`: `axfr(zone, networks that may, serial of an IXFR)`."""
    return partial(transferred, world)


def transfer_query(zone: str, serial: int | None = None, *, edns: bool = False) -> dns.message.Message:
    query = dns.message.make_query(zone, "AXFR" if serial is None else "IXFR", use_edns=0 if edns else -1)
    if serial is not None:
        rdata = f"ns.dns.{Z}. hostmaster.{Z}. {serial} 7200 1800 86400 5"
        query.authority.append(dns.rrset.from_text(query.question[0].name, 0, "IN", "SOA", rdata))
    return query


def lines(replies: list[Reply]) -> list[str]:
    return [line for reply in replies for line in reply.answer]


@pytest.mark.row("H1", "H2")
@pytest.mark.parametrize("allowed", [(), (ELSEWHERE,), ("::/0",)])
@pytest.mark.parametrize("serial", [None, 1])
def test_others_are_refused(axfr: Any, allowed: tuple[str, ...], serial: int | None) -> None:
    for zone in (Z, "in-addr.arpa", "example.org"):
        (reply,) = axfr(zone, *allowed, serial=serial)
        assert reply.rcode == "REFUSED"
        assert not reply.answer


@pytest.mark.row("H2")
@pytest.mark.parametrize("serial", [None, 1])
def test_refused_over_udp(world: ClusterHarness, serial: int | None) -> None:
    async def work() -> Reply:
        async with world.listening(HERE) as place:
            return await ask_udp(place, transfer_query(Z, serial))

    assert world.run(work()).rcode == "REFUSED"


@pytest.mark.row("H2", "H3", "H5")
def test_all_of_the_cluster_domain(axfr: Any, world: ClusterHarness) -> None:
    """With dns-version, ns.dns and verified Pods; nothing of a namespace that is not served."""
    soa = f"{Z}. {TTL} SOA ns.dns.{Z}. hostmaster.{Z}. {world.serial()} 7200 1800 86400 5"
    found = lines(axfr(Z, ELSEWHERE, HERE))
    assert (found[0], found[-1]) == (soa, soa)
    web, db = f"web.{SVC}.", f"db.{SVC}."
    pg = [f"SRV 0 50 5432 10-1-0-2.{db}", f"SRV 0 50 5432 db-0.{db}"]
    expected = [
        f"{Z}. {TTL} NS ns.dns.{Z}.",
        f"ns.dns.{Z}. {TTL} A {SERVER}",
        f'dns-version.{Z}. 28800 TXT "1.1.0"',
        f"{web} {TTL} A 10.96.0.10",
        f"{web} {TTL} AAAA fd00:96::10",
        f"{web} {TTL} SRV 0 50 80 {web}",
        f"_http._tcp.{web} {TTL} A 10.96.0.10",
        f"_http._tcp.{web} {TTL} AAAA fd00:96::10",
        f"_http._tcp.{web} {TTL} SRV 0 50 80 {web}",
        *(f"{owner}{db} {TTL} A {ip}" for owner in ("", "_pg._tcp.") for ip in ("10.1.0.1", "10.1.0.2")),
        *(f"{owner}{db} {TTL} {srv}" for owner in ("", "_pg._tcp.") for srv in pg),
        f"db-0.{db} {TTL} A 10.1.0.1",
        f"db-0.{db} {TTL} SRV 0 100 5432 db-0.{db}",
        f"10-1-0-2.{db} {TTL} A 10.1.0.2",
        f"10-1-0-2.{db} {TTL} SRV 0 100 5432 10-1-0-2.{db}",
        f"ext.{SVC}. {TTL} CNAME www.example.org.",
        f"10-1-0-9.default.pod.{Z}. {TTL} A 10.1.0.9",
    ]
    assert sorted(found[1:-1]) == sorted(expected)


@pytest.mark.row("H3", "H5")
@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (
            "in-addr.arpa",
            [
                f"10.0.96.10.in-addr.arpa. {TTL} PTR web.{SVC}.",
                f"1.0.1.10.in-addr.arpa. {TTL} PTR db-0.db.{SVC}.",
                f"2.0.1.10.in-addr.arpa. {TTL} PTR 10-1-0-2.db.{SVC}.",
            ],
        ),
        ("ip6.arpa", [f"0.1.{'0.' * 22}6.9.0.0.0.0.d.f.ip6.arpa. {TTL} PTR web.{SVC}."]),
    ],
)
def test_reverse_zones_have_their_ptrs(axfr: Any, zone: str, expected: list[str]) -> None:
    found = lines(axfr(zone, HERE))
    assert found[0].split()[:3] == [f"{zone}.", str(TTL), "SOA"]
    assert found[0] == found[-1]
    assert sorted(found[1:-1]) == sorted([*expected, f"{zone}. {TTL} NS ns.dns.{Z}."])


@pytest.mark.row("H3")
@pytest.mark.parametrize("zone", [Z, "in-addr.arpa", "ip6.arpa"])
def test_a_secondary_answers_as_we_do(world: ClusterHarness, zone: str) -> None:
    """Weights included: every RRset of the transferred zone is what a question gives."""
    copy = dns.versioned.Zone(zone + ".", relativize=False)

    async def work() -> None:
        async with world.listening(HERE) as place:
            await dns.asyncquery.inbound_xfr(place[0], copy, port=place[1], lifetime=HANG)

    world.run(work())
    sets = [(name, rdataset) for name, rdataset in copy.iterate_rdatasets()]
    assert len(sets) > 2
    for name, rdataset in sets:
        reply = world.ask(str(name), dns.rdatatype.to_text(rdataset.rdtype), tcp=True)
        assert reply.rdata == sorted(map(str, rdataset))
        assert {rr.ttl for rr in reply.message.answer} == {rdataset.ttl}


@pytest.mark.row("H3")
def test_a_large_zone_comes_in_several_messages(new_world: Any) -> None:
    endpoints = [endpoint(f"10.2.{n // 250}.{n % 250 + 1}") for n in range(1000)]
    world = new_world(
        headless("big", selector={}), endpoint_slice("big-1", "big", *endpoints, ports=[port(1, "one")])
    )
    replies = transferred(world, Z, HERE, edns=True)
    assert len(replies) > 2
    assert all(len(reply.wire) <= 65535 for reply in replies)
    assert all("AA" in reply.flags for reply in replies)
    assert [reply.message.edns for reply in replies] == [0] + [-1] * (len(replies) - 1)
    at_big = [line for line in lines(replies) if line.startswith(f"big.{SVC}. {TTL} A ")]
    assert len(at_big) == len(set(at_big)) == 1000


@pytest.mark.row("H4")
def test_ixfr(axfr: Any, world: ClusterHarness) -> None:
    serial = world.serial()
    soa = world.ask(Z, "SOA").answer
    (same,) = axfr(Z, HERE, serial=serial)
    assert same.answer == soa
    (ahead,) = axfr(Z, HERE, serial=serial + 1)
    assert ahead.answer == soa, "a client that is ahead of us is told what we have"
    full = lines(axfr(Z, HERE))
    assert sorted(lines(axfr(Z, HERE, serial=serial - 1))) == sorted(full)
    assert sorted(lines(axfr(Z, HERE, serial=(serial + 2**31 + 1) % 2**32))) == sorted(full), "RFC 1982"


@pytest.mark.row("H2")
@pytest.mark.parametrize("zone", [SVC, "example.org", f"x.{Z}"])
def test_only_where_a_zone_begins(axfr: Any, zone: str) -> None:
    (reply,) = axfr(zone, HERE)
    assert reply.rcode == "NOTAUTH"


@pytest.mark.row("H3")
def test_a_port_name_that_makes_no_label(new_world: Any) -> None:
    """Port names may have 63 letters; with the `_` that is no label, so there is no such name."""
    world = new_world(service("web", clusterIP="10.96.0.10", ports=[port(80, "p" * 63)]))
    assert f"web.{SVC}. {TTL} SRV 0 100 80 web.{SVC}." in lines(transferred(world, Z, HERE))
