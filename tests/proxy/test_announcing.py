"""Load balancer addresses on the LAN: neighbours find them, are told, and lose what no Service has."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from proxy.machine import said
from toolbox.lab import LB_ADDRESSES, SERVICES, Lab
from toolbox.waiting import run, until, wait_for

from svcdns.cluster.traffic_plan import NODE, TCP, Destination, Endpoint, Frontend, Rule
from svcdns.proxy.announcing import Announced
from svcdns.proxy.cleanup import cleanup
from svcdns.proxy.host import HostWatch
from svcdns.proxy.host_settings import HostSettings
from svcdns.proxy.kernel import KernelEngine

BALANCED = {4: "192.168.77.200", 6: "fd77::c8"}
PORT = 80
RANGES = tuple(map(ip_network, LB_ADDRESSES))
SETTINGS = HostSettings(
    cluster_ranges=tuple(map(ip_network, SERVICES)), load_balancer_ranges=RANGES, announce=("eth0",)
)
ADDRESSES = frozenset(ip_address(one).packed for one in BALANCED.values())


def frontend(address: str, port: int = PORT) -> Frontend:
    return Frontend(6 if ":" in address else 4, ip_address(address).packed, TCP, port)


def rule(lab: Lab, family: int) -> Rule:
    to = Destination((Endpoint(ip_address(lab.a1.addresses[family]).packed, 8080),))
    return Rule("default/web", to, to)


@pytest.fixture
def node(lab: Lab, may_change_rules: None, tmp_path: Path) -> Iterator[tuple[Lab, HostWatch]]:
    """Give the lab with a balanced Service on its node, and a watch that has not announced it yet."""
    server = lab.serve(lab.a1, "tcp", 8080)
    with lab.node.entered():
        engine = KernelEngine()
        watch = HostWatch(SETTINGS, tmp_path)
        engine.replace({frontend(BALANCED[one]): rule(lab, one) for one in (4, 6)}, watch.look())
    try:
        yield lab, watch
    finally:
        engine.close()
        watch.close()
        server.close()
        with lab.node.entered():
            assert all(one.is_done for one in cleanup([tmp_path]))
        assert answered_for(lab) == ""
        lab.second.ip("neigh flush dev eth0")


def answered_for(lab: Lab) -> str:
    return "".join(said(lab.node, "ip", family, "neigh", "show", "proxy") for family in ("-4", "-6"))


def announce(lab: Lab, watch: HostWatch, addresses: frozenset[bytes] = ADDRESSES) -> None:
    with lab.node.entered():
        watch.announce(addresses)
        watch.look()


@pytest.mark.parametrize("family", [4, 6])
def test_a_neighbour_finds_an_address_that_a_service_has(node: tuple[Lab, HostWatch], family: int) -> None:
    lab, watch = node
    with pytest.raises(OSError):
        lab.second.ask("tcp", BALANCED[family], PORT, 0.3)
    announce(lab, watch)
    assert watch.complaints == ()
    answer = lab.second.ask("tcp", BALANCED[family], PORT)
    assert answer.who == "a1"
    assert answer.seen == lab.second.addresses[family]


def test_other_ports_of_the_address_are_refused(node: tuple[Lab, HostWatch]) -> None:
    lab, watch = node
    announce(lab, watch)
    with pytest.raises(ConnectionRefusedError):
        lab.second.ask("tcp", BALANCED[4], 22)


@pytest.mark.parametrize("family", [4, 6])
def test_who_remembers_another_machine_for_it_is_told(node: tuple[Lab, HostWatch], family: int) -> None:
    lab, watch = node
    address = BALANCED[family]
    lab.second.ip(f"neigh replace {address} lladdr 02:00:00:00:99:99 nud stale dev eth0")
    announce(lab, watch)
    own = said(lab.node, "cat", "/sys/class/net/eth0/address").strip()
    wait_for(lambda: own in said(lab.second, "ip", "neigh", "show", address), "the neighbour to be told")


def test_an_address_that_no_service_has_is_answered_for_no_more(node: tuple[Lab, HostWatch]) -> None:
    lab, watch = node
    announce(lab, watch)
    assert BALANCED[4] in answered_for(lab)
    announce(lab, watch, ADDRESSES - {ip_address(BALANCED[4]).packed})
    assert BALANCED[4] not in answered_for(lab) and BALANCED[6] in answered_for(lab)


def test_a_proxy_that_starts_again_keeps_what_was_announced_until_it_knows(
    node: tuple[Lab, HostWatch], tmp_path: Path
) -> None:
    lab, watch = node
    announce(lab, watch)
    before = answered_for(lab)
    with lab.node.entered(), HostWatch(SETTINGS, tmp_path) as other:
        other.look()
        assert answered_for(lab) == before
        other.settings = replace(SETTINGS, announce=())  # not wanted any more
        other.look()
    assert answered_for(lab) == ""


def test_entries_of_others_stay(node: tuple[Lab, HostWatch], tmp_path: Path) -> None:
    lab, watch = node
    lab.node.ip("neigh add proxy 192.168.77.77 dev eth0")
    try:
        announce(lab, watch)
        announce(lab, watch, frozenset())
        with lab.node.entered():
            cleanup([tmp_path])
        assert "192.168.77.77" in answered_for(lab)
    finally:
        lab.node.ip("neigh del proxy 192.168.77.77 dev eth0")


@pytest.mark.parametrize("name", ["br-a", "nothing0"])
def test_only_where_it_is_wanted_and_in_a_network_of_the_interface(
    node: tuple[Lab, HostWatch], name: str
) -> None:
    lab, watch = node
    watch.settings = replace(SETTINGS, announce=(name,))
    announce(lab, watch)
    assert answered_for(lab) == ""
    missing = ("nothing is announced on nothing0: there is no such interface",)
    assert watch.complaints == (missing if name == "nothing0" else ())


def test_without_forwarding_it_says_that_nothing_is_announced(node: tuple[Lab, HostWatch]) -> None:
    lab, watch = node
    switch = Path("/proc/sys/net/ipv4/ip_forward")
    with lab.node.entered():
        switch.write_text("0")
    try:
        announce(lab, watch)
        assert "IPv4 addresses are not announced while net.ipv4.ip_forward is 0" in watch.complaints
    finally:
        with lab.node.entered():
            switch.write_text("1")


def test_it_is_announced_while_the_watch_runs(node: tuple[Lab, HostWatch]) -> None:
    lab, watch = node

    async def running() -> None:
        task = asyncio.create_task(watch.run(lambda: None))
        watch.announce(ADDRESSES)
        await until(lambda: BALANCED[4] in answered_for(lab), "the address")
        task.cancel()

    with lab.node.entered():
        run(running())


def test_an_address_is_announced_while_one_of_its_frontends_is_there() -> None:
    announced = Announced(RANGES)
    one, other = frontend(BALANCED[4]), frontend(BALANCED[4], 443)
    to = Rule("default/web", Destination(()), Destination(()))
    outside = {frontend("10.96.0.7"): to, Frontend(4, NODE, TCP, 30080): to}
    assert announced.applied({one: to, other: to, **outside}) == {one.address}
    assert announced.applied({one: None}) == {one.address}
    assert announced.applied({other: None, frontend(BALANCED[6]): None}) == frozenset()
    assert announced.applied({other: None}) == frozenset()
