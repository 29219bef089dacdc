"""Rows D2, D5, F4 and G4 where our zones say all they know and upstreams know more."""

from ipaddress import ip_address
from typing import Any

import pytest
from behaviour.cluster_harness import SVC, TTL, Z, is_nodata, is_nxdomain
from behaviour.forwarding_harness import STRANGER, ForwardingClusterHarness, asked
from behaviour.objects import external, headless, pod, service
from toolbox.misbehaving import Misbehaving
from toolbox.upstreams import Unbound
from toolbox.waiting import wait_for

REVERSE = "10.2.3.192.in-addr.arpa"
"""The upstream knows it."""
FILE = """
$ORIGIN corp.example.
@ 60 SOA ns hostmaster 1 7200 1800 86400 30
@ 60 NS ns
ns 60 A 192.0.2.1
out 60 CNAME www.example.org.
sub 60 DNAME example.org.
gone 60 CNAME nothing.example.org.
"""


def back(address: str) -> str:
    return ip_address(address).reverse_pointer


@pytest.fixture(scope="module")
def world(forward_all_to: Any, upstream: Unbound) -> ForwardingClusterHarness:
    world: ForwardingClusterHarness = forward_all_to(
        [upstream.address],
        service("web", clusterIP="10.96.0.10"),
        headless("db"),
        pod("db-0", "198.51.100.1", app="db"),
        pod("db-1", "198.51.100.2", app="db", ready=False),
        external("ext", "www.example.org"),
        external("chain", "alias.example.org"),
        external("nope", "nothing.example.org"),
        external("broken", "dangling.example.org"),
        external("many", "many.example.org"),
        external("to-file", "out.corp.example"),
    )
    world.zone_file(FILE)
    return world


# D


@pytest.mark.row("D2", "S34", "S35")
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(("rrtype", "address"), [("A", "192.0.2.10"), ("AAAA", "2001:db8::10")])
def test_a_target_that_upstreams_know(ask: Any, rrtype: str, address: str, tcp: bool) -> None:
    reply = ask(f"EXT.{SVC}", rrtype, tcp=tcp)
    assert reply.rcode == "NOERROR"
    alias, target = (line.split() for line in reply.answer)
    assert alias == [f"EXT.{SVC}.", str(TTL), "CNAME", "www.example.org."]
    assert [target[0], *target[2:]] == ["www.example.org.", rrtype, address]
    assert 0 < int(target[1]) <= 300
    assert {"AA", "RA"} <= reply.flags


@pytest.mark.row("D2")
@pytest.mark.parametrize(
    ("name", "chain"),
    [
        (f"chain.{SVC}", ["alias.example.org.", "www.example.org."]),
        (f"to-file.{SVC}", ["out.corp.example.", "www.example.org."]),
        ("out.corp.example", ["www.example.org."]),
        ("www.sub.corp.example", ["example.org.", "www.example.org."]),
    ],
)
def test_aliases_before_and_behind_the_last_name_of_ours(ask: Any, name: str, chain: list[str]) -> None:
    reply = ask(name)
    assert [line.split()[-1] for line in reply.answer] == [*chain, "192.0.2.10"]
    assert reply.rcode == "NOERROR"


@pytest.mark.row("D2")
@pytest.mark.parametrize(
    ("name", "rrtype", "rcode", "links"),
    [
        (f"nope.{SVC}", "A", "NXDOMAIN", 1),
        ("gone.corp.example", "A", "NXDOMAIN", 1),
        (f"ext.{SVC}", "MX", "NOERROR", 1),
    ],
)
def test_nxdomain_and_nodata_are_the_targets(
    ask: Any, name: str, rrtype: str, rcode: str, links: int
) -> None:
    reply = ask(name, rrtype)
    assert reply.rcode == rcode
    assert [line.split()[2] for line in reply.answer] == ["CNAME"] * links
    assert [line.split()[0] for line in reply.authority] == ["."], "the SOA is the upstream's"


@pytest.mark.row("D2", "J1")
def test_targets_with_more_than_fits(ask: Any) -> None:
    cut = ask(f"many.{SVC}")
    assert "TC" in cut.flags
    assert len(cut.wire) <= 512
    whole = ask(f"many.{SVC}", tcp=True)
    assert "TC" not in whole.flags
    assert len(whole.answer) == 201
    assert whole.answer[0].split()[2] == "CNAME"


@pytest.mark.row("D1", "D6")
def test_of_the_alias_itself_no_upstream_hears(ask: Any, upstream: Unbound) -> None:
    assert ask(f"nope.{SVC}", "CNAME").rdata == ["nothing.example.org."]
    assert is_nodata(ask(f"ext.{SVC}", "SRV"))
    assert is_nxdomain(ask(f"x.ext.{SVC}"))
    assert ask("www.example.org", "CAA").rcode == "NOERROR"
    wait_for(lambda: upstream.queries("www.example.org.", "CAA"), "a later question")
    assert not upstream.queries(rrtype="CNAME") + upstream.queries(rrtype="SRV")


@pytest.mark.row("D5", "S35")
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("rrtype", ["A", "AAAA", "MX"])
def test_a_target_that_no_upstream_resolves_is_servfail(forward_to: Any, rrtype: str, tcp: bool) -> None:
    with Misbehaving("servfail") as broken:
        world = forward_to([broken.address], external("ext", "www.example.org"))
        for _ in ("asked", "from the cache"):
            reply = world.ask(f"ext.{SVC}", rrtype, tcp=tcp, edns=1232)
            assert reply.rcode == "SERVFAIL"
            assert reply.answer == [f"ext.{SVC}. {TTL} CNAME www.example.org."]
            assert not reply.authority
            assert [code for code, _ in reply.extended_errors] == [22]
        assert len(asked(broken)) == 1


