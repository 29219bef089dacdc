"""Endpoints at loopback addresses, beside the kernel's rules: processes of the host, for everybody.

Each is a server at an address of its own in 127.0.0.0/8, or at ::1; it sees whom it gets by a relay as the
host.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from proxy.machine import said
from proxy.site import PODS, Site, Web, answering
from toolbox.lab import BR_NETFILTER, Lab, Machine, ask_again
from toolbox.waiting import wait_for

OTHER_PORT = 8090
"""At PORT, "node" serves on all addresses of the node, loopback too."""
PROCESSES = {"one": "127.0.0.2", "two": "127.0.0.3"}
FAMILIES = pytest.mark.parametrize("family", [4, 6])
PROTOCOLS = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    with Site(lab) as made, ExitStack() as servers:
        for name, address in PROCESSES.items():
            for protocol in ("tcp", "udp"):
                servers.enter_context(lab.serve(lab.node, protocol, OTHER_PORT, address, who=name))
        for protocol in ("tcp", "udp"):
            servers.enter_context(lab.serve(lab.node, protocol, OTHER_PORT, "::1", who="one"))
        yield made


def processes(site: Site, name: str, *names: str, **spec: object) -> Web:
    """Register a Service of some processes."""
    ports = [
        {"name": protocol, "port": 80, "targetPort": OTHER_PORT, "protocol": protocol.upper()}
        for protocol in ("tcp", "udp")
    ]
    web = site.service(name, ports=ports, **spec)
    for one in names:
        site.process(name, one, PROCESSES[one], *(["::1"] if one == "one" else []))
    return web


def everybody(lab: Lab) -> tuple[Machine, ...]:
    """Return clients of all kinds: the host, containers of two networks, one of the LAN."""
    return lab.node, lab.a1, lab.b1, lab.client


@pytest.mark.parametrize("lab", BR_NETFILTER, indirect=True, scope="module")
@FAMILIES
@PROTOCOLS
def test_everybody_reaches_a_process_of_the_host(site: Site, lab: Lab, protocol: str, family: int) -> None:
    name = f"web-{protocol}-{family}"
    families = {"ipFamilies": [f"IPv{family}"], "ipFamilyPolicy": "SingleStack"}
    web = processes(site, name, "one", type="LoadBalancer", **families)
    places = [
        (web.cluster_ip(family), 80),
        (web.balancer, 80),
        (lab.node.addresses[family], web.node_port(protocol)),
    ]
    for address, port in places:
        for host in everybody(lab):
            site.reaches(host, protocol, address, port, {"one"})
    site.set_ready(name, "one", False)
    for host in everybody(lab):
        site.is_refused(host, protocol, web.cluster_ip(family), 80)


@PROTOCOLS
def test_processes_and_containers_share_the_clients(site: Site, lab: Lab, protocol: str) -> None:
    name = f"mixed-{protocol}"
    web = site.service(name, [lab.a1, lab.far], type="NodePort")
    site.process(name, "here", "127.0.0.1", "::1")
    for family in (4, 6):
        for host in (lab.node, lab.a2, lab.b1, lab.client):
            site.reaches(host, protocol, web.cluster_ip(family), 80, {"a1", "far", "node"}, tries=10)
    site.set_ready(name, "here", False)
    site.reaches(lab.b1, protocol, web.cluster_ip(4), 80, {"a1", "far"})
    site.reaches(lab.node, protocol, web.cluster_ip(4), 80, {"a1", "far"})
    site.set_ready(name, "here", True)
    site.set_ready(name, lab.a1, False)
    site.reaches(lab.client, protocol, lab.node.addresses[4], web.node_port(protocol), {"node", "far"})


def relays(lab: Lab) -> list[tuple[str, str, int]]:
    """Return where relays listen in the node: address, protocol, port."""
    found = []
    for line in said(lab.node, "ss", "-Hlntu").splitlines():
        columns = line.split()
        address, _, port = columns[4].rpartition(":")
        if int(port) >= 61000:
            found.append((address.strip("[]"), columns[0], int(port)))
    return found


def test_nobody_gets_to_a_relay_but_by_a_service(site: Site, lab: Lab) -> None:
    web = processes(site, "guarded", "one", "two")
    site.reaches(lab.b1, "tcp", web.cluster_ip(4), 80, {"one", "two"})
    found = wait_for(lambda: relays(lab), "relays")
    assert {protocol for _, protocol, _ in found} == {"tcp", "udp"}
    lab.client.ip("route add 10.244.0.0/15 via 192.168.77.1", "route add fd44::/15 via fd77::1")
    try:
        for address, protocol, port in found:
            for host in everybody(lab):
                site.is_refused(host, protocol, address, port)
    finally:
        lab.client.ip("route del 10.244.0.0/15", "route del fd44::/15")
    site.reaches(lab.b1, "udp", web.cluster_ip(4), 80, {"one", "two"})


@PROTOCOLS
def test_source_ranges_hold(site: Site, lab: Lab, protocol: str) -> None:
    web = processes(
        site,
        f"ranges-{protocol}",
        "one",
        type="LoadBalancer",
        loadBalancerSourceRanges=[f"{lab.client.addresses[4]}/32"],
    )
    site.reaches(lab.client, protocol, web.balancer, 80, {"one"})
    site.meets_silence(lab.b1, protocol, web.balancer, 80)
    site.reaches(lab.b1, protocol, web.cluster_ip(4), 80, {"one"})


def test_a_process_is_on_this_node_for_policies(site: Site, lab: Lab) -> None:
    web = site.service("local", [lab.far], type="LoadBalancer", externalTrafficPolicy="Local")
    site.process("local", "here", "127.0.0.1", "::1")
    site.reaches(lab.client, "tcp", web.balancer, 80, {"node"})
    site.reaches(lab.b1, "tcp", web.balancer, 80, {"node", "far"})
    site.reaches(lab.node, "tcp", web.balancer, 80, {"node", "far"})
    site.set_ready("local", "here", False)
    site.meets_silence(lab.client, "tcp", web.balancer, 80)


@PROTOCOLS
@pytest.mark.parametrize("host", ["node", "b1", "client"])
def test_a_client_stays_with_its_process(site: Site, lab: Lab, protocol: str, host: str) -> None:
    name, client = f"sticky-{protocol}-{host}", getattr(lab, host)
    web = processes(site, name, "one", "two", sessionAffinity="ClientIP")
    address = web.cluster_ip(4)
    first = site.one_of(client, protocol, address, 80, set(PROCESSES))
    assert {client.ask(protocol, address, 80).who for _ in range(20)} == {first}
    site.set_ready(name, first, False)
    (other,) = PROCESSES.keys() - {first}
    site.reaches(client, protocol, address, 80, {other})


def test_a_udp_flow_stays_whatever_else_changes_and_moves_when_its_process_leaves(
    site: Site, lab: Lab
) -> None:
    web = processes(site, "flow", "one")
    site.reaches(lab.b1, "udp", web.cluster_ip(4), 80, {"one"})
    with lab.b1.connect("udp", web.cluster_ip(4), 80) as client:
        first = ask_again(client)
        for _ in range(8):
            site.process("flow", "two", PROCESSES["two"])
            site.reaches(lab.a1, "udp", web.cluster_ip(4), 80, {"one", "two"})
            assert ask_again(client) == first  # one that was forgotten would go to "two" half of the time
            site.done("DELETE", f"{PODS}/flow-two")
            site.reaches(lab.a1, "udp", web.cluster_ip(4), 80, {"one"})
        site.process("flow", "two", PROCESSES["two"])
        site.set_ready("flow", "one", False)
        wait_for(lambda: answering(client) == "two", "the flow to move")


def test_when_the_proxy_is_gone_the_host_goes_on_and_the_next_one_serves_all(site: Site, lab: Lab) -> None:
    web = processes(site, "death", "one")
    address = web.cluster_ip(4)
    for host in everybody(lab):
        site.reaches(host, "tcp", address, 80, {"one"})
    before = relays(lab)
    site.kill_all()
    site.reaches(lab.node, "tcp", address, 80, {"one"})
    for host in (lab.b1, lab.client):
        site.is_refused(host, "tcp", address, 80)
    site.start_again()
    for host in everybody(lab):
        site.reaches(host, "tcp", address, 80, {"one"})
    assert relays(lab) == before


def test_an_address_that_goes_is_replaced(site: Site, lab: Lab) -> None:
    web = processes(site, "moving", "one")
    site.reaches(lab.client, "tcp", web.cluster_ip(4), 80, {"one"})
    (at,) = {address for address, _, _ in relays(lab) if ":" not in address}
    (link,) = (
        line.split()[1] for line in said(lab.node, "ip", "-o", "addr").splitlines() if f" {at}/" in line
    )
    lab.node.ip(f"address del {at}/24 dev {link}")
    try:
        site.reaches(lab.client, "tcp", web.cluster_ip(4), 80, {"one"})
        wait_for(lambda: at not in {address for address, _, _ in relays(lab)}, "the relay to move")
        site.reaches(lab.client, "udp", web.cluster_ip(4), 80, {"one"})
    finally:
        lab.node.ip(f"address add {at}/24 dev {link}")
