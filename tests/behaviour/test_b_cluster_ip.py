"""Rows B: Services with a cluster IP (ClusterIP, NodePort, LoadBalancer)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from behaviour.cluster_harness import ALL_TYPES, SVC, TTL, ClusterHarness, config, is_nodata, is_nxdomain
from behaviour.objects import endpoint, endpoint_slice, external, headless, namespace, pod, port, service

from svcdns.names.cluster_names import ClusterNames
from svcdns.names.packed import sections
from svcdns.names.service_rows import ServiceFacts, service_rows
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import POD

DUAL = {"ipFamilyPolicy": "RequireDualStack", "clusterIPs": ["10.96.0.20", "fd00:96::20"]}
DNS_PORTS = [port(53, "dns", "UDP"), port(53, "dns-tcp"), port(9153, "metrics")]


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    return make_world(
        service("web", clusterIP="10.96.0.10"),
        service("dual", **DUAL),
        service("six", clusterIP="fd00:96::6", ipFamilies=["IPv6"]),
        service("node", clusterIP="10.96.0.30", type="NodePort"),
        service("balanced", clusterIP="10.96.0.40", type="LoadBalancer", externalIPs=["192.0.2.7"]),
        service("dns", clusterIP="10.96.0.50", ports=DNS_PORTS),
        service("bare", clusterIP="10.96.0.60", ports=[{"port": 80}]),
        service("wide", **DUAL | {"clusterIPs": ["10.96.0.70", "fd00:96::70"]}, ports=DNS_PORTS),
        pod("web-a", "10.1.0.1", app="web"),
        pod("web-b", "10.1.0.2", app="web", ready=False),
        pod("node-a", "10.1.0.3", app="node", ready=False),
        balancers=["192.0.2.128/25"],
    )


@pytest.mark.row("B1", "S7")
@pytest.mark.parametrize(
    ("name", "address"),
    [("web", "10.96.0.10"), ("dual", "10.96.0.20"), ("node", "10.96.0.30"), ("balanced", "10.96.0.40")],
)
def test_a_is_the_cluster_ip(ask: Any, name: str, address: str) -> None:
    assert ask(f"{name}.{SVC}").answer == [f"{name}.{SVC}. {TTL} A {address}"]


@pytest.mark.row("B1", "S8", "S9")
def test_aaaa_is_the_cluster_ip_of_that_family(ask: Any) -> None:
    assert ask(f"dual.{SVC}", "AAAA").answer == [f"dual.{SVC}. {TTL} AAAA fd00:96::20"]
    assert ask(f"six.{SVC}", "AAAA").answer == [f"six.{SVC}. {TTL} AAAA fd00:96::6"]
    assert is_nodata(ask(f"six.{SVC}", "A"))
    assert is_nodata(ask(f"web.{SVC}", "AAAA"))


@pytest.mark.row("B2", "S16")
def test_readiness_of_endpoints_does_not_matter(ask: Any) -> None:
    assert ask(f"node.{SVC}").rdata == ["10.96.0.30"], "none is ready"
    assert ask(f"dual.{SVC}").rdata == ["10.96.0.20"], "there is none"
    assert ask(f"_http._tcp.node.{SVC}", "SRV").rdata == [f"0 100 80 node.{SVC}."]
    assert ask("30.0.96.10.in-addr.arpa", "PTR").rdata == [f"node.{SVC}."]


@pytest.mark.row("B3")
def test_ignore_empty_service(new_world: Any) -> None:
    world = new_world(
        service("web"),
        headless("db"),
        external("ext", "www.example.org"),
        pod("web-a", "10.1.0.1", app="web", ready=False),
        pod("db-0", "10.1.0.2", app="db"),
        ignore_empty_service=True,
    )
    for rrtype in (*ALL_TYPES, "ANY"):
        assert is_nxdomain(world.ask(f"web.{SVC}", rrtype))
    assert is_nxdomain(world.ask(f"_http._tcp.web.{SVC}", "SRV"))
    assert world.ask(f"db.{SVC}").rdata == ["10.1.0.2"]
    assert world.ask(f"ext.{SVC}", "CNAME").rdata == ["www.example.org."]
    world.set_ready("web-a", True)
    assert len(world.ask(f"web.{SVC}").answer) == 1
    assert len(world.ask(f"_http._tcp.web.{SVC}", "SRV").answer) == 1
    world.remove(POD, "web-a")
    assert is_nxdomain(world.ask(f"web.{SVC}"))


@pytest.mark.row("B3")
def test_ignore_empty_service_looks_at_slices_of_the_users_own_too(new_world: Any) -> None:
    world = new_world(service("web", selector={}), ignore_empty_service=True)
    assert is_nxdomain(world.ask(f"web.{SVC}"))
    world.add(endpoint_slice("web-1", "web", endpoint("10.1.0.1", ready=False)))
    assert is_nxdomain(world.ask(f"web.{SVC}"))
    world.add(endpoint_slice("web-2", "web", endpoint("10.1.0.2")))
    assert world.ask(f"web.{SVC}").answer


@pytest.mark.row("B4", "S10", "S13")
@pytest.mark.parametrize(
    ("name", "rdata", "additional"),
    [
        ("_http._tcp.web", "0 100 80 web", ["A 10.96.0.10"]),
        ("_http._tcp.six", "0 100 80 six", ["AAAA fd00:96::6"]),
        ("_http._tcp.dual", "0 50 80 dual", ["A 10.96.0.20", "AAAA fd00:96::20"]),
        ("_dns._udp.dns", "0 100 53 dns", ["A 10.96.0.50"]),
        ("_dns-tcp._tcp.dns", "0 100 53 dns", ["A 10.96.0.50"]),
        ("_metrics._tcp.wide", "0 50 9153 wide", ["A 10.96.0.70", "AAAA fd00:96::70"]),
    ],
)
def test_srv_of_a_named_port(ask: Any, name: str, rdata: str, additional: list[str]) -> None:
    reply = ask(f"{name}.{SVC}", "SRV")
    target = f"{rdata.split()[-1]}.{SVC}."
    assert reply.answer == [f"{name}.{SVC}. {TTL} SRV {rdata}.{SVC}."]
    assert reply.additional == [f"{target} {TTL} {line}" for line in additional]
    assert not reply.authority


@pytest.mark.row("B5")
@pytest.mark.parametrize(
    ("name", "weight", "ports", "additionals"),
    [
        ("web", 100, [80], 1),
        ("bare", 100, [80], 1),
        ("dual", 50, [80], 2),
        ("dns", 33, [53, 9153], 1),  # three ports; TCP and UDP 53 make the same SRV
        ("wide", 16, [53, 9153], 2),  # three ports x two addresses
    ],
)
def test_srv_at_the_bare_name(ask: Any, name: str, weight: int, ports: list[int], additionals: int) -> None:
    reply = ask(f"{name}.{SVC}", "SRV")
    assert reply.rdata == [f"0 {weight} {number} {name}.{SVC}." for number in ports]
    assert len(reply.additional) == additionals


@pytest.mark.row("B6")
@pytest.mark.parametrize("rrtype", ["SRV", "A", "TXT"])
@pytest.mark.parametrize(
    "name",
    [
        "_http._udp.web",
        "_dns._tcp.dns",
        "_https._tcp.web",
        "_http._sctp.web",
        "_80._tcp.web",
        "_http._http.web",
    ],
)
def test_unknown_port_or_another_protocol(ask: Any, name: str, rrtype: str) -> None:
    assert is_nxdomain(ask(f"{name}.{SVC}", rrtype))


@pytest.mark.row("B7")
def test_addresses_at_the_name_of_a_port(ask: Any) -> None:
    assert ask(f"_http._tcp.web.{SVC}").answer == [f"_http._tcp.web.{SVC}. {TTL} A 10.96.0.10"]
    assert ask(f"_dns._udp.wide.{SVC}", "AAAA").answer == [f"_dns._udp.wide.{SVC}. {TTL} AAAA fd00:96::70"]
    assert is_nodata(ask(f"_http._tcp.web.{SVC}", "AAAA"))


@pytest.mark.row("B8", "S12")
@pytest.mark.parametrize("label", ["_", "_80", "_x", "_http", "_bare"])
def test_a_port_without_a_name_has_no_name(ask: Any, label: str) -> None:
    assert is_nxdomain(ask(f"{label}._tcp.bare.{SVC}", "SRV"))
    assert is_nxdomain(ask(f"_tcp.bare.{SVC}", "SRV"))
    assert ask(f"bare.{SVC}", "SRV").rdata == [f"0 100 80 bare.{SVC}."]


@pytest.mark.row("B9")
def test_without_ports(new_world: Any) -> None:
    """Only a headless Service may be registered without ports (C11), as in Kubernetes."""
    with pytest.raises(StatusError) as refused:
        new_world().add(service("web", ports=[]))
    assert [cause.field for cause in refused.value.causes] == ["spec.ports"]
    facts = ServiceFacts("default", "web", TTL, addresses=("10.96.0.1",))
    rows = service_rows(ClusterNames("cluster.local"), facts, [])
    assert list(rows) == [b""]
    assert [section.type for section in sections(rows[b""])] == [1], "A works, SRV is NODATA"


@pytest.mark.row("B10")
@pytest.mark.parametrize("name", ["http.tcp.web", "_http.tcp.web", "http._tcp.web", "dns.udp.dns"])
@pytest.mark.parametrize("rrtype", ["SRV", "A"])
def test_underscores_are_not_optional(ask: Any, name: str, rrtype: str) -> None:
    assert is_nxdomain(ask(f"{name}.{SVC}", rrtype))


@pytest.mark.row("B11")
def test_endpoints_of_a_cluster_ip_service(ask: Any) -> None:
    name = f"10-1-0-1.web.{SVC}"
    assert ask(name).answer == [f"{name}. {TTL} A 10.1.0.1"]
    srv = ask(name, "SRV")
    assert srv.answer == [f"{name}. {TTL} SRV 0 100 8080 {name}."]
    assert srv.additional == [f"{name}. {TTL} A 10.1.0.1"]
    assert is_nxdomain(ask(f"10-1-0-2.web.{SVC}")), "not ready"
    assert is_nxdomain(ask(f"web-a.web.{SVC}"))


@pytest.mark.row("B1", "F1")
def test_names_too_long_for_dns(tmp_path: Path) -> None:
    """A Service that could have no name is refused; an endpoint that could have none is left out."""
    world = ClusterHarness(tmp_path, replace(config(), cluster_domain=".".join(["d" * 59] * 3)))
    domain = world.config.cluster_domain
    try:
        world.add(namespace("n" * 63))
        with pytest.raises(StatusError) as refused:
            world.add(service("s" * 63, ns="n" * 63))
        assert refused.value.code == 422
        assert [cause.field for cause in refused.value.causes] == ["metadata.name"]
        world.add(
            headless("db", selector={}),
            endpoint_slice("db-1", "db", endpoint("10.1.0.1", hostname="h" * 63), endpoint("10.1.0.2")),
        )
        assert world.ask("2.0.1.10.in-addr.arpa", "PTR").rdata == [f"10-1-0-2.db.default.svc.{domain}."]
        assert is_nxdomain(world.ask("1.0.1.10.in-addr.arpa", "PTR"), "in-addr.arpa.")
    finally:
        world.close()
