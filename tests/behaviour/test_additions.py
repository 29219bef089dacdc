"""Rows O: what svcdns adds: TTLs of Services, shuffled answers, id.server, the first start."""

from collections import Counter
from pathlib import Path
from typing import Any

import dns.message
import dns.rdatatype
import pytest
from behaviour.cluster_harness import SVC, ClusterHarness, Z, config, is_nxdomain, question, reply_to
from behaviour.objects import endpoint, endpoint_slice, external, headless, pod, port, service

from svcdns.dns.answer import Answerer
from svcdns.dns.stats import Stats
from svcdns.objects.kinds import SERVICE
from svcdns.registry.registry import Registry
from svcdns.store.environment import open_store
from svcdns.store.snapshot import Snapshots

ROUNDS = 3000
HOSTS = [f"host-{'y' * n}" for n in range(1, 9)]


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    four = [endpoint(f"10.1.0.{n}", hostname=host) for n, host in enumerate(HOSTS, 1)]
    six = [endpoint(f"2001:db8::{n}", hostname=host) for n, host in enumerate(HOSTS, 1)]
    ports = [port(80, "http")]
    return make_world(
        headless("db", selector={}, ipFamilyPolicy="RequireDualStack"),
        endpoint_slice("db-1", "db", *four, ports=ports),
        endpoint_slice("db-2", "db", *six, ports=ports),
        external("ext", f"db.{SVC}"),
        service("slow", clusterIP="10.96.0.10", notes={"svcdns.io/dns-ttl": "3600"}),
        pod("slow-a", "10.1.1.1", app="slow"),
        service("never", clusterIP="10.96.0.11", notes={"svcdns.io/dns-ttl": "0"}),
        headless("quick", notes={"svcdns.io/dns-ttl": "1"}),
        pod("quick-a", "10.1.1.2", app="quick"),
    )


@pytest.mark.row("O1")
@pytest.mark.parametrize(
    ("name", "rrtype", "ttl"),
    [
        (f"slow.{SVC}", "A", 3600),
        (f"slow.default.{Z}", "A", 3600),
        (f"slow.{SVC}", "SRV", 3600),
        (f"_http._tcp.slow.{SVC}", "SRV", 3600),
        (f"10-1-1-1.slow.{SVC}", "A", 3600),
        ("10.0.96.10.in-addr.arpa", "PTR", 3600),
        ("1.1.1.10.in-addr.arpa", "PTR", 3600),
        (f"never.{SVC}", "A", 0),
        (f"never.{SVC}", "SRV", 0),
        (f"quick.{SVC}", "A", 1),
        (f"10-1-1-2.quick.{SVC}", "SRV", 1),
        (f"10-1-1-2.default.pod.{Z}", "A", 5),
    ],
)
def test_a_service_may_have_a_ttl_of_its_own(ask: Any, name: str, rrtype: str, ttl: int) -> None:
    reply = ask(name, rrtype)
    assert reply.answer
    assert {int(line.split()[1]) for line in reply.answer + reply.additional} == {ttl}


@pytest.mark.row("O1")
def test_the_ttl_can_be_changed_and_taken_back(new_world: Any) -> None:
    world = new_world(headless(), pod("db-0", "10.1.0.1", app="db"))
    for value, ttl in (("60", 60), ("0", 0), (None, 5)):
        world.change(SERVICE, "db", {"metadata": {"annotations": {"svcdns.io/dns-ttl": value}}})
        for name, rrtype in (
            (f"db.{SVC}", "A"),
            (f"_http._tcp.db.{SVC}", "SRV"),
            (f"10-1-0-1.db.{SVC}", "A"),
        ):
            reply = world.ask(name, rrtype)
            assert {int(line.split()[1]) for line in reply.answer + reply.additional} == {ttl}
        assert int(world.ask("1.0.1.10.in-addr.arpa", "PTR").answer[0].split()[1]) == ttl


@pytest.mark.row("O2")
@pytest.mark.parametrize(
    ("name", "rrtype", "tcp"),
    [
        (f"db.{SVC}", "A", False),
        (f"db.{SVC}", "AAAA", False),
        (f"db.{SVC}", "SRV", True),
        (f"_http._tcp.db.{SVC}", "SRV", False),
        (f"_http._tcp.db.default.{Z}", "SRV", True),
        (f"ext.{SVC}", "A", False),
    ],
)
def test_each_record_is_first_equally_often(world: ClusterHarness, name: str, rrtype: str, tcp: bool) -> None:
    """Chi-square with 7 degrees of freedom is above 50 about once in 10**8 runs."""
    query = question(name, rrtype, edns=1232)
    packet = query.to_wire()
    wires = Counter(world.raw(packet, tcp=tcp) for _ in range(ROUNDS))
    firsts: Counter[str] = Counter()
    for wire, times in wires.items():
        reply = reply_to(query, wire)
        last_type = dns.rdatatype.from_text(rrtype)
        own = [rr for rr in reply.message.answer if rr.rdtype == last_type]
        assert len({str(rr[0]) for rr in own}) == len(own) == len(HOSTS), "all are there, each once"
        firsts[str(own[0][0])] += times
    expected = ROUNDS / len(HOSTS)
    assert len(firsts) == len(HOSTS)
    assert sum((count - expected) ** 2 / expected for count in firsts.values()) < 50


@pytest.mark.row("O2")
def test_a_cname_stays_in_front(ask: Any) -> None:
    for _ in range(50):
        assert " CNAME " in ask(f"ext.{SVC}").answer[0]


@pytest.mark.row("O3")
def test_id_server_names_the_worker(world: ClusterHarness) -> None:
    query = dns.message.make_query("ID.server", "TXT", rdclass="CH")
    reply = reply_to(query, world.raw(query.to_wire()))
    assert reply.rdata == ['"worker-0"']


@pytest.mark.row("O4")
async def test_before_the_first_load_has_ended(tmp_path: Path) -> None:
    """SERVFAIL with EDE 14, never NXDOMAIN; once loaded, always loaded."""
    store = open_store(tmp_path / "data", "writer")
    snapshots, answerer = Snapshots(store), Answerer(Stats())

    def ask(name: str) -> Any:
        query = question(name, edns=1232)
        with snapshots.begin() as snapshot:
            return reply_to(query, answerer.answer(query.to_wire(), snapshot))

    registry = Registry(store, config())
    for starting in (False, True):
        if starting:
            await registry.start()
        for name in (f"nothing.{SVC}", Z, "1.0.0.10.in-addr.arpa", "example.com"):
            reply = ask(name)
            assert reply.rcode == "SERVFAIL"
            assert [code for code, _ in reply.extended_errors] == [14]
            assert "AA" not in reply.flags
    await registry.set_loaded()
    assert is_nxdomain(ask(f"nothing.{SVC}"))
    await registry.stop()
    again = Registry(store, config())
    await again.start()
    assert is_nxdomain(ask(f"nothing.{SVC}")), "a restart answers from its last state at once"
    await again.stop()
    store.close()