@pytest.mark.row("D5", "J5")
@pytest.mark.parametrize("how", [{"source": STRANGER}, {"flags": 0}])
def test_who_may_not_or_does_not_want_to_gets_the_cname_alone(ask: Any, how: dict[str, Any]) -> None:
    reply = ask(f"ext.{SVC}", **how)
    assert reply.rcode == "NOERROR"
    assert reply.answer == [f"ext.{SVC}. {TTL} CNAME www.example.org."]
    assert not reply.authority


# F and G


@pytest.mark.row("F4", "G4")
@pytest.mark.parametrize("tcp", [False, True])
def test_addresses_that_nobody_here_knows_go_on_to_upstreams(ask: Any, tcp: bool) -> None:
    reply = ask(REVERSE, "PTR", tcp=tcp)
    assert reply.rdata == ["www.example.org."]
    assert "AA" not in reply.flags
    unknown = ask(back("203.3.113.9"), "PTR", tcp=tcp)
    assert unknown.rcode == "NXDOMAIN"
    assert [line.split()[0] for line in unknown.authority] == ["."], "the reply is taken as it is"


@pytest.mark.row("F4", "P2")
@pytest.mark.parametrize(
    "name",
    [
        back("10.96.0.11"),  # of our range
        back("198.51.100.2"),  # of a Pod that is not ready
        f"x.{back('10.96.0.11')}",
    ],
)
def test_our_own_addresses_never_go_on(ask: Any, upstream: Unbound, name: str) -> None:
    assert is_nxdomain(ask(name, "PTR"), "in-addr.arpa.")
    assert ask(f"n{name}.example.org").rcode == "NXDOMAIN"
    wait_for(lambda: upstream.queries(f"n{name}.example.org."), "a later question")
    assert not upstream.queries(f"{name}.")


@pytest.mark.row("F4")
def test_the_registry_goes_first(ask: Any, upstream: Unbound) -> None:
    assert ask(back("198.51.100.1"), "PTR").rdata == [f"198-51-100-1.db.{SVC}."]
    assert ask(back("10.96.0.10"), "PTR").rdata == [f"web.{SVC}."]
    assert not upstream.queries(f"{back('198.51.100.1')}.")


@pytest.mark.row("G4")
def test_nodata_does_not_go_on(ask: Any, upstream: Unbound) -> None:
    for name in (back("10.96.0.10"), "96.10.in-addr.arpa", "100.51.198.in-addr.arpa"):
        assert is_nodata(ask(name, "TXT"), "in-addr.arpa.")
    assert ask("later.example.org").rcode == "NXDOMAIN"
    wait_for(lambda: upstream.queries("later.example.org."), "a later question")
    assert not upstream.queries(rrtype="TXT")


@pytest.mark.row("G4")
@pytest.mark.parametrize("how", [{"source": STRANGER}, {"flags": 0}])
def test_who_may_not_go_on_has_our_nxdomain(ask: Any, how: dict[str, Any]) -> None:
    assert is_nxdomain(ask(REVERSE, "PTR", **how), "in-addr.arpa.")


@pytest.mark.row("G4", "P2")
@pytest.mark.parametrize(
    ("fallthrough", "goes_on"),
    [
        ((), False),
        (("ip6.arpa",), False),
        ((Z,), False),
        (("in-addr.arpa",), True),
        (("192.in-addr.arpa",), True),
        (("193.in-addr.arpa",), False),
        ((".",), True),
    ],
)
def test_only_zones_that_are_listed(
    forward_to: Any, upstream: Unbound, fallthrough: tuple[str, ...], goes_on: bool
) -> None:
    world = forward_to([upstream.address], fallthrough=fallthrough)
    reply = world.ask(REVERSE, "PTR")
    if goes_on:
        assert reply.rdata == ["www.example.org."]
    else:
        assert is_nxdomain(reply, "in-addr.arpa.")


@pytest.mark.row("G4")
@pytest.mark.parametrize("listed", [Z, "."])
def test_the_cluster_domain_goes_on_if_listed(forward_to: Any, need: Any, listed: str) -> None:
    need("unbound")
    records = f'extra.{SVC}. 60 IN A 192.0.2.9\nweb.{SVC}. 60 IN TXT "upstream"\n'
    with Unbound(records, tls=False, https=False) as other:
        world = forward_to([other.address], service("web"), fallthrough=(listed,))
        assert world.ask(f"extra.{SVC}").rdata == ["192.0.2.9"]
        assert is_nodata(world.ask(f"web.{SVC}", "TXT"))
        reply = world.ask(f"nothing.{SVC}")
        assert reply.rcode == "NXDOMAIN"
        assert [line.split()[0] for line in reply.authority] == ["."]


@pytest.mark.row("G4", "F4")
def test_where_a_zone_file_has_the_zone_its_word_is_the_last(forward_to: Any, upstream: Unbound) -> None:
    world = forward_to([upstream.address])
    world.zone_file("$ORIGIN 192.in-addr.arpa.\n@ 60 SOA ns.test. h.test. 1 2 3 4 5\n@ 60 NS ns.test.\n")
    assert is_nxdomain(world.ask(REVERSE, "PTR"), "192.in-addr.arpa.")
