"""Rows F: PTR records and the reverse zones."""

from ipaddress import ip_address
from typing import Any

import pytest
from behaviour.cluster_harness import ALL_TYPES, SVC, TTL, ClusterHarness, Z, is_nodata, is_nxdomain
from behaviour.objects import FILE, endpoint, endpoint_slice, headless, namespace, pod, port, service

from svcdns.config.readers import Wrong, reverse_zone
from svcdns.objects.kinds import SERVICE


def back(address: str) -> str:
    return ip_address(address).reverse_pointer


@pytest.fixture(scope="module")
def world(make_world: Any) -> ClusterHarness:
    return make_world(
        namespace("team"),
        service("web", clusterIPs=["10.96.0.10", "fd00:96::10"], ipFamilyPolicy="RequireDualStack"),
        pod("web-a", "10.1.0.1", app="web"),
        headless("db"),
        pod("db-0", "10.1.0.2", app="db", hostname="db-0", subdomain="db"),
        pod("db-1", "10.1.0.3", app="db", ready=False),
        headless("both", selector={}, ipFamilyPolicy="RequireDualStack"),
        endpoint_slice("both-1", "both", endpoint("10.1.0.1"), endpoint("10.1.0.2"), ports=[port(1, "a")]),
        endpoint_slice("both-2", "both", endpoint("10.1.0.1"), endpoint("10.96.0.10"), ports=[port(2, "b")]),
        endpoint_slice("both-3", "both", endpoint("2001:db8::7")),
        headless("web", selector={}, ns="team"),
        endpoint_slice("web-1", "web", endpoint("10.1.0.1", hostname="one"), ns="team"),
        pod("lonely", "10.1.0.9", app="nothing"),
    )


@pytest.mark.row("F1", "S14")
def test_ptr_of_a_cluster_ip(ask: Any) -> None:
    name = "10.0.96.10.in-addr.arpa"
    assert ask(name, "PTR").answer == [f"{name}. {TTL} PTR web.{SVC}."], "endpoints of the address are hidden"


@pytest.mark.row("F1", "S15")
def test_ptr_of_an_ipv6_cluster_ip(ask: Any) -> None:
    name = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa"
    assert ask(name, "PTR").answer == [f"{name}. {TTL} PTR web.{SVC}."]


@pytest.mark.row("F1")
def test_endpoints_of_a_freed_cluster_ip_come_to_light(new_world: Any) -> None:
    world = new_world(
        service("web", clusterIP="10.96.0.10"),
        headless("db", selector={}),
        endpoint_slice("db-1", "db", endpoint("10.96.0.10")),
    )
    assert world.ask(back("10.96.0.10"), "PTR").rdata == [f"web.{SVC}."]
    world.remove(SERVICE, "web")
    assert world.ask(back("10.96.0.10"), "PTR").rdata == [f"10-96-0-10.db.{SVC}."]


@pytest.mark.row("F2", "S29", "S31")
def test_ptr_of_an_endpoint_for_each_service(ask: Any) -> None:
    name = back("10.1.0.1")
    assert ask(name, "PTR").sorted == [
        f"{name}. {TTL} PTR 10-1-0-1.both.{SVC}.",  # in two slices, once
        f"{name}. {TTL} PTR 10-1-0-1.web.{SVC}.",  # of a ClusterIP Service
        f"{name}. {TTL} PTR one.web.team.svc.{Z}.",
    ]
    assert ask(back("10.1.0.2"), "PTR").rdata == [f"10-1-0-2.both.{SVC}.", f"db-0.db.{SVC}."]


@pytest.mark.row("F2", "S30")
def test_ptr_of_an_ipv6_endpoint(ask: Any) -> None:
    assert ask(back("2001:db8::7"), "PTR").rdata == [f"2001-db8--7.both.{SVC}."]


@pytest.mark.row("F3")
@pytest.mark.parametrize(
    ("address", "zone"),
    [
        ("192.0.2.1", "in-addr.arpa."),
        ("10.96.0.11", "in-addr.arpa."),
        ("10.1.0.3", "in-addr.arpa."),  # not ready
        ("10.1.0.9", "in-addr.arpa."),  # of no Service
        ("fd00:96::11", "ip6.arpa."),
        ("2001:db8::8", "ip6.arpa."),
    ],
)
@pytest.mark.parametrize("rrtype", [*ALL_TYPES, "ANY"])
def test_unknown_addresses(ask: Any, address: str, zone: str, rrtype: str) -> None:
    assert is_nxdomain(ask(back(address), rrtype), zone)


@pytest.mark.row("F3")
def test_the_soa_is_that_of_the_zone_as_configured(new_world: Any) -> None:
    world = new_world(
        service("web", clusterIP="10.96.0.10"),
        reverse_zones=("0.10.in-addr.arpa", "10.in-addr.arpa"),
        fallthrough=(),
    )
    assert world.ask(back("10.96.0.10"), "PTR").rdata == [f"web.{SVC}."]
    assert is_nxdomain(world.ask(back("10.0.0.1"), "PTR"), "0.10.in-addr.arpa.")
    assert is_nxdomain(world.ask(back("10.1.0.1"), "PTR"), "10.in-addr.arpa.")
    assert is_nodata(world.ask("0.10.in-addr.arpa", "PTR"), "0.10.in-addr.arpa.")
    assert world.ask(back("192.0.2.1"), "PTR").rcode == "REFUSED"
    assert world.ask(back("fd00:96::10"), "PTR").rcode == "REFUSED"


