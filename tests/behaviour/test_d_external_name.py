"""Rows D: ExternalName Services, and CNAMEs from name to name."""

from typing import Any

import pytest
from behaviour.cluster_harness import SVC, TTL, ClusterHarness, Z, is_nodata, is_nxdomain
from behaviour.objects import external, headless, pod, service

ZONE = """
$ORIGIN example.org.
@ 60 SOA ns1 hostmaster 1 7200 1800 86400 30
@ 60 NS ns1
ns1 60 A 192.0.2.1
www 60 A 192.0.2.80
www 60 AAAA 2001:db8::80
alias 60 CNAME www
back 60 CNAME web.default.svc.cluster.local.
"""
WEB = f"web.{SVC}."


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    world: ClusterHarness = make_world(
        service("web", clusterIP="10.96.0.10"),
        headless("idle"),
        headless("db"),
        pod("db-0", "10.1.0.1", app="db"),
        external("ext", "www.example.org"),
        external("dotted", "www.example.org."),
        external("alias", "alias.example.org"),
        external("back", "back.example.org"),
        external("gone", "nothing.example.org"),
        external("away", "www.elsewhere.info"),
        external("inner", f"web.{SVC}"),
        external("short", f"web.default.{Z}"),
        external("to-db", f"10-1-0-1.db.{SVC}"),
        external("lost", f"nothing.{SVC}"),
        external("to-idle", f"idle.{SVC}"),
        external("loop-a", f"loop-b.{SVC}"),
        external("loop-b", f"loop-a.{SVC}"),
        external("self", f"self.{SVC}"),
        external("number", "192.0.2.7"),
        external("wide", "a" * 64 + ".example.org"),
        *(external(f"link-{n}", f"link-{n + 1}.{SVC}") for n in range(15)),
        service("link-15", clusterIP="10.96.0.15"),
    )
    world.zone_file(ZONE)
    return world


@pytest.mark.row("D1", "S33")
@pytest.mark.parametrize("name", ["ext", "dotted"])
def test_cname_alone(ask: Any, name: str) -> None:
    reply = ask(f"{name}.{SVC}", "CNAME")
    assert reply.answer == [f"{name}.{SVC}. {TTL} CNAME www.example.org."]
    assert not reply.authority
    assert not reply.additional
    assert "AA" in reply.flags


@pytest.mark.row("D2", "S34", "S35")
@pytest.mark.parametrize(("rrtype", "address"), [("A", "192.0.2.80"), ("AAAA", "2001:db8::80")])
def test_target_in_another_zone_of_ours(ask: Any, rrtype: str, address: str) -> None:
    assert ask(f"ext.{SVC}", rrtype).answer == [
        f"ext.{SVC}. {TTL} CNAME www.example.org.",
        f"www.example.org. 60 {rrtype} {address}",
    ]
    assert ask(f"alias.{SVC}", rrtype).answer == [
        f"alias.{SVC}. {TTL} CNAME alias.example.org.",
        "alias.example.org. 60 CNAME www.example.org.",
        f"www.example.org. 60 {rrtype} {address}",
    ]


@pytest.mark.row("D2")
def test_a_target_that_a_zone_file_does_not_have(ask: Any) -> None:
    reply = ask(f"gone.{SVC}")
    assert reply.rcode == "NXDOMAIN"
    assert reply.answer == [f"gone.{SVC}. {TTL} CNAME nothing.example.org."]
    assert [line.split()[:3] for line in reply.authority] == [["example.org.", "30", "SOA"]]
    nodata = ask(f"ext.{SVC}", "MX")
    assert nodata.rcode == "NOERROR"
    assert nodata.answer == [f"ext.{SVC}. {TTL} CNAME www.example.org."]
    assert [line.split()[0] for line in nodata.authority] == ["example.org."]


@pytest.mark.row("D3")
@pytest.mark.parametrize(
    ("name", "chain"),
    [
        ("inner", [WEB]),
        ("short", [f"web.default.{Z}."]),
        ("back", ["back.example.org.", WEB]),
    ],
)
def test_target_in_the_cluster_domain(ask: Any, name: str, chain: list[str]) -> None:
    reply = ask(f"{name}.{SVC}")
    links = [line for line in reply.answer if " CNAME " in line]
    assert [line.split()[-1] for line in links] == chain
    assert reply.answer[-1] == f"{chain[-1]} {TTL} A 10.96.0.10"
    assert len(reply.answer) == len(chain) + 1


