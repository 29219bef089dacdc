"""Rows Q with upstreams: names in a zone for aliases that no alias has, and what leads there from outside."""

from collections.abc import Callable, Iterator
from typing import Any

import dns.flags
import pytest
from behaviour.cluster_harness import SVC
from behaviour.forwarding_harness import STRANGER, ForwardingClusterHarness
from behaviour.objects import FILE, external, service
from behaviour.test_q_aliases import ZONES, aliased
from toolbox.upstreams import Knot, Unbound

from svcdns.config.sections import ForwardZone
from svcdns.forward.bailiwick import Bailiwick
from svcdns.objects.kinds import SERVICE
from svcdns.wire.key import key_of

UPSTREAM = """\
example.com. 300 IN MX 10 nas.example.com.
www.example.com. 300 IN CNAME lb.example.com.
lb.example.com. 300 IN A 192.0.2.8
nas.example.com. 300 IN A 192.0.2.9
www.example.net. 300 IN CNAME nas.example.com.
ext.example.net. 300 IN CNAME lb.example.com.
sip.example.net. 300 IN SRV 0 5 5060 nas.example.com.
"""
NAS = service("nas", clusterIP="10.96.0.10")


@pytest.fixture(scope="module")
def upstream(need: Callable[..., str]) -> Iterator[Unbound]:
    need("unbound")
    with Unbound(UPSTREAM, tls=False, https=False, recursive=True) as running:
        yield running


@pytest.fixture
def world(forward_to: Any, upstream: Unbound) -> ForwardingClusterHarness:
    world: ForwardingClusterHarness = forward_to([upstream.address], alias_zones=ZONES)
    return world


@pytest.mark.row("Q6")
@pytest.mark.parametrize("tcp", [False, True])
def test_what_no_alias_has_is_asked_for_upstream(world: Any, upstream: Unbound, tcp: bool) -> None:
    world.add(aliased(NAS, "a.example.com", "deep.in.example.com"))
    before = upstream.queries("lb.example.com.")
    for _ in ("asked", "from the cache"):
        reply = world.ask("lb.example.com", tcp=tcp)
        assert reply.rdata == ["192.0.2.8"]
        assert "AA" not in reply.flags
        assert world.ask("www.example.com", tcp=tcp).rdata == ["192.0.2.8", "lb.example.com."]
        assert world.ask("ext.example.net", tcp=tcp).rdata == ["192.0.2.8", "lb.example.com."]
        assert world.ask("nothing.example.com", tcp=tcp).rcode == "NXDOMAIN"
        assert world.ask("in.example.com", tcp=tcp).rcode == "NOERROR", "there is an alias below"
        assert world.ask("example.com", "MX", tcp=tcp).rdata == ["10 nas.example.com."]
    assert upstream.queries("lb.example.com.") - before == 1, "the others are answered from the cache"


@pytest.mark.row("Q6")
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("nas.example.com", "nas.example.com"),
        ("www.example.com", "lb.example.com"),
        ("www.example.net", "nas.example.com"),
        ("new.example.com", "new.example.com"),
        ("ext.example.net", "lb.example.com"),
        ("deep.new.example.com", "*.new.example.com"),
    ],
)
def test_nothing_cached_hides_a_new_alias(world: Any, name: str, alias: str, tcp: bool) -> None:
    before = [world.ask(name, tcp=tcp).rdata for _ in range(2)]
    assert before[0] == before[1] and "10.96.0.10" not in before[0]
    world.add(aliased(NAS, alias))
    reply = world.ask(name, tcp=tcp)
    assert [line for line in reply.rdata if line[0] == "1"] == ["10.96.0.10"]
    assert ("AA" in reply.flags) is (reply.answer[0].split()[2] != "CNAME")
    world.remove(SERVICE, "nas")
    assert world.ask(name, tcp=tcp).rdata == before[0], "and it is gone with the Service"


@pytest.mark.row("Q6", "P2")
def test_what_upstreams_say_beside_an_answer_never_speaks_of_an_alias(forward_to: Any, need: Any) -> None:
    need("knotd")
    with Knot(UPSTREAM) as authoritative:
        for zones, beside in (((), [["nas.example.com.", "A", "192.0.2.9"]]), (ZONES, [])):
            world = forward_to([authoritative.address], alias_zones=zones)
            for name, rrtype in (("example.com", "MX"), ("sip.example.net", "SRV")):
                for _ in ("asked", "from the cache"):
                    reply = world.ask(name, rrtype, edns=1232)
                    assert reply.answer
                    found = [line.split() for line in reply.additional if "nas" in line]
                    assert [[name, *rest] for name, _, *rest in found] == beside, "but for TTLs, which pass"


