"""What clients of all kinds get through the kernel engine: each behaviour by real connections."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest
from proxy.carried import (
    ADDRESSES,
    NODE_OF_THE_LAB,
    PORT,
    CarriedNode,
    carried,
    each_family_and_protocol,
    frontend,
    rule,
    who_answers,
)
from toolbox.lab import BR_NETFILTER, Lab, Machine

from svcdns.cluster.traffic_plan import WhenEmpty

pytestmark = [
    pytest.mark.usefixtures("may_make_hosts"),
    pytest.mark.parametrize("lab", BR_NETFILTER, indirect=True),
]
families = pytest.mark.parametrize("family", [4, 6])
families_and_protocols = pytest.mark.parametrize(("family", "protocol"), each_family_and_protocol())
SILENCE = 0.3
"""Seconds without an answer that are taken for a drop."""
TRIES = 40
"""Connections in which each of two endpoints turns up: but once in 5e11 runs."""


@pytest.fixture(scope="module")
def servers(lab: Lab) -> None:
    """Serve on every container, and on both nodes, by TCP and UDP."""
    for host in (*lab.containers, lab.node, lab.second):
        for protocol in ("tcp", "udp"):
            lab.serve(host, protocol, PORT)
        lab.serve(host, "tcp", PORT + 1, who=f"{host.short}-second-port")


@pytest.fixture
def node(lab: Lab, servers: None) -> Iterator[CarriedNode]:
    """Give a node without Services."""
    with carried(lab) as made:
        yield made


def silent(host: Machine, protocol: str, address: str, port: int = 80) -> bool:
    """Whether nothing at all comes back; what the host itself sends by UDP is dropped as not permitted."""
    with pytest.raises((TimeoutError, PermissionError)):
        host.ask(protocol, address, port, SILENCE)
    return True


def refused(host: Machine, protocol: str, address: str, port: int = 80) -> bool:
    """Whether a refusal comes back; what the host itself sends by UDP is refused as not permitted."""
    with pytest.raises((ConnectionRefusedError, PermissionError)):
        host.ask(protocol, address, port)
    return True


def everybody(lab: Lab) -> tuple[Machine, ...]:
    """Return a client of each kind: the node, both bridges, the LAN."""
    return lab.node, lab.a1, lab.b1, lab.client


@families_and_protocols
def test_a_cluster_ip_leads_to_each_endpoint_from_everywhere(
    lab: Lab, node: CarriedNode, family: int, protocol: str
) -> None:
    address = ADDRESSES[family]["cluster"]
    node.has(address, protocol=protocol, endpoints=[lab.a2, lab.b2])
    for host in everybody(lab):
        assert who_answers(lambda host=host: host.ask(protocol, address, 80).who, TRIES) == {"a2", "b2"}


@families
def test_endpoints_of_one_service_may_have_different_ports(lab: Lab, node: CarriedNode, family: int) -> None:
    address = ADDRESSES[family]["cluster"]
    node.has(address, endpoints=[lab.a2, (lab.b2.addresses[family], PORT + 1)])
    assert who_answers(lambda: lab.client.ask("tcp", address, 80).who, TRIES) == {"a2", "b2-second-port"}


@families
def test_one_port_may_mean_different_services_by_protocol(lab: Lab, node: CarriedNode, family: int) -> None:
    address = ADDRESSES[family]["cluster"]
    node.has(address, protocol="tcp", endpoints=[lab.a1])
    node.has(address, protocol="udp", endpoints=[lab.b1])
    assert lab.client.ask("tcp", address, 80).who == "a1"
    assert lab.client.ask("udp", address, 80).who == "b1"


@families_and_protocols
def test_a_node_port_is_on_the_nodes_addresses_and_on_no_other(
    lab: Lab, node: CarriedNode, family: int, protocol: str
) -> None:
    node.has("", port=30080, protocol=protocol, family=family, endpoints=[lab.a2, lab.b2])
    address = lab.node.addresses[family]
    for host in everybody(lab):
        assert who_answers(lambda host=host: host.ask(protocol, address, 30080).who, TRIES) == {"a2", "b2"}
    gateway = "10.244.0.1" if family == 4 else "fd44::1"
    with lab.serve(lab.node, protocol, 30080, gateway, who="listener"):
        assert lab.a1.ask(protocol, gateway, 30080).who == "listener"


@families
def test_a_load_balancers_address_works_from_inside_too(lab: Lab, node: CarriedNode, family: int) -> None:
    address = ADDRESSES[family]["lb"]
    node.has(address, endpoints=[lab.a2])
    assert {host.ask("tcp", address, 80).who for host in everybody(lab)} == {"a2"}


@families
def test_source_ranges_let_in_only_who_is_in_them(lab: Lab, node: CarriedNode, family: int) -> None:
    address, client = ADDRESSES[family]["lb"], lab.client.addresses[family]
    node.has(address, endpoints=[lab.a1], source_ranges=[client])
    assert lab.client.ask("tcp", address, 80).who == "a1"
    assert silent(lab.b1, "tcp", address)
    nested = ["192.168.77.0/24", "192.168.77.8/30"] if family == 4 else ["fd77::/64", "fd77::8/126"]
    node.has(address, endpoints=[lab.a1], source_ranges=nested)
    assert lab.node.ask("tcp", address, 80).who == "a1"  # its own address on the LAN
    node.has(address, endpoints=[lab.a1], source_ranges=["203.0.113.0/24", "2001:db8::/32"])
    assert silent(lab.client, "tcp", address)
    node.has(address, endpoints=[lab.a1])
    assert lab.client.ask("tcp", address, 80).who == "a1"


@families_and_protocols
def test_a_policy_local_without_local_endpoints_is_silent(
    lab: Lab, node: CarriedNode, family: int, protocol: str
) -> None:
    address = ADDRESSES[family]["cluster"]
    node.has(address, protocol=protocol, endpoints=[], when_empty=WhenEmpty.DROP)
    assert silent(lab.client, protocol, address)
    assert silent(lab.a1, protocol, address)


@families
@pytest.mark.parametrize("kind", ["node port", "load balancer"])
def test_external_policy_local_parts_clients_from_outside_and_inside(
    lab: Lab, node: CarriedNode, family: int, kind: str
) -> None:
    said = "" if kind == "node port" else ADDRESSES[family]["lb"]
    address, port = said or lab.node.addresses[family], 80 if said else 30080
    node.has(said, port=port, family=family, endpoints=[lab.b1, lab.far], outside=[lab.b1])
    outside = {lab.client.ask("tcp", address, port)[:2] for _ in range(TRIES)}
    assert outside == {("b1", lab.client.addresses[family])}  # with its own address
    for host in (lab.node, lab.a1):
        assert who_answers(lambda host=host: host.ask("tcp", address, port).who, TRIES) == {"b1", "far"}
    node.has(said, port=port, family=family, endpoints=[lab.far], outside=[])
    assert silent(lab.client, "tcp", address, port)
    assert lab.a1.ask("tcp", address, port).who == "far"
    node.has(said, port=port, family=family, endpoints=[], outside=[lab.b1])
    assert lab.client.ask("tcp", address, port).who == "b1"
    assert refused(lab.a1, "tcp", address, port)


@families_and_protocols
def test_without_endpoints_every_frontend_refuses_everybody(
    lab: Lab, node: CarriedNode, family: int, protocol: str
) -> None:
    known = ADDRESSES[family]
    node.has(known["cluster"], protocol=protocol, endpoints=[])
    node.has(known["lb"], protocol=protocol, endpoints=[])
    node.has("", port=30080, protocol=protocol, family=family, endpoints=[])
    for address, port in ((known["cluster"], 80), (known["lb"], 80), (lab.node.addresses[family], 30080)):
        for host in everybody(lab):
            assert refused(host, protocol, address, port)


@families_and_protocols
def test_a_container_reaches_itself_through_its_service(
    lab: Lab, node: CarriedNode, family: int, protocol: str
) -> None:
    lab.node.ip("link set veth-a1 type bridge_slave hairpin on")  # as `proxy.host` does
    node.has(ADDRESSES[family]["cluster"], protocol=protocol, endpoints=[lab.a1])
    assert lab.a1.ask(protocol, ADDRESSES[family]["cluster"], 80).who == "a1"


@families_and_protocols
def test_a_clients_address_is_kept_where_answers_come_back(
    lab: Lab, node: CarriedNode, family: int, protocol: str
) -> None:
    address = ADDRESSES[family]["cluster"]

    def seen(host: Machine) -> str:
        return host.ask(protocol, address, 80).seen

    node.has(address, protocol=protocol, endpoints=[lab.a1])
    assert seen(lab.client) == lab.client.addresses[family]
    assert seen(lab.b1) == lab.b1.addresses[family]
    assert seen(lab.a2) == ("10.244.0.1" if family == 4 else "fd44::1")  # else a1 would answer it directly
    assert seen(lab.node) == ("10.244.0.1" if family == 4 else "fd44::1")
    node.has(address, protocol=protocol, endpoints=[lab.far])
    assert seen(lab.client) == seen(lab.a1) == lab.node.addresses[family]


@families
def test_an_endpoint_may_be_the_node_itself_or_another(lab: Lab, node: CarriedNode, family: int) -> None:
    address = ADDRESSES[family]["cluster"]
    for endpoint in (lab.node, lab.second):
        node.has(address, endpoints=[endpoint])
        assert {host.ask("tcp", address, 80).who for host in everybody(lab)} == {endpoint.short}


@families
def test_the_node_reaches_an_endpoint_on_its_loopback(lab: Lab, node: CarriedNode, family: int) -> None:
    loopback = "127.0.0.1" if family == 4 else "::1"
    with lab.serve(lab.node, "tcp", 0, loopback, who="process") as server:
        node.has(ADDRESSES[family]["cluster"], endpoints=[(loopback, server.port)])
        assert lab.node.ask("tcp", ADDRESSES[family]["cluster"], 80).who == "process"


@families_and_protocols
def test_an_unused_port_of_a_cluster_ip_is_refused_and_an_unassigned_one_is_silent(
    lab: Lab, node: CarriedNode, family: int, protocol: str
) -> None:
    node.has(ADDRESSES[family]["cluster"], protocol=protocol, endpoints=[lab.a1])
    for host in everybody(lab):
        assert refused(host, protocol, ADDRESSES[family]["cluster"], 81)
    for host in (lab.node, lab.client):
        assert silent(host, protocol, ADDRESSES[family]["free"])


@families
def test_an_address_of_our_ranges_that_the_node_has_itself_is_left_alone(
    lab: Lab, node: CarriedNode, family: int
) -> None:
    address = ADDRESSES[family]["free"]
    bits = 32 if family == 4 else 128
    lab.node.ip(f"address add {address}/{bits} dev lo")
    try:
        assert lab.client.ask("tcp", address, PORT).who == "node"
    finally:
        lab.node.ip(f"address del {address}/{bits} dev lo")


@families
def test_a_service_at_an_address_of_the_node_takes_nothing_but_its_own_port(
    lab: Lab, node: CarriedNode, family: int
) -> None:
    """With one address there is no other for a load balancer; whoever cut off ssh there would be cut off."""
    address = lab.node.addresses[family]
    with_it = replace(NODE_OF_THE_LAB, ranges=(*NODE_OF_THE_LAB.ranges, ip_network(address)))
    node.engine.apply({}, with_it)
    node.has(address, endpoints=[lab.a1])
    node.has("", port=30080, family=family, endpoints=[lab.b1], affinity=60)
    for host in (lab.client, lab.a2, lab.node):
        assert host.ask("tcp", address, 80).who == "a1"
        assert host.ask("tcp", address, 30080).who == "b1"
        assert host.ask("tcp", address, PORT).who == "node"
        assert refused(host, "tcp", address, 81)


@families
def test_a_connection_outlives_its_endpoints_place_in_the_service(
    lab: Lab, node: CarriedNode, family: int
) -> None:
    address = ADDRESSES[family]["cluster"]
    node.has(address, endpoints=[lab.a1])
    with lab.client.connect("tcp", address, 80) as connected:
        for change in (lambda: node.has(address, endpoints=[lab.b1]), lambda: node.has_no(address)):
            connected.send(b"?\n")
            assert connected.recv(100).split()[0] == b"a1"
            change()
        connected.send(b"?\n")
        assert connected.recv(100).split()[0] == b"a1"
        assert silent(lab.client, "tcp", address)


@families
def test_a_service_that_changes_its_kind_leaves_nothing_behind(
    lab: Lab, node: CarriedNode, family: int
) -> None:
    one, other = ADDRESSES[family]["cluster"], ADDRESSES[family]["other"]
    node.has(one, endpoints=[lab.a1])
    node.engine.apply({frontend(one): None, frontend(other, 81): rule(family, [lab.a1])})
    assert lab.client.ask("tcp", other, 81).who == "a1"
    assert silent(lab.client, "tcp", one)
    node.engine.apply({frontend(other, 81): None, frontend(other, 81, "udp"): rule(family, [lab.a1])})
    assert lab.client.ask("udp", other, 81).who == "a1"
    assert refused(lab.client, "tcp", other, 81)


@families
def test_the_host_may_change(lab: Lab, node: CarriedNode, family: int) -> None:
    node.has("", port=30080, family=family, endpoints=[lab.a1])
    without = replace(NODE_OF_THE_LAB, node_addresses=())
    node.engine.apply({}, without)
    assert refused(lab.client, "tcp", lab.node.addresses[family], 30080)
    node.engine.apply({}, NODE_OF_THE_LAB)
    assert lab.client.ask("tcp", lab.node.addresses[family], 30080).who == "a1"
