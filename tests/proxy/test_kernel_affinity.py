"""Session affinity through the kernel engine: who stays with whom, for how long, and when no more."""

import subprocess
from collections.abc import Iterator

import pytest
from proxy.carried import (
    ADDRESSES,
    PORT,
    CarriedNode,
    carried,
    each_family_and_protocol,
    frontend,
    rule,
    who_answers,
)
from toolbox.lab import Lab, Machine
from toolbox.waiting import wait_for

pytestmark = pytest.mark.usefixtures("may_make_hosts")
families = pytest.mark.parametrize("family", [4, 6])
HOUR = 3600
TRIES = 30


@pytest.fixture(scope="module")
def servers(lab: Lab) -> None:
    """Serve on every container."""
    for host in lab.containers:
        for protocol in ("tcp", "udp"):
            lab.serve(host, protocol, PORT)
        lab.serve(host, "tcp", PORT + 1, who=host.short)


@pytest.fixture
def node(lab: Lab, servers: None) -> Iterator[CarriedNode]:
    """Give a node without Services."""
    with carried(lab) as made:
        yield made


@pytest.mark.parametrize(("family", "protocol"), each_family_and_protocol())
def test_a_client_stays_with_its_endpoint_and_others_have_theirs(
    lab: Lab, node: CarriedNode, family: int, protocol: str
) -> None:
    address, everyone = ADDRESSES[family]["cluster"], [lab.a2, lab.b1, lab.b2]
    node.has(address, protocol=protocol, endpoints=everyone, affinity=HOUR)
    for host in (lab.client, lab.a1, lab.node):
        assert len(who_answers(lambda host=host: host.ask(protocol, address, 80).who, TRIES)) == 1
    node.has(address, protocol=protocol, endpoints=everyone)  # None again
    assert len(who_answers(lambda: lab.client.ask(protocol, address, 80).who, 60)) == 3


@families
def test_affinity_holds_on_a_node_port_and_for_clients_from_outside(
    lab: Lab, node: CarriedNode, family: int
) -> None:
    node.has(
        "", port=30080, family=family, endpoints=[lab.far], outside=[lab.a1, lab.a2, lab.b1], affinity=HOUR
    )
    address = lab.node.addresses[family]
    assert len(who_answers(lambda: lab.client.ask("tcp", address, 30080).who, TRIES)) == 1
    assert lab.a2.ask("tcp", address, 30080).who == "far"


@families
@pytest.mark.parametrize("destroys", [True, False], ids=["since Linux 6.3", "before"])
def test_affinity_ends_with_its_endpoint_at_once_and_others_keep_theirs(
    lab: Lab, node: CarriedNode, family: int, destroys: bool
) -> None:
    if not destroys:
        node.engine._can_destroy = False
    address = ADDRESSES[family]["cluster"]
    by_name = {host.short: host for host in (lab.a2, lab.b1, lab.b2)}
    node.has(address, endpoints=list(by_name.values()), affinity=HOUR)
    clients = (lab.client, lab.a1, lab.node, lab.second, lab.far)
    chosen = {host.short: host.ask("tcp", address, 80).who for host in clients[:3]}
    gone = chosen["client"]
    stay = [host for name, host in by_name.items() if name != gone]
    node.has(address, endpoints=stay, affinity=HOUR)
    now = {host.short: host.ask("tcp", address, 80).who for host in clients[:3]}
    assert gone not in now.values()
    assert all(now[name] == who for name, who in chosen.items() if who != gone)
    node.has(address, endpoints=list(by_name.values()), affinity=HOUR)  # it comes back: no one is led there
    assert {host.short: host.ask("tcp", address, 80).who for host in clients[:3]} == now


@families
def test_affinity_knows_endpoints_by_port_too(lab: Lab, node: CarriedNode, family: int) -> None:
    address = ADDRESSES[family]["cluster"]
    container = lab.a2.addresses[family]
    node.has(address, endpoints=[(container, PORT), (container, PORT + 1)], affinity=HOUR)
    lab.client.ask("tcp", address, 80)
    for port in (PORT, PORT + 1):
        node.has(address, endpoints=[(container, port)], affinity=HOUR)
        assert lab.client.ask("tcp", address, 80).who == "a2"


@families
def test_affinity_runs_out_without_connections(lab: Lab, node: CarriedNode, family: int) -> None:
    address = ADDRESSES[family]["cluster"]
    node.has(address, endpoints=[lab.a2, lab.b1], affinity=1)
    lab.client.ask("tcp", address, 80)
    assert clients_of(lab, family) == 1
    wait_for(lambda: clients_of(lab, family) == 0, "the client to be forgotten")


@families
def test_affinity_outlives_the_proxy(lab: Lab, node: CarriedNode, family: int) -> None:
    address, everyone = ADDRESSES[family]["cluster"], [lab.a2, lab.b1, lab.b2]
    rules = {frontend(address): rule(family, everyone, affinity=HOUR)}
    node.replace(rules)
    chosen = lab.client.ask("tcp", address, 80).who
    for _ in range(3):
        node.restart()
        node.replace(rules)
        assert who_answers(lambda: lab.client.ask("tcp", address, 80).who, 10) == {chosen}
    stay = [host for host in everyone if host.short != chosen]
    node.restart()  # what left while no proxy ran is left behind too
    node.replace({frontend(address): rule(family, stay, affinity=HOUR)})
    assert chosen not in who_answers(lambda: lab.client.ask("tcp", address, 80).who, 10)


@families
def test_nothing_of_affinity_is_left_when_it_is_switched_off(
    lab: Lab, node: CarriedNode, family: int
) -> None:
    address = ADDRESSES[family]["cluster"]
    node.has(address, endpoints=[lab.a2], affinity=HOUR)
    node.has(address, endpoints=[lab.a2], affinity=HOUR // 2)
    assert "timeout 30m" in listed(lab.node)
    for has in (lambda: node.has(address, endpoints=[]), lambda: node.has_no(address)):
        node.has(address, endpoints=[lab.a2, lab.b1], affinity=HOUR)
        has()
        assert "clients" not in listed(lab.node)
        assert "-to-" not in listed(lab.node)


def listed(host: Machine) -> str:
    """Return the rule set as nft lists it."""
    done = subprocess.run(host.command("nft", "list", "ruleset"), capture_output=True, text=True, check=True)
    return done.stdout


def clients_of(lab: Lab, family: int) -> int:
    """Return how many clients are remembered for the cluster IP."""
    return listed(lab.node).count(" expires ")
