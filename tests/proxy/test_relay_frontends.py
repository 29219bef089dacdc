"""Where frontends listen, who is let in there, and what is said of those that cannot: in a network."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from proxy.relaying import Relaying, connect, free_frontend, rule, text
from toolbox.lab import Lab, Machine, ask_again
from toolbox.running_server import SOURCE
from toolbox.waiting import wait_for

from svcdns.cluster.traffic_plan import NODE, SCTP, TCP, UDP, Destination, Endpoint, Frontend, Host, Rule
from svcdns.cluster.traffic_plan import WhenEmpty as When
from svcdns.proxy.engine import EngineError
from svcdns.proxy.relay import Relay, frontends

NODE_4, NODE_6 = socket.inet_aton("192.168.77.1"), socket.inet_pton(socket.AF_INET6, "fd77::1")
HOST = Host(
    node_addresses=(NODE_4, NODE_6),
    local_networks=tuple(map(ip_network, ("10.244.0.0/24", "10.245.0.0/24", "fd44::/64", "fd45::/64"))),
    ranges=tuple(map(ip_network, ("10.96.0.0/12", "fd96::/108", "192.168.77.192/26"))),
)
PORT = 8080
HOLDING = """
import socket, sys
made = socket.socket()
made.bind(("0.0.0.0", int(sys.argv[1])))
made.listen()
print("ready", flush=True)
sys.stdin.read()
"""


def octets(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


@pytest.fixture(scope="module")
def node(lab: Lab) -> Machine:
    """The lab's node, with routes that make the ranges its own (AnyIP), and servers in a1, b1 and far."""
    lab.node.ip(
        "route add local 10.96.0.0/12 dev lo",
        "route add local fd96::/108 dev lo",
        "route add local 192.168.77.192/26 dev lo",
    )
    for host in (lab.a1, lab.b1, lab.far):
        for protocol in ("tcp", "udp"):
            lab.serve(host, protocol, PORT)
    return lab.node


@pytest.fixture
def relay(node: Machine) -> Iterator[Relay]:
    """A relay on the node: sockets belong to the network of the thread that makes them."""
    with node.entered():
        made = Relay()
    yield made
    made.close()


def endpoint(host: Machine, family: int = 4) -> Endpoint:
    return Endpoint(octets(host.addresses[family]), PORT)


def everywhere(*hosts: Machine, family: int = 4) -> Rule:
    return rule(*(endpoint(host, family) for host in hosts))


def is_silent(host: Machine, protocol: str, address: str, port: int) -> bool:
    try:
        host.ask(protocol, address, port, seconds=0.3)
    except TimeoutError:
        return True
    return False


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("address", ["10.96.0.80", "fd96::80", "192.168.77.200"])
def test_a_range_that_is_routed_here_is_served_from_everywhere(
    lab: Lab, relay: Relay, protocol: str, address: str
) -> None:
    family = 6 if ":" in address else 4
    frontend = Frontend(family, octets(address), TCP if protocol == "tcp" else UDP, 80)
    relay.replace({frontend: everywhere(lab.a1, lab.far, family=family)}, HOST)
    assert not relay.not_bound()
    for host in (lab.node, lab.a1, lab.a2, lab.b1, lab.client):
        assert {host.ask(protocol, address, 80).who for _ in range(20)} == {"a1", "far"}, host.short


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_node_port_is_on_the_nodes_addresses_and_on_loopback(lab: Lab, relay: Relay, protocol: str) -> None:
    number = TCP if protocol == "tcp" else UDP
    relay.replace(
        {Frontend(family, NODE, number, 30080): everywhere(lab.b1, family=family) for family in (4, 6)}, HOST
    )
    for address in ("192.168.77.1", "fd77::1", "127.0.0.1", "::1"):
        assert lab.node.ask(protocol, address, 30080).who == "b1"
    for address in ("192.168.77.1", "fd77::1"):
        assert lab.client.ask(protocol, address, 30080).who == "b1"
        assert lab.a1.ask(protocol, address, 30080).who == "b1"
    with pytest.raises(ConnectionRefusedError):
        lab.a1.ask(protocol, "10.244.0.1", 30080)


