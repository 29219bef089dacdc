"""Which endpoint a client gets, given who it is."""

from collections import Counter
from ipaddress import ip_network

import pytest

from svcdns.cluster.traffic_plan import Destination, Endpoint, Host, Rule, WhenEmpty
from svcdns.proxy.relay import picking
from svcdns.proxy.relay.picking import Picker, Side, Target

HERE, THERE = Endpoint(b"\x0a\1\0\5", 8080), Endpoint(b"\x0a\2\0\5", 8080)
HOST = Host(
    node_addresses=(b"\xc0\xa8\x4d\1",),
    local_networks=(ip_network("10.1.0.0/24"),),
    ranges=(ip_network("10.96.0.0/12"),),
)
OWN = "10.96.0.80"


def local(*, ranges: tuple[str, ...] | None = None, seconds: int = 0) -> Rule:
    """A Service of externalTrafficPolicy Local: outside only what is here."""
    networks = None if ranges is None else tuple(ip_network(one) for one in ranges)
    inside, outside = Destination((HERE, THERE)), Destination((HERE,), WhenEmpty.DROP)
    return Rule("default/web", inside, outside, seconds, networks)


def names(side: Side | None) -> set[str] | None:
    return None if side is None else {target.address[0] for target in side.targets}


BOTH, ONE = {"10.1.0.5", "10.2.0.5"}, {"10.1.0.5"}


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (OWN, BOTH),  # a process of this host: from the address that it dials
        ("127.0.0.1", BOTH),
        ("192.168.77.1", BOTH),  # the node's own address
        ("10.1.0.77", BOTH),  # a container behind this host
        ("192.168.77.9", ONE),
        ("8.8.8.8", ONE),
    ],
)
def test_inside_is_who_is_on_this_node(client: str, expected: set[str]) -> None:
    assert names(Picker(local(), HOST).side(client, OWN)) == expected


@pytest.mark.parametrize(
    ("ranges", "let_in", "kept_out"),
    [
        (("192.168.77.9/32",), ["192.168.77.9"], ["192.168.77.8", OWN, "10.1.0.77", "127.0.0.1"]),
        (("192.168.77.0/24",), ["192.168.77.9", OWN, "127.0.0.1"], ["10.1.0.77", "8.8.8.8"]),
        (("0.0.0.0/0",), ["8.8.8.8", OWN, "10.1.0.77"], []),
        ((), [], ["8.8.8.8", OWN]),
        (("fd00::/8",), [], ["192.168.77.9"]),
    ],
)
def test_source_ranges_let_in(ranges: tuple[str, ...], let_in: list[str], kept_out: list[str]) -> None:
    picker = Picker(local(ranges=ranges), HOST)
    assert all(picker.side(client, OWN) for client in let_in)
    assert not any(picker.side(client, OWN) for client in kept_out)


def test_chance_is_even() -> None:
    endpoints = tuple(Endpoint(bytes((10, 1, 0, number)), 80) for number in range(1, 5))
    picker = Picker(Rule("a/b", Destination(endpoints), Destination(endpoints)), HOST)
    side = picker.sides[0]
    seen = Counter(picker.first(side, "10.0.0.1", 0.0) for _ in range(4000))
    assert len(seen) == 4 and min(seen.values()) > 800  # 1,000 expected; 800 are 7 standard deviations away


def test_a_client_is_remembered_from_its_last_connection_on() -> None:
    picker = Picker(local(seconds=10), HOST)
    side = picker.sides[0]
    first = side.targets[1]
    picker.taken("1.2.3.4", first, now=100.0)
    picker.taken("1.2.3.4", first, now=105.0)
    assert {picker.first(side, "1.2.3.4", now=114.9) for _ in range(50)} == {first}
    assert len({picker.first(side, "1.2.3.4", now=115.0) for _ in range(50)}) == 2
    assert len({picker.first(side, "4.3.2.1", now=106.0) for _ in range(50)}) == 2


def test_remembered_clients_are_bounded_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picking, "CLIENTS", 3)
    picker = Picker(local(seconds=1000), HOST)
    side = picker.sides[0]
    for number in range(5):
        picker.taken(f"1.1.1.{number}", side.targets[0], now=float(number))
    kept = [
        {picker.first(side, f"1.1.1.{number}", 5.0) for _ in range(60)} == {side.targets[0]}
        for number in range(5)
    ]
    assert kept == [False, False, True, True, True]


def test_affinity_ends_with_the_setting() -> None:
    picker = Picker(local(seconds=1000), HOST)
    side = picker.sides[0]
    picker.taken("1.1.1.1", side.targets[0], now=0.0)
    picker.change(local(), HOST)
    picker.change(local(seconds=1000), HOST)
    assert len({picker.first(side, "1.1.1.1", 1.0) for _ in range(50)}) == 2


def test_another_is_one_that_was_not_tried() -> None:
    picker = Picker(local(), HOST)
    side = picker.sides[0]
    one, other = side.targets
    assert picker.other(side, [one]) == other
    assert picker.other(side, [one, other]) is None
    assert isinstance(one, Target)
