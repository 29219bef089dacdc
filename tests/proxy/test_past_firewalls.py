"""Traffic to Services past other people's forwarding rules: cut as `check` says, open as it says."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from proxy.machine import nft, said
from proxy.test_check import FIREWALLD, OWN, UFW, about, iptables, mend
from proxy.test_check_incoming import incoming
from toolbox.lab import LB_ADDRESSES, SERVICES, Lab

from svcdns.cluster.traffic_plan import NODE, TCP, Destination, Endpoint, Frontend, Rule
from svcdns.proxy.check import WARNING, WRONG, check
from svcdns.proxy.cleanup import cleanup
from svcdns.proxy.host import HostWatch
from svcdns.proxy.host_settings import HostSettings
from svcdns.proxy.kernel import KernelEngine

VIPS = {4: "10.96.0.7", 6: "fd96::7"}
OWN_VIP = "10.96.0.8"
BALANCED = {4: "192.168.77.200", 6: "fd77::c8"}
NODES = {4: "192.168.77.1", 6: "fd77::1"}
PORT, NODE_PORT = 80, 30080
SETTINGS = HostSettings(
    cluster_ranges=tuple(map(ip_network, SERVICES)), load_balancer_ranges=tuple(map(ip_network, LB_ADDRESSES))
)
DOCKER_28 = """*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER ! -i br-a -o br-a -j DROP
-A DOCKER ! -i br-b -o br-b -j DROP
-A DOCKER-CT -o br-a -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-CT -o br-b -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -o br-a -j DOCKER
-A DOCKER-FORWARD -o br-b -j DOCKER
-A DOCKER-FORWARD -i br-a -j ACCEPT
-A DOCKER-FORWARD -i br-b -j ACCEPT
COMMIT
"""
"""What Docker 28 makes for two networks (moby, integration/network/bridge/iptablesdoc)."""
PATIENCE = 0.4
"""How long an answer is waited for where none is to come."""


@pytest.fixture
def node(lab: Lab, may_change_rules: None, tmp_path: Path) -> Iterator[tuple[Lab, HostWatch]]:
    """Give the lab with two Services on its node, and HostWatch with nothing set up for Docker.

    Endpoints are a1, and, at OWN_VIP, the node itself.
    """
    servers = [lab.serve(host, "tcp", 8080) for host in (lab.a1, lab.node)]
    rules = {
        at: Rule("default/web", to, to)
        for family in (4, 6)
        for to in [Destination((Endpoint(ip_address(lab.a1.addresses[family]).packed, 8080),))]
        for at in (
            Frontend(family, ip_address(VIPS[family]).packed, TCP, PORT),
            Frontend(family, ip_address(BALANCED[family]).packed, TCP, PORT),
            Frontend(family, NODE, TCP, NODE_PORT),
        )
    }
    own = Destination((Endpoint(ip_address(lab.node.addresses[4]).packed, 8080),))
    rules[Frontend(4, ip_address(OWN_VIP).packed, TCP, PORT)] = Rule("default/own", own, own)
    with lab.node.entered():
        engine = KernelEngine()
        watch = HostWatch(replace(SETTINGS, docker=False), tmp_path)
        engine.replace(rules, watch.look())
    try:
        yield lab, watch
    finally:
        engine.close()
        watch.close()
        with lab.node.entered():
            assert all(one.is_done for one in cleanup([tmp_path]))
        said(lab.node, "nft", "flush", "ruleset")
        for server in servers:
            server.close()


def answered(lab: Lab) -> dict[str, bool]:
    """Ask by each path that forwarding rules may cut; return who got an answer."""
    paths = {
        f"{word}, IPv{family}": (host, address, port)
        for family in (4, 6)
        for word, host, address, port in (
            ("node port", lab.client, NODES[family], NODE_PORT),
            ("load balancer", lab.client, BALANCED[family], PORT),
            ("cluster IP from the LAN", lab.client, VIPS[family], PORT),
            ("cluster IP from the other bridge", lab.b1, VIPS[family], PORT),
        )
    }
    found = {}
    for name, (host, address, port) in paths.items():
        try:
            found[name] = host.ask("tcp", address, port, PATIENCE).who == "a1"
        except OSError:
            found[name] = False
    return found


def test_without_other_rules_every_path_is_open(node: tuple[Lab, HostWatch]) -> None:
    assert set(answered(node[0]).values()) == {True}


def test_dockers_rules_cut_every_path_and_the_jump_opens_them(node: tuple[Lab, HostWatch]) -> None:
    lab, watch = node
    iptables(lab.node, DOCKER_28)
    assert set(answered(lab).values()) == {False}
    watch.settings = SETTINGS
    with lab.node.entered():
        watch.look()
    assert watch.complaints == ()
    assert set(answered(lab).values()) == {True}


def test_the_jump_opens_no_way_around_a_service(node: tuple[Lab, HostWatch]) -> None:
    lab, watch = node
    iptables(lab.node, DOCKER_28)
    watch.settings = SETTINGS
    with lab.node.entered():
        watch.look()
    with pytest.raises(TimeoutError):
        lab.second.ask("tcp", lab.a1.addresses[4], 8080, PATIENCE)


@pytest.mark.parametrize("rules", [UFW, OWN, FIREWALLD % ""], ids=["ufw", "nftables", "firewalld"])
def test_what_other_rules_cut_is_open_once_they_are_mended(node: tuple[Lab, HostWatch], rules: str) -> None:
    lab, _ = node
    if "COMMIT" in rules:
        iptables(lab.node, rules)
    else:
        nft(lab.node, rules)
    assert True not in answered(lab).values()
    with lab.node.entered():
        found = [one for one in about(check(SETTINGS), "rules") if one.level == WRONG]
    assert found
    if "StrictForwardPorts" in found[0].remedy:
        nft(
            lab.node, "delete table inet firewalld\n" + FIREWALLD % "ct status dnat accept"
        )  # what it makes then
    else:
        mend(lab.node, found)
    assert set(answered(lab).values()) == {True}


@pytest.mark.parametrize("rules", [UFW, OWN], ids=["ufw", "nftables"])
def test_what_other_rules_keep_from_a_process_of_the_host_is_open_once_they_are_mended(
    node: tuple[Lab, HostWatch], rules: str
) -> None:
    lab, _ = node

    def reached() -> set[str]:
        found = set()
        for host in (lab.client, lab.b1):
            with suppress(OSError):
                found.add(f"{host.short} {host.ask('tcp', OWN_VIP, PORT, PATIENCE).who}")
        return found

    everybody = {"client node", "b1 node"}
    assert reached() == everybody
    if "COMMIT" in rules:
        iptables(lab.node, incoming(rules))
    else:
        nft(lab.node, incoming(rules))
    assert reached() == set()
    with lab.node.entered():
        found = [one for one in about(check(SETTINGS), "rules") if one.level == WARNING]
    mend(lab.node, found)
    assert reached() == everybody


def test_firewalld_as_it_comes_lets_every_path_open(node: tuple[Lab, HostWatch]) -> None:
    nft(node[0].node, FIREWALLD % "ct status dnat accept")
    assert set(answered(node[0]).values()) == {True}


def test_a_range_that_is_in_use_is_still_served_where_it_is_reached(
    node: tuple[Lab, HostWatch],
) -> None:
    lab, watch = node
    lab.node.ip("route add 10.96.128.0/24 via 192.168.77.2")
    try:
        with lab.node.entered():
            watch.look()
        assert watch.complaints
        assert lab.client.ask("tcp", VIPS[4], PORT).who == "a1"
        assert subprocess.run(
            lab.node.command("ip", "route", "get", "10.96.128.9"), capture_output=True
        ).stdout
    finally:
        lab.node.ip("route del 10.96.128.0/24 via 192.168.77.2")