@pytest.mark.row("Q6", "D2")
def test_cnames_of_ours_lead_to_an_alias_and_on(world: Any) -> None:
    world.zone_file(FILE.format(origin="own.info", records="to-www 60 CNAME www.example.com."))
    world.add(external("ext", "www.example.net"))
    assert world.ask(f"ext.{SVC}").rdata == ["192.0.2.9", "nas.example.com.", "www.example.net."]
    assert world.ask("to-www.own.info").rdata == ["192.0.2.8", "lb.example.com.", "www.example.com."]
    world.add(aliased(NAS, "nas.example.com", "lb.example.com"))
    assert world.ask(f"ext.{SVC}").rdata == ["10.96.0.10", "nas.example.com.", "www.example.net."]
    assert world.ask("to-www.own.info").rdata == ["10.96.0.10", "lb.example.com.", "www.example.com."]


@pytest.mark.row("Q4")
def test_an_external_name_is_resolved_at_its_alias(world: Any) -> None:
    world.add(aliased(external("ext", "lb.example.com"), "shop.home.arpa"))
    for _ in range(2):
        reply = world.ask("shop.home.arpa")
        assert [line.split()[0::2] for line in reply.answer] == [
            ["shop.home.arpa.", "CNAME"],
            ["lb.example.com.", "A"],
        ]
        assert reply.rdata == ["192.0.2.8", "lb.example.com."]
        assert "AA" in reply.flags


@pytest.mark.row("Q6", "P11")
def test_a_home_is_asked_for_nowhere_else(world: Any, upstream: Unbound) -> None:
    world.add(aliased(NAS, "nas.home.arpa", "a.b.home.arpa"))
    assert world.ask("nas.home.arpa").rdata == ["10.96.0.10"]
    assert world.ask("printer.home.arpa").rcode == "NXDOMAIN"
    assert world.ask("b.home.arpa").rcode == "NOERROR"
    assert world.ask("home.arpa", "SOA").rcode == "NOERROR"
    assert "home.arpa" not in upstream.log()


@pytest.mark.row("Q6", "P13")
def test_the_rest_of_a_zone_may_have_upstreams_of_its_own(forward_to: Any, upstream: Unbound) -> None:
    own = ForwardZone("example.com", (upstream.address,), "sequential")
    world = forward_to([], aliased(NAS, "a.example.com"), alias_zones=ZONES, forward={"zone": (own,)})
    assert world.ask("a.example.com").rdata == ["10.96.0.10"]
    assert world.ask("lb.example.com").rdata == ["192.0.2.8"]
    assert world.ask("www.example.net").rcode == "REFUSED"


@pytest.mark.row("Q6")
def test_who_may_ask_for_what(forward_to: Any, upstream: Unbound) -> None:
    acl = {"names": ("loopback", "!127.0.0.8")}
    world = forward_to([upstream.address], aliased(NAS, "a.example.com"), alias_zones=ZONES, acl=acl)
    assert world.ask("a.example.com", source=STRANGER).rdata == ["10.96.0.10"]
    assert world.ask("lb.example.com", source=STRANGER).rcode == "REFUSED"
    assert world.ask("a.example.com", source="127.0.0.8").rcode == "REFUSED"
    assert world.ask("lb.example.com", source="127.0.0.8").rdata == ["192.0.2.8"]
    assert world.ask("lb.example.com", flags=0).rcode == "REFUSED", "no recursion is wanted"
    assert world.ask("a.example.com", flags=dns.flags.Flag(0)).rdata == ["10.96.0.10"]


@pytest.mark.row("Q6")
def test_who_may_not_ask_for_names_gets_no_alias_by_a_cname(forward_to: Any, upstream: Unbound) -> None:
    acl = {"names": ("loopback", "!127.0.0.8")}
    world = forward_to([upstream.address], aliased(NAS, "nas.example.com"), alias_zones=ZONES, acl=acl)
    assert world.ask("www.example.net").rdata == ["10.96.0.10", "nas.example.com."]
    assert world.ask("www.example.net", source="127.0.0.8").rdata == ["nas.example.com."]


@pytest.mark.row("Q3")
def test_an_alias_keeps_its_other_types_from_upstreams(world: Any, upstream: Unbound) -> None:
    world.add(aliased(NAS, "nas.example.com"))
    before = upstream.queries("nas.example.com.")
    for rrtype in ("AAAA", "TXT", "SOA", "MX"):
        reply = world.ask("nas.example.com", rrtype)
        assert (reply.rcode, reply.answer, reply.authority) == ("NOERROR", [], [])
    assert upstream.queries("nas.example.com.") == before


def test_the_cache_is_filled_for_zones_of_aliases_too(world: Any) -> None:
    """So it is emptied when these change, as it is for other zones."""
    ours = Bailiwick(world.snapshots.begin).zones()
    assert ours is not None
    assert {key for kind, key, _ in ours if kind == "aliases"} == set(map(key_of, ZONES))