def test_node_ports_follow_the_nodes_addresses(lab: Lab, relay: Relay) -> None:
    relay.replace({Frontend(4, NODE, TCP, 30080): everywhere(lab.b1)}, HOST)
    relay.apply({}, Host(node_addresses=(octets("10.244.0.1"),)))
    assert lab.a1.ask("tcp", "10.244.0.1", 30080).who == "b1"
    with pytest.raises(ConnectionRefusedError):
        lab.client.ask("tcp", "192.168.77.1", 30080)


def test_an_address_of_its_own_goes_before_a_node_port(lab: Lab, relay: Relay) -> None:
    node_port, own = Frontend(4, NODE, TCP, 30080), Frontend(4, NODE_4, TCP, 30080)
    relay.replace({node_port: everywhere(lab.a1)}, HOST)
    relay.apply({own: everywhere(lab.b1)})
    assert lab.client.ask("tcp", "192.168.77.1", 30080).who == "b1"
    assert lab.node.ask("tcp", "127.0.0.1", 30080).who == "a1"
    assert "default/web has this port" in relay.not_bound()[node_port]
    relay.apply({own: None})
    relay.apply({node_port: everywhere(lab.a1)})
    assert lab.client.ask("tcp", "192.168.77.1", 30080).who == "a1"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_local_is_other_endpoints_outside_and_silence_where_there_are_none(
    lab: Lab, relay: Relay, protocol: str
) -> None:
    number = TCP if protocol == "tcp" else UDP
    frontend = Frontend(4, octets("10.96.0.80"), number, 80)
    inside = Destination(tuple(sorted((endpoint(lab.a1), endpoint(lab.far)))))
    relay.replace({frontend: Rule("a/b", inside, Destination((endpoint(lab.a1),), When.DROP))}, HOST)
    assert {lab.client.ask(protocol, "10.96.0.80", 80).who for _ in range(20)} == {"a1"}
    assert {lab.node.ask(protocol, "10.96.0.80", 80).who for _ in range(20)} == {"a1", "far"}
    relay.apply({frontend: Rule("a/b", inside, Destination((), When.DROP))})
    assert is_silent(lab.client, protocol, "10.96.0.80", 80)
    for host in (lab.node, lab.a2):
        assert {host.ask(protocol, "10.96.0.80", 80).who for _ in range(20)} == {"a1", "far"}


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_source_ranges_leave_others_in_silence(lab: Lab, relay: Relay, protocol: str) -> None:
    number = TCP if protocol == "tcp" else UDP
    to = Destination((endpoint(lab.b1),))
    frontend = Frontend(4, octets("192.168.77.200"), number, 80)
    relay.replace({frontend: Rule("a/b", to, to, 0, (ip_network("192.168.77.9/32"),))}, HOST)
    assert lab.client.ask(protocol, "192.168.77.200", 80).who == "b1"
    for host in (lab.a1, lab.node):
        assert is_silent(host, protocol, "192.168.77.200", 80)
    relay.apply({frontend: Rule("a/b", to, to, 0, (ip_network("192.168.77.1/32"),))})
    assert is_silent(lab.client, protocol, "192.168.77.200", 80)
    assert lab.node.ask(protocol, "192.168.77.200", 80).who == "b1"


def test_a_reset_and_an_end_reach_the_endpoint_of_another_host(lab: Lab, relay: Relay) -> None:
    relay.replace({Frontend(4, octets("10.96.0.81"), TCP, 80): everywhere(lab.far)}, HOST)
    with lab.client.connect("tcp", "10.96.0.81", 80) as client:
        assert ask_again(client).seen == "192.168.77.1"  # the relay's: clients' own are lost
    wait_for(lambda: relay.held()["connections"] == 0, "the connection to end")


# What cannot be bound


