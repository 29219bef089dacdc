"""Links, addresses and routes: as `ip` makes them in a namespace, and octets of every kind."""

import contextlib
import errno
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netlink.sockets import socket_on
from toolbox.hosts import Host, remove

from svcdns.netlink import route, wire

LOOPBACK = 1


@pytest.fixture
def host(may_make_hosts: None) -> Iterator[Host]:
    made = Host()
    made.ip(
        "link add br0 type bridge",
        "link add v0 type veth peer name v1",
        "link set v0 master br0",
        "link set br0 up",
        "link set v0 up",
        "link set v1 up",
        "address add 10.9.0.1/24 dev br0",
        "address add fd09::1/64 dev br0 nodad",
        "address add 10.8.0.1 peer 10.8.0.2/32 dev v1",
    )
    try:
        yield made
    finally:
        remove(made)


def shown(host: Host, *words: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-n", host.name, "-j", "-d", *words], capture_output=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
    return found


def test_links_are_as_ip_shows_them(host: Host) -> None:
    with socket_on(host, wire.ROUTE) as socket:
        found = {link.name: link for link in route.links(socket)}
    assert {one["ifname"]: one["ifindex"] for one in shown(host, "link")} == {
        name: link.index for name, link in found.items()
    }
    assert (found["lo"].hardware, found["lo"].kind) == (route.LOOPBACK, "")
    assert (found["br0"].kind, found["br0"].hairpin, found["br0"].controller) == ("bridge", None, 0)
    assert (found["v0"].kind, found["v0"].hairpin) == ("veth", False)
    assert found["v0"].controller == found["br0"].index


def test_addresses_of_both_families_and_of_point_to_point_links(host: Host) -> None:
    with socket_on(host, wire.ROUTE) as socket:
        found = {str(ip_address(one.address)): str(one.network) for one in route.addresses(socket)}
    expected = {"10.9.0.1": "10.9.0.0/24", "fd09::1": "fd09::/64", "10.8.0.1": "10.8.0.2/32"}
    assert expected.items() <= found.items()


@pytest.mark.parametrize("network", ["10.96.0.0/12", "fd96::/108", "192.0.2.1/32", "::1:0:0:0/80"])
def test_a_route_is_made_once_read_again_and_taken_out(host: Host, network: str) -> None:
    wanted = route.Route(ip_network(network), (LOOPBACK,), protocol=96)
    with socket_on(host, wire.ROUTE) as socket:
        route.add_route(socket, wanted)
        with pytest.raises(wire.NetlinkError) as refused:
            route.add_route(socket, wanted)
        assert refused.value.errno == errno.EEXIST
        (found,) = [one for one in route.routes(socket) if one.protocol == 96]
        assert (found.destination, found.links, found.kind) == (
            wanted.destination,
            (LOOPBACK,),
            route.UNICAST,
        )
        route.delete_route(socket, found)
        with pytest.raises(wire.NetlinkError) as refused:
            route.delete_route(socket, found)
        assert refused.value.errno == errno.ESRCH
    assert not [one for family in ("-4", "-6") for one in shown(host, family, "route", "show", "proto", "96")]


def test_routes_with_gateways_several_ways_and_other_tables(host: Host) -> None:
    host.ip(
        "route add 172.16.0.0/16 via 10.9.0.7 metric 50",
        "route add 172.17.0.0/16 nexthop via 10.9.0.7 nexthop via 10.8.0.2",
        "route add 172.18.0.0/16 dev br0 table 5000 src 10.9.0.1",
        "route add unreachable 172.19.0.0/16",
    )
    with socket_on(host, wire.ROUTE) as socket:
        names = {link.index: link.name for link in route.links(socket)}
        found = {str(one.destination): one for one in route.routes(socket)}
    via = found["172.16.0.0/16"]
    assert (via.gateway, via.metric, via.table) == (ip_address("10.9.0.7").packed, 50, route.MAIN)
    assert [names[one] for one in found["172.17.0.0/16"].links] == ["br0", "v1"]
    other = found["172.18.0.0/16"]
    assert (other.table, other.source) == (5000, ip_address("10.9.0.1").packed)
    assert (found["172.19.0.0/16"].kind, found["172.19.0.0/16"].links) == (route.UNREACHABLE, ())


def test_a_port_of_a_bridge_is_turned_and_turned_back(host: Host) -> None:
    with socket_on(host, wire.ROUTE) as socket:
        (port,) = [link for link in route.links(socket) if link.name == "v0"]
        for on in (True, False):
            route.set_hairpin(socket, port.index, on)
            (told,) = [one for one in shown(host, "link") if one["ifname"] == "v0"]
            assert told["linkinfo"]["info_slave_data"]["hairpin"] is on
            assert [link.hairpin for link in route.links(socket) if link.name == "v0"] == [on]


def test_changes_are_told_to_a_socket_that_joined_their_groups(host: Host) -> None:
    with host.entered():
        listening = wire.Socket(wire.ROUTE, (route.IPV4_ROUTES, route.IPV6_ROUTES))
    with listening:
        host.ip("route add 10.1.0.0/16 dev br0", "route add fd01::/64 dev br0")
        told: list[str] = []
        while len(told) < 2:
            found = [route.read_route(message.payload) for message in listening.receive()]
            told += [str(one.destination) for one in found if one]
    assert told == ["10.1.0.0/16", "fd01::/64"]


networks = st.one_of(
    st.builds(
        lambda value, bits: ip_network((value, bits), strict=False),
        st.binary(min_size=4, max_size=4),
        st.integers(0, 32),
    ),
    st.builds(
        lambda value, bits: ip_network((value, bits), strict=False),
        st.binary(min_size=16, max_size=16),
        st.integers(0, 128),
    ),
)


@given(networks, st.integers(1, 2**31 - 1), st.data(), st.integers(1, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_any_route_reads_as_it_was_written(
    destination: route.Network, link: int, data: st.DataObject, table: int, metric: int
) -> None:
    size = destination.max_prefixlen // 8
    some_address = st.none() | st.binary(min_size=size, max_size=size)
    wanted = route.Route(
        destination,
        (link,),
        data.draw(some_address),
        data.draw(some_address),
        table,
        96,
        route.UNICAST,
        metric,
    )
    assert route.read_route(route.packed_route(wanted)) == wanted


def test_a_cached_route_is_none_of_the_machines_own() -> None:
    octets = bytearray(route.packed_route(route.Route(ip_network("10.96.0.0/12"), (1,))))
    octets[8:12] = (0x200).to_bytes(4, sys.byteorder)
    assert route.read_route(bytes(octets)) is None


READERS: list[Callable[[bytes], object]] = [route.read_link, route.read_address, route.read_route]


@pytest.mark.parametrize("read", READERS)
@given(st.binary(max_size=200))
def test_octets_of_any_kind_are_read_or_malformed(read: Callable[[bytes], object], octets: bytes) -> None:
    with contextlib.suppress(wire.Malformed):
        read(octets)


@pytest.mark.parametrize("read", READERS)
@given(
    st.sampled_from([2, 7, 10]),
    st.binary(min_size=15, max_size=15),
    st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=40)), max_size=8),
)
def test_attributes_of_any_kind_are_read_or_malformed(
    read: Callable[[bytes], object], family: int, header: bytes, attributes: list[tuple[int, bytes]]
) -> None:
    size = {route.read_link: 16, route.read_address: 8, route.read_route: 12}[read]
    body = b"".join(wire.attribute(kind, value) for kind, value in attributes)
    with contextlib.suppress(wire.Malformed):
        read((bytes((family,)) + header)[:size] + body)
