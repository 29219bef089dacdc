"""Rows of many endpoints are kept in parts: whoever asks does not see it.

The same objects are asked about twice, once with rows in one piece and once with parts of a few endpoints.
"""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from behaviour.cluster_harness import SVC, ClusterHarness, Z
from behaviour.listening import transfer
from behaviour.objects import Object, endpoint, endpoint_slice, headless, pod, port
from behaviour.test_h_transfer import transfer_query

from svcdns.names import row_parts
from svcdns.objects.kinds import ENDPOINTSLICE, POD, SERVICE
from svcdns.wire.key import key_of

PODS = 60
HERE = "127.0.0.0/8"
NAMES = [f"db.{SVC}", f"_http._tcp.db.{SVC}", f"_rare._tcp.db.{SVC}", f"other.{SVC}", f"_none._tcp.db.{SVC}"]


def objects() -> list[Object]:
    """Sixty Pods, and slices whose endpoints share labels and addresses with each other; one port is rare."""
    ports = [port(80, "http"), port(9, "plain")]
    pods = [pod(f"p{n}", f"10.1.0.{n}", app="db") for n in range(1, PODS + 1)]
    twins = [endpoint("10.2.0.1", hostname="twin"), endpoint("10.2.0.1", hostname="double")]
    six = [endpoint("2001:db8::1", hostname="twin"), endpoint("2001:db8::2")]
    return [
        headless("db", ports=ports),
        headless("other"),
        *pods,
        endpoint_slice(
            "db-own", "db", *twins, endpoint("10.2.0.3"), ports=[port(80, "http"), port(7, "rare")]
        ),
        endpoint_slice("db-six", "db", *six, ports=[port(80, "http"), port(7, "rare")]),
    ]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(row_parts, "WHOLE", 8)
    monkeypatch.setattr(row_parts, "LEAF", 4)
    yield


@pytest.fixture(scope="module")
def in_one_piece(make_world: Any) -> dict[tuple[str, str], Any]:
    return everything(make_world(*objects(), explain_empty=False))


def everything(world: ClusterHarness) -> dict[tuple[str, str], Any]:
    """What the names say over TCP, and what a zone transfer has, for every type."""
    said: dict[tuple[str, str], Any] = {}
    for name in NAMES:
        for rrtype in ("A", "AAAA", "SRV", "TXT"):
            reply = world.ask(name, rrtype, tcp=True, edns=1232)
            said[name, rrtype] = (reply.rcode, reply.sorted, reply.additional, reply.extended_errors)
    said[Z, "AXFR"] = sorted(line for line in transferred(world) if " SOA " not in line)
    return said


def transferred(world: ClusterHarness) -> list[str]:
    async def work() -> Any:
        async with world.listening(HERE) as place:
            return await transfer(place, transfer_query(Z, None))

    return [line for reply in world.run(work()) for line in reply.answer]


def test_answers_and_transfers_are_the_same(
    small_parts: None, in_one_piece: dict[tuple[str, str], Any], new_world: Any
) -> None:
    world = new_world(*objects(), explain_empty=False)
    assert kept_in_parts(world, f"db.{SVC}") > 10
    assert everything(world) == in_one_piece


def test_they_are_the_same_while_endpoints_come_and_go(
    small_parts: None, in_one_piece: dict[tuple[str, str], Any], new_world: Any
) -> None:
    world = new_world(*objects(), explain_empty=False)
    names = [f"p{n}" for n in range(1, PODS + 1)]
    random.Random(7).shuffle(names)
    for name in names:
        world.remove(POD, name)
        gone = "10.1.0." + name[1:]
        assert gone not in world.ask(f"db.{SVC}", tcp=True).rdata
    assert kept_in_parts(world, f"db.{SVC}") == 0, "few endpoints stand in one row"
    assert world.ask(f"db.{SVC}", tcp=True).rdata == ["10.2.0.1", "10.2.0.3"]
    world.add(*(one for one in objects() if one[0] is POD))
    assert everything(world) == in_one_piece


def test_udp_says_a_random_part_with_tc(small_parts: None, new_world: Any) -> None:
    world = new_world(*objects(), explain_empty=False)
    seen: set[str] = set()
    for _ in range(300):
        reply = world.ask(f"db.{SVC}")
        assert "TC" in reply.flags
        assert len(set(reply.rdata)) == len(reply.rdata) > 25
        seen.update(reply.rdata)
    assert len(seen) == PODS + 2


def test_srvs_over_udp_have_their_weight(small_parts: None, new_world: Any) -> None:
    world = new_world(*objects(), explain_empty=False)
    (whole,) = {rr.split()[1] for rr in world.ask(f"_http._tcp.db.{SVC}", "SRV", tcp=True).rdata}
    (part,) = {rr.split()[1] for rr in world.ask(f"_http._tcp.db.{SVC}", "SRV").rdata}
    assert whole == part == "1"
    assert {rr.split()[1] for rr in world.ask(f"_rare._tcp.db.{SVC}", "SRV").rdata} == {"20"}


def test_the_service_itself_goes_with_all_its_parts(small_parts: None, new_world: Any) -> None:
    world = new_world(*objects(), explain_empty=False)
    world.change(SERVICE, "db", {"metadata": {"annotations": {"svcdns.io/dns-ttl": "77"}}})
    assert {line.split()[1] for line in world.ask(f"db.{SVC}", tcp=True).answer} == {"77"}
    world.remove(ENDPOINTSLICE, "db-six")
    assert world.ask(f"db.{SVC}", "AAAA").rcode == "NOERROR"
    assert world.ask(f"db.{SVC}", "AAAA").answer == []
    world.remove(SERVICE, "db")
    for name in NAMES[:3]:
        assert world.ask(name).rcode == "NXDOMAIN"
        assert kept_in_parts(world, name) == 0


def test_an_endpoint_of_many_changes_little(new_world: Any) -> None:
    pods = [pod(f"p{n}", f"10.1.{n // 250}.{n % 250 + 1}", app="db") for n in range(3000)]
    world = new_world(headless("db", ports=[port(80, "http")]), *pods[:-1])
    before = rows(world)
    world.add(pods[-1])
    after = rows(world)
    changed = [after[key] for key in after if before.get(key) != after[key]]
    assert f"10.1.{2999 // 250}.{2999 % 250 + 1}" in world.ask(f"db.{SVC}", tcp=True).rdata
    assert sum(map(len, changed)) < sum(map(len, after.values())) / 20


def kept_in_parts(world: ClusterHarness, name: str) -> int:
    """Return the number of parts that stand in the store for a name."""
    return sum(1 for key in rows(world) if row_parts.is_part_of(key_of(name), key))


def rows(world: ClusterHarness) -> dict[bytes, bytes]:
    """Return all rows that are stored, by key."""
    with world.snapshots.begin() as snapshot, snapshot.txn.cursor(db=snapshot.answers) as cursor:
        return {bytes(key): bytes(row) for key, row in cursor}
