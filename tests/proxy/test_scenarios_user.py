"""The engine `user` end to end: a range that is routed to the node, and a relay behind it."""

from collections.abc import Iterator

import pytest
from proxy.drained_flow import stays_while_its_endpoint_serves
from proxy.site import Site
from toolbox.lab import Lab, ask_again

PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    lab.node.ip(
        "route add local 10.96.0.0/12 dev lo",
        "route add local fd96::/108 dev lo",
        "route add local 192.168.77.192/26 dev lo",
    )
    with Site(lab, "user") as made:
        yield made


@PROTOCOLS
@pytest.mark.parametrize("family", [4, 6])
def test_a_cluster_ip_and_a_node_port_are_reached_from_everywhere(
    site: Site, lab: Lab, protocol: str, family: int
) -> None:
    web = site.service(f"web-{protocol}-{family}", [lab.a1, lab.far], type="NodePort")
    for host in (lab.node, lab.a2, lab.b1, lab.client):
        site.reaches(host, protocol, web.cluster_ip(family), 80, {"a1", "far"})
        site.reaches(host, protocol, lab.node.addresses[family], web.node_port(protocol), {"a1", "far"})


@PROTOCOLS
def test_external_local_holds_outside_and_not_inside(site: Site, lab: Lab, protocol: str) -> None:
    name = f"local-{protocol}"
    web = site.service(name, [lab.a1, lab.far], type="LoadBalancer", externalTrafficPolicy="Local")
    site.reaches(lab.client, protocol, web.balancer, 80, {"a1"})
    for host in (lab.node, lab.b1):
        site.reaches(host, protocol, web.balancer, 80, {"a1", "far"})
    site.set_ready(name, lab.a1, False)
    site.meets_silence(lab.client, protocol, web.balancer, 80)


def test_without_endpoints_it_is_refused_and_what_is_open_goes_on(site: Site, lab: Lab) -> None:
    web = site.service("open", [lab.b1])
    site.reaches(lab.client, "tcp", web.cluster_ip(4), 80, {"b1"})
    with lab.client.connect("tcp", web.cluster_ip(4), 80) as client:
        assert ask_again(client).who == "b1"
        site.set_ready("open", lab.b1, False)
        for protocol in ("tcp", "udp"):
            site.is_refused(lab.client, protocol, web.cluster_ip(4), 80)
        assert ask_again(client).who == "b1"


def test_the_next_proxy_serves_after_one_was_killed(site: Site, lab: Lab) -> None:
    web = site.service("again", [lab.b2])
    site.reaches(lab.client, "tcp", web.cluster_ip(4), 80, {"b2"})
    site.kill("svcdns.server.proxy")
    site.reaches(lab.client, "tcp", web.cluster_ip(4), 80, {"b2"})


def test_a_udp_flow_stays_while_its_endpoint_serves_and_moves_when_that_is_gone(site: Site, lab: Lab) -> None:
    stays_while_its_endpoint_serves(site, lab)