@pytest.mark.row("D3")
def test_target_is_an_endpoint(ask: Any) -> None:
    assert ask(f"to-db.{SVC}").answer[1:] == [f"10-1-0-1.db.{SVC}. {TTL} A 10.1.0.1"]


@pytest.mark.row("D3")
@pytest.mark.parametrize("links", range(1, 16))
def test_chains_are_followed_up_to_ten_links(ask: Any, links: int) -> None:
    reply = ask(f"link-{15 - links}.{SVC}", tcp=True)
    assert reply.rcode == ("NOERROR" if links <= 10 else "SERVFAIL")
    cnames = [line for line in reply.answer if " CNAME " in line]
    assert len(cnames) == min(links, 10)
    if links < 10:
        assert reply.answer[-1] == f"link-15.{SVC}. {TTL} A 10.96.0.15"


@pytest.mark.row("D3")
def test_ten_links_still_reach_the_target(ask: Any) -> None:
    assert ask(f"link-5.{SVC}", tcp=True).answer[-1] == f"link-15.{SVC}. {TTL} A 10.96.0.15"


@pytest.mark.row("D3")
@pytest.mark.parametrize(("name", "links"), [("loop-a", 2), ("loop-b", 2), ("self", 1)])
@pytest.mark.parametrize("rrtype", ["A", "AAAA", "TXT"])
def test_loops_end(ask: Any, name: str, links: int, rrtype: str) -> None:
    reply = ask(f"{name}.{SVC}", rrtype)
    assert reply.rcode == "SERVFAIL"
    assert len(reply.answer) == links


@pytest.mark.row("D4")
def test_target_that_is_missing_keeps_the_cname(ask: Any) -> None:
    for name, target in (("lost", f"nothing.{SVC}."), ("to-idle", f"idle.{SVC}.")):
        reply = ask(f"{name}.{SVC}")
        assert reply.rcode == "NXDOMAIN"
        assert reply.answer == [f"{name}.{SVC}. {TTL} CNAME {target}"]
        assert [line.split()[0] for line in reply.authority] == [f"{Z}."]


@pytest.mark.row("D4")
def test_target_that_lacks_the_type_keeps_the_cname(ask: Any) -> None:
    reply = ask(f"inner.{SVC}", "AAAA")
    assert reply.rcode == "NOERROR"
    assert reply.answer == [f"inner.{SVC}. {TTL} CNAME {WEB}"]
    assert [line.split()[0] for line in reply.authority] == [f"{Z}."]


@pytest.mark.row("D5", "S35")
@pytest.mark.parametrize("rrtype", ["A", "AAAA", "MX"])
def test_target_outside_all_zones_is_the_cname_alone(ask: Any, rrtype: str) -> None:
    reply = ask(f"away.{SVC}", rrtype)
    assert reply.rcode == "NOERROR"
    assert reply.answer == [f"away.{SVC}. {TTL} CNAME www.elsewhere.info."]
    assert not reply.authority


@pytest.mark.row("D6", "S36")
def test_no_srv_and_nothing_below(ask: Any) -> None:
    assert is_nodata(ask(f"ext.{SVC}", "SRV"))
    for name in (f"_http._tcp.ext.{SVC}", f"_tcp.ext.{SVC}", f"x.ext.{SVC}", f"10-1-0-1.ext.{SVC}"):
        for rrtype in ("A", "SRV", "CNAME"):
            assert is_nxdomain(ask(name, rrtype))


@pytest.mark.row("D7")
@pytest.mark.parametrize("rrtype", ["A", "AAAA", "CNAME", "SRV", "TXT"])
@pytest.mark.parametrize("name", ["number", "wide"])
def test_an_address_is_no_target_nor_a_name_that_dns_has_no_room_for(
    ask: Any, name: str, rrtype: str
) -> None:
    assert is_nxdomain(ask(f"{name}.{SVC}", rrtype))
