"""Rows S: Kubernetes' DNS specification 1.1.0, item by item, each in the words of the specification.

Many items are also rows A to F and are asserted there in detail; here each is asked for once as a client
that knows only the specification would.  "Must be served" means: is among the answers.
https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

from ipaddress import ip_address
from typing import Any

import pytest
from behaviour.cluster_harness import SVC, ClusterHarness, Z, is_nxdomain
from behaviour.objects import endpoint, endpoint_slice, external, headless, pod, port, service

PORTS = [port(80, "http"), port(443, "https"), port(53, "dns", "UDP")]
WEB, DB = f"web.{SVC}", f"db.{SVC}"


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    return make_world(
        service(
            "web", clusterIPs=["10.96.0.10", "fd00:96::10"], ipFamilyPolicy="RequireDualStack", ports=PORTS
        ),
        service("bare", clusterIP="10.96.0.11", ports=[{"port": 80}]),
        headless("db", selector={}, ipFamilyPolicy="RequireDualStack"),
        endpoint_slice(
            "db-4",
            "db",
            endpoint("10.1.0.1", hostname="a", ready=True),
            endpoint("10.1.0.2", hostname="a", ready=True),
            endpoint("10.1.0.3", ready=True),
            endpoint("10.1.0.4", ready=True),
            endpoint("10.1.0.5", hostname="later", ready=False),
            ports=PORTS,
        ),
        endpoint_slice("db-6", "db", endpoint("2001:db8::1", hostname="a", ready=True), ports=PORTS),
        headless("other", selector={}),
        endpoint_slice("other-4", "other", endpoint("10.1.0.3"), ports=[port(80)]),
        headless("idle", selector={}),
        endpoint_slice("idle-4", "idle", endpoint("10.1.0.9", ready=False), ports=PORTS),
        external("ext", "www.example.org"),
        external("near", f"web.{SVC}"),
    )


def ptrs(ask: Any, address: str) -> list[str]:
    found: list[str] = ask(ip_address(address).reverse_pointer, "PTR").rdata
    return found


def targets(ask: Any, name: str) -> set[str]:
    return {line.split()[3] for line in ask(name, "SRV", tcp=True).rdata}


@pytest.mark.row("S1")
def test_comparisons_ignore_letter_case(ask: Any) -> None:
    assert ask(f"_HTTP._TCP.{WEB.upper()}", "SRV").rdata == ask(f"_http._tcp.{WEB}", "SRV").rdata
    assert ask(f"A.{DB}").rdata == ask(f"a.{DB}").rdata


@pytest.mark.row("S2", "S3", "S4")
def test_hostname_of_an_endpoint(ask: Any) -> None:
    """Its `hostname`, else an identifier that resolves and means this endpoint alone."""
    assigned = targets(ask, f"_http._tcp.{DB}") - {f"a.{DB}."}
    assert len(assigned) == 2
    addresses = [ask(name).rdata for name in sorted(assigned)]
    assert addresses == [["10.1.0.3"], ["10.1.0.4"]]


@pytest.mark.row("S5", "S32")
def test_ready_endpoints(new_world: Any, ask: Any) -> None:
    later = "10.1.0.5"
    assert later not in ask(DB).rdata
    assert f"later.{DB}." not in targets(ask, f"_http._tcp.{DB}")
    assert is_nxdomain(ask(f"later.{DB}"))
    assert ptrs(ask, later) == []
    for more in (
        {"publishNotReadyAddresses": True},
        {"notes": {"service.alpha.kubernetes.io/tolerate-unready-endpoints": "true"}},
    ):
        tolerant = new_world(headless(**more), pod("db-0", later, app="db", ready=False))
        assert tolerant.ask(DB).rdata == [later]
        assert ptrs(tolerant.ask, later) == [f"10-1-0-5.{DB}."]


@pytest.mark.row("S6")
def test_schema_version(ask: Any) -> None:
    assert ask(f"dns-version.{Z}", "TXT").rdata == ['"1.1.0"']


@pytest.mark.row("S7", "S8", "S9")
def test_cluster_ips(ask: Any) -> None:
    assert ask(WEB, "A").rdata == ["10.96.0.10"]
    assert ask(WEB, "AAAA").rdata == ["fd00:96::10"]


@pytest.mark.row("S10", "S11", "S13")
@pytest.mark.parametrize(("label", "number"), [("_http._tcp", 80), ("_https._tcp", 443), ("_dns._udp", 53)])
def test_srv_of_named_ports(ask: Any, label: str, number: int) -> None:
    reply = ask(f"{label}.{WEB}", "SRV")
    (rdata,) = (rr[0] for rr in reply.message.answer)
    assert (rdata.port, str(rdata.target)) == (number, f"{WEB}.")
    assert 0 <= rdata.priority <= 65535
    assert 0 < rdata.weight <= 65535, "RFC 2782: weight 0 would be chosen last"
    assert [line.split()[0] for line in reply.additional] == [f"{WEB}."] * 2


@pytest.mark.row("S12")
def test_no_srv_of_an_unnamed_port(ask: Any) -> None:
    for label in ("_80._tcp", "_._tcp", "_http._tcp"):
        assert is_nxdomain(ask(f"{label}.bare.{SVC}", "SRV"))


@pytest.mark.row("S14", "S15")
def test_ptr_of_cluster_ips(ask: Any) -> None:
    assert ptrs(ask, "10.96.0.10") == [f"{WEB}."]
    assert ptrs(ask, "fd00:96::10") == [f"{WEB}."]


@pytest.mark.row("S16")
def test_a_cluster_ip_service_needs_no_endpoints(ask: Any) -> None:
    assert ask(WEB).answer
    assert ask(f"_http._tcp.{WEB}", "SRV").answer
    assert ptrs(ask, "10.96.0.10")


@pytest.mark.row("S17", "S18")
def test_addresses_of_a_headless_service(ask: Any) -> None:
    assert ask(DB, "A").rdata == ["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"]
    assert ask(DB, "AAAA").rdata == ["2001:db8::1"]


@pytest.mark.row("S19")
@pytest.mark.parametrize("rrtype", ["A", "AAAA"])
def test_without_ready_endpoints_a_headless_service_is_nxdomain(ask: Any, rrtype: str) -> None:
    assert is_nxdomain(ask(f"idle.{SVC}", rrtype))


@pytest.mark.row("S20", "S21", "S22")
def test_addresses_of_a_hostname(ask: Any) -> None:
    assert ask(f"a.{DB}", "A").rdata == ["10.1.0.1", "10.1.0.2"]
    assert ask(f"a.{DB}", "AAAA").rdata == ["2001:db8::1"]


@pytest.mark.row("S23", "S24", "S25", "S27", "S28")
@pytest.mark.parametrize(("label", "number"), [("_http._tcp", 80), ("_https._tcp", 443), ("_dns._udp", 53)])
def test_srv_for_each_endpoint_and_port(ask: Any, label: str, number: int) -> None:
    """Three hostnames times three ports; equal SRVs are one RR, as an RRset is a set."""
    reply = ask(f"{label}.{DB}", "SRV", tcp=True)
    assert len(reply.answer) == 3
    assert {rr[0].port for rr in reply.message.answer} == {number}
    assert targets(ask, f"{label}.{DB}") == {f"{x}.{DB}." for x in ("a", "10-1-0-3", "10-1-0-4")}
    for rr in reply.message.answer:
        assert ask(str(rr[0].target)).answer, "each target resolves"
        assert any(line.startswith(f"{rr[0].target} ") for line in reply.additional)


@pytest.mark.row("S26")
def test_no_srv_of_an_unnamed_port_of_endpoints(ask: Any) -> None:
    for label in ("_80._tcp", "_._tcp", "_http._tcp"):
        assert is_nxdomain(ask(f"{label}.other.{SVC}", "SRV"))


@pytest.mark.row("S29", "S30", "S31")
def test_ptr_of_endpoints(ask: Any) -> None:
    assert ptrs(ask, "10.1.0.1") == [f"a.{DB}."]
    assert ptrs(ask, "2001:db8::1") == [f"a.{DB}."]
    assert ptrs(ask, "10.1.0.3") == [f"10-1-0-3.{DB}.", f"10-1-0-3.other.{SVC}."]


@pytest.mark.row("S33", "S34", "S35")
@pytest.mark.parametrize("rrtype", ["A", "AAAA"])
def test_external_names(ask: Any, rrtype: str) -> None:
    assert ask(f"ext.{SVC}", rrtype).rdata == ["www.example.org."]
    reply = ask(f"near.{SVC}", rrtype)
    address = {"A": "10.96.0.10", "AAAA": "fd00:96::10"}[rrtype]
    assert [line.split(maxsplit=2)[2] for line in reply.answer] == [f"CNAME {WEB}.", f"{rrtype} {address}"]


@pytest.mark.row("S36")
def test_external_names_have_nothing_else(ask: Any) -> None:
    assert not ask(f"ext.{SVC}", "SRV").answer
    assert is_nxdomain(ask(f"_http._tcp.ext.{SVC}", "SRV"))
    assert is_nxdomain(ask(f"a.ext.{SVC}"))
