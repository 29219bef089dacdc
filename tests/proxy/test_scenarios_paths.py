"""The paths of traffic through a node with packet rules: who reaches what, and is seen as whom."""

from collections.abc import Iterator

import pytest
from proxy.site import PORT, SERVICES, Site, Web
from toolbox.lab import BR_NETFILTER, Lab

pytestmark = [
    pytest.mark.parametrize("lab", BR_NETFILTER, indirect=True, scope="module"),
    pytest.mark.parametrize("protocol", ["tcp", "udp"]),
    pytest.mark.parametrize("family", [4, 6]),
]
ONLY_IPV6 = {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with Site(lab) as made:
        for name, pods in (("web", [lab.a1, lab.b1, lab.far]), ("one", [lab.a1]), ("empty", [])):
            made.service(name, pods, type="LoadBalancer")
            made.service(f"{name}-6", selector={"app": name}, type="LoadBalancer", **ONLY_IPV6)
        yield made


def service(site: Site, name: str, family: int = 4) -> Web:
    """Return a Service; one of IPv6 alone has a load balancer address of that family."""
    full = f"{name}-6" if family == 6 else name
    return Web(site.done("GET", f"{SERVICES}/{full}"))


def test_a_cluster_ip_is_reached_from_everywhere(site: Site, lab: Lab, protocol: str, family: int) -> None:
    for host in (lab.node, lab.a1, lab.a2, lab.b2, lab.client):
        address = service(site, "web").cluster_ip(family)
        site.reaches(host, protocol, address, 80, {"a1", "b1", "far"})


def test_a_node_port_is_reached_from_everywhere(site: Site, lab: Lab, protocol: str, family: int) -> None:
    number = service(site, "web").node_port(protocol)
    for host in (lab.node, lab.a1, lab.a2, lab.b2, lab.client):
        site.reaches(host, protocol, lab.node.addresses[family], number, {"a1", "b1", "far"})


def test_a_node_port_is_on_the_nodes_addresses_only(site: Site, lab: Lab, protocol: str, family: int) -> None:
    number = service(site, "web").node_port(protocol)
    for address in ("10.244.0.1", "10.245.0.1") if family == 4 else ("fd44::1", "fd45::1"):
        site.is_refused(lab.b1, protocol, address, number)


def test_a_load_balancer_address_is_reached_from_everywhere(
    site: Site, lab: Lab, protocol: str, family: int
) -> None:
    address = service(site, "web", family).balancer
    for host in (lab.node, lab.a1, lab.a2, lab.b2, lab.client):
        site.reaches(host, protocol, address, 80, {"a1", "b1", "far"})


def test_a_container_reaches_itself_through_its_service(
    site: Site, lab: Lab, protocol: str, family: int
) -> None:
    site.reaches(lab.a1, protocol, service(site, "one").cluster_ip(family), 80, {"a1"})
    site.reaches(lab.a1, protocol, service(site, "one", family).balancer, 80, {"a1"})


def test_the_clients_address_is_kept_where_the_answer_comes_back_anyway(
    site: Site, lab: Lab, protocol: str, family: int
) -> None:
    one, number = service(site, "one"), service(site, "one").node_port(protocol)
    address, balancer = one.cluster_ip(family), service(site, "one", family).balancer
    for host in (lab.b1, lab.client):
        assert site.reaches(host, protocol, address, 80, {"a1"}) == {host.addresses[family]}
        assert site.reaches(host, protocol, balancer, 80, {"a1"}) == {host.addresses[family]}
    node_address = lab.node.addresses[family]
    assert site.reaches(lab.client, protocol, node_address, number, {"a1"}) == {lab.client.addresses[family]}


def test_a_neighbour_and_the_host_are_seen_as_the_node(
    site: Site, lab: Lab, protocol: str, family: int
) -> None:
    address = service(site, "one").cluster_ip(family)
    gateway = "10.244.0.1" if family == 4 else "fd44::1"
    assert site.reaches(lab.a2, protocol, address, 80, {"a1"}) == {gateway}
    (seen,) = site.reaches(lab.node, protocol, address, 80, {"a1"})
    assert seen in (gateway, lab.node.addresses[family])


def test_without_endpoints_all_are_refused(site: Site, lab: Lab, protocol: str, family: int) -> None:
    empty = service(site, "empty")
    for host in (lab.node, lab.a1, lab.client):
        site.is_refused(host, protocol, empty.cluster_ip(family), 80)
        site.is_refused(host, protocol, service(site, "empty", family).balancer, 80)
        site.is_refused(host, protocol, lab.node.addresses[family], empty.node_port(protocol))


def test_an_unused_port_is_refused_and_an_unused_address_is_silent(
    site: Site, lab: Lab, protocol: str, family: int
) -> None:
    address = service(site, "web").cluster_ip(family)
    unused = "10.111.222.33" if family == 4 else "fd96::dead"
    for host in (lab.node, lab.a1, lab.client):
        site.is_refused(host, protocol, address, 81)
        site.meets_silence(host, protocol, unused, 80)


def test_a_containers_own_port_stays_its_own(site: Site, lab: Lab, protocol: str, family: int) -> None:
    assert lab.b1.ask(protocol, lab.a1.addresses[family], PORT)[:2] == ("a1", lab.b1.addresses[family])