def test_an_address_that_is_not_ours_is_said_with_what_helps() -> None:
    with Relaying() as relaying:
        far = Frontend(4, octets("10.96.0.80"), TCP, 8080)
        relaying.relay.replace(
            {far: rule(*relaying.endpoints("a"))}, Host(ranges=(ip_network("10.96.0.0/12"),))
        )
        said = relaying.relay.not_bound()[far]
        assert "tcp port 8080 of 10.96.0.80" in said
        assert "ip route add local 10.96.0.0/12 dev lo" in said
        near = relaying.serve(rule(*relaying.endpoints("b")))
        with connect(near) as client:
            assert ask_again(client).who == "b"


def test_a_program_on_all_addresses_is_named_and_its_end_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontends, "RETRY_SECONDS", 0.05)
    frontend = free_frontend()
    command = [sys.executable, "-c", HOLDING, str(frontend.port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
        assert holding.stdout is not None and holding.stdin is not None
        holding.stdout.readline()
        with Relaying() as relaying:
            relaying.apply({frontend: rule(*relaying.endpoints("a"))})
            said = relaying.relay.not_bound()[frontend]
            assert f"(process {holding.pid})" in said and text(frontend.address) in said
            assert relaying.relay.held()["not_bound"] == 1
            holding.stdin.close()
            holding.wait()
            wait_for(lambda: not relaying.relay.not_bound(), "the port to be taken")
            with connect(frontend) as client:
                assert ask_again(client).who == "a"


def test_more_listeners_than_open_files_allow_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with Relaying(open_files=100) as relaying:
        rules = {free_frontend(): rule(*relaying.endpoints("a")) for _ in range(1)}
        some = next(iter(rules.values()))
        rules |= {free_frontend(): some for _ in range(60)}
        relaying.relay.replace(rules, Host())
        held = relaying.relay.held()
        assert held["listeners"] + held["not_bound"] == 61 and 0 < held["listeners"] < 50
        assert all("LimitNOFILE" in said for said in relaying.relay.not_bound().values())
        lines = [line for line in caplog.messages if "without a listener" in line]
        assert len(lines) == 1 and "36 of 61" in lines[0]


def test_ports_that_take_a_right_are_said_with_what_helps() -> None:
    code = (
        "import os, sys; from svcdns.proxy.relay import Relay;"
        "from svcdns.cluster.traffic_plan import *;"
        "os.geteuid() or (os.setgroups([]), os.setgid(65534), os.setuid(65534));"
        "relay = Relay(); to = Destination((Endpoint(bytes((127, 0, 0, 1)), 9),));"
        "relay.replace({Frontend(4, bytes((127, 96, 0, 80)), TCP, 80): Rule('a/b', to, to)}, Host());"
        "print(*relay.not_bound().values()); relay.close()"
    )
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        pytest.skip("port 80 takes no right on this machine")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ)
    assert "tcp port 80 of 127.96.0.80" in done.stdout, done.stderr
    assert "net.ipv4.ip_unprivileged_port_start=80" in done.stdout


def test_sctp_is_left_alone() -> None:
    with Relaying() as relaying:
        relaying.apply({Frontend(4, b"\x7f\x60\0\1", SCTP, 8080): rule(*relaying.endpoints("a"))})
        assert relaying.relay.held()["listeners"] == 0 and not relaying.relay.not_bound()


def test_a_change_costs_the_same_with_ten_thousand_frontends() -> None:
    def cost(relaying: Relaying) -> float:
        one, two = relaying.endpoints("ab")
        frontend = relaying.serve(rule(one))
        before = time.process_time()
        for _ in range(100):
            relaying.apply({frontend: rule(one, two)})
            relaying.apply({frontend: rule(one)})
        return time.process_time() - before

    with Relaying() as relaying:
        alone = cost(relaying)
        addresses = (bytes((127, 80, number // 250, number % 250)) for number in range(10_000))
        relaying.apply({Frontend(4, address, TCP, 8080): rule() for address in addresses})
        assert cost(relaying) < 5 * alone


def test_after_its_end_it_says_so() -> None:
    relay = Relay()
    relay.close()
    relay.close()
    with pytest.raises(EngineError):
        relay.held()