@pytest.mark.row("F3", "G1")
def test_hidden_namespaces(new_world: Any) -> None:
    world = new_world(
        namespace("secret"),
        service("web", clusterIP="10.96.0.10", ns="secret"),
        pod("a", "10.1.0.1", ns="secret"),
        namespaces=("default",),
    )
    assert is_nxdomain(world.ask(back("10.96.0.10"), "PTR"), "in-addr.arpa.")
    assert is_nxdomain(world.ask(back("10.1.0.1"), "PTR"), "in-addr.arpa.")


def with_files(world: ClusterHarness) -> ClusterHarness:
    """Zone files that know 10.96.x.x, 10.112.x.x and 192.168.1.x."""
    ten = ["9.9.96.10", "9.9.111.10", "9.9.112.10", "1.0.1.10"]
    world.zone_file(
        FILE.format(
            origin="10.in-addr.arpa", records="\n".join(f"{n}.in-addr.arpa. 60 PTR file." for n in ten)
        )
    )
    lan = "\n".join(f"{n}.1.168.192.in-addr.arpa. 60 PTR file." for n in (1, 2, 3))
    world.zone_file(FILE.format(origin="168.192.in-addr.arpa", records=lan))
    return world


@pytest.mark.row("F4")
def test_unknown_addresses_go_on_to_zone_files(new_world: Any) -> None:
    world = with_files(
        new_world(
            headless(),
            pod("db-0", "192.168.1.1", app="db"),
            pod("db-1", "10.1.0.1", app="db"),
            ranges=("10.96.0.0/12",),
        )
    )
    assert world.ask(back("192.168.1.1"), "PTR").rdata == [f"192-168-1-1.db.{SVC}."], (
        "the registry goes first"
    )
    assert world.ask(back("10.1.0.1"), "PTR").rdata == [f"10-1-0-1.db.{SVC}."]
    reply = world.ask(back("192.168.1.2"), "PTR")
    assert reply.answer == [f"{back('192.168.1.2')}. 60 PTR file."]
    assert is_nxdomain(world.ask(back("192.168.1.9"), "PTR"), "168.192.in-addr.arpa.")
    assert is_nxdomain(world.ask(back("192.0.2.9"), "PTR"), "in-addr.arpa."), "no file has it"


@pytest.mark.row("F4", "F6")
@pytest.mark.parametrize(
    ("address", "is_ours"), [("10.96.9.9", True), ("10.111.9.9", True), ("10.112.9.9", False)]
)
def test_our_own_ranges_never_go_on(new_world: Any, address: str, is_ours: bool) -> None:
    """10.96.0.0/12 does not end at a label: it is sixteen subtrees, 96.10 to 111.10."""
    world = with_files(new_world(ranges=("10.96.0.0/12",)))
    reply = world.ask(back(address), "PTR")
    if is_ours:
        assert is_nxdomain(reply, "in-addr.arpa.")
    else:
        assert reply.rdata == ["file."]


@pytest.mark.row("F4")
def test_ranges_of_load_balancers_are_our_own(new_world: Any) -> None:
    world = with_files(new_world(balancers=["192.168.1.0/24"]))
    assert is_nxdomain(world.ask(back("192.168.1.2"), "PTR"), "in-addr.arpa.")


@pytest.mark.row("F4")
def test_addresses_of_registered_pods_never_go_on(new_world: Any) -> None:
    world = with_files(new_world(headless(), pod("db-0", "192.168.1.2", app="db", ready=False)))
    assert is_nxdomain(world.ask(back("192.168.1.2"), "PTR"), "in-addr.arpa.")


@pytest.mark.row("F5")
def test_ptr_at_a_forward_name(ask: Any) -> None:
    for name in (f"web.{SVC}", f"db-0.db.{SVC}", f"default.svc.{Z}", Z, f"10-1-0-9.default.pod.{Z}"):
        assert is_nodata(ask(name, "PTR")), name
    assert is_nxdomain(ask(f"nothing.{SVC}", "PTR"))


@pytest.mark.row("F6")
@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.96.0.0/12", "fd00::/8"])
def test_reverse_zones_are_given_as_names(text: str) -> None:
    with pytest.raises(Wrong, match=r"allowed: .*in-addr\.arpa"):
        reverse_zone(text)


@pytest.mark.row("F6")
def test_ranges_that_end_within_a_nibble(new_world: Any) -> None:
    world = new_world(ranges=("fd00:96::/110",))
    records = "\n".join(f"{back(a)}. 60 PTR file." for a in ("fd00:96::3:9", "fd00:96::4:9"))
    world.zone_file(FILE.format(origin="d.f.ip6.arpa", records=records))
    assert is_nxdomain(world.ask(back("fd00:96::3:9"), "PTR"), "ip6.arpa.")
    assert world.ask(back("fd00:96::4:9"), "PTR").rdata == ["file."]
