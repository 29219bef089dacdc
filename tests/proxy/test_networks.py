"""What a machine is to the proxy, as it follows from its links, addresses and routes."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcdns.netlink import route
from svcdns.netlink.route import Address, Link, Route
from svcdns.proxy.host_settings import HostSettings
from svcdns.proxy.networks import OWN_PROTOCOL, Found, host, own_routes, ranges_in_use, wanted_routes

LO = Link(1, "lo", route.LOOPBACK, "", 0, None)
ETH = Link(2, "eth0", route.ETHERNET, "", 0, None)
BRIDGE = Link(3, "docker0", route.ETHERNET, "bridge", 0, None)
PORT = Link(4, "veth7", route.ETHERNET, "veth", 3, False)
RANGE = ip_network("10.96.0.0/12")
SETTINGS = HostSettings(cluster_ranges=(RANGE,))


def link(name: str, kind: str, controller: int = 0, hardware: int = route.ETHERNET) -> Link:
    return Link(9, name, hardware, kind, controller, None)


def address(link: Link, text: str, flags: int = 0, scope: int = route.SCOPE_GLOBAL) -> Address:
    read = ip_interface(text)
    return Address(link.index, read.ip.packed, read.network, scope, flags)


def way(link: Link, text: str, via: str = "", table: int = route.MAIN, metric: int = 0) -> Route:
    gateway = ip_address(via).packed if via else None
    return Route(ip_network(text), (link.index,), gateway, None, table, 2, route.UNICAST, metric)


def machine(*more: Link | Address | Route) -> Found:
    """A host with a LAN and a bridge of containers, and more."""
    addresses = [address(ETH, "192.168.7.5/24"), address(BRIDGE, "172.17.0.1/16"), address(LO, "127.0.0.1/8")]
    routes = [
        way(ETH, "0.0.0.0/0", "192.168.7.1"),
        way(ETH, "192.168.7.0/24"),
        way(BRIDGE, "172.17.0.0/16"),
    ]
    links = [LO, ETH, BRIDGE, PORT]
    for one in more:
        if isinstance(one, Link):
            links.append(one)
        elif isinstance(one, Address):
            addresses.append(one)
        else:
            routes.append(one)
    return Found(tuple(links), tuple(addresses), tuple(routes))


def local(found: Found, settings: HostSettings = SETTINGS) -> list[str]:
    return [str(one) for one in host(found, settings).local_networks]


def node_ports(found: Found, *words: str) -> list[str]:
    read = tuple(word if word.isalpha() else ip_network(word) for word in words)
    settings = replace(SETTINGS, node_port_addresses=read)
    return [str(ip_address(one)) for one in host(found, settings).node_addresses]


def test_a_bridge_of_containers_is_local_and_a_lan_is_not() -> None:
    assert local(machine()) == ["172.17.0.0/16"]


def test_a_bridge_without_ports_is_local() -> None:
    found = machine()
    assert local(replace(found, links=(LO, ETH, BRIDGE))) == ["172.17.0.0/16"]


@pytest.mark.parametrize("kind", ["", "vlan", "bond", "vxlan"])
def test_a_bridge_with_a_port_that_leads_out_is_not_local(kind: str) -> None:
    assert local(machine(link("port", kind, controller=BRIDGE.index))) == []


def test_a_bridge_that_the_default_route_leaves_by_is_not_local() -> None:
    assert local(machine(way(BRIDGE, "0.0.0.0/0", "172.17.0.9", table=5))) == []


@pytest.mark.parametrize(
    ("kind", "hardware", "is_local"),
    [
        ("veth", route.ETHERNET, True),
        ("tun", route.ETHERNET, True),
        ("tun", 65534, False),
        ("wireguard", 65534, False),
        ("", route.ETHERNET, False),
    ],
)
def test_a_veth_and_a_tap_are_local_and_a_vpn_is_not(kind: str, hardware: int, is_local: bool) -> None:
    made = link("x0", kind, hardware=hardware)
    found = machine(made, address(made, "10.5.0.1/24"), way(made, "10.5.0.0/24"))
    assert ("10.5.0.0/24" in local(found)) == is_local


def test_without_a_default_route_a_veth_may_be_the_way_to_all_others() -> None:
    guest = Link(8, "cali1", route.ETHERNET, "veth", 0, None)
    up = Link(2, "eth0", route.ETHERNET, "veth", 0, None)
    routes = (way(up, "192.168.7.0/24"), way(guest, "10.1.2.3/32"), way(guest, "fe80::/64"))
    assert local(Found((LO, up, guest), (), routes)) == ["10.1.2.3/32"]


def test_networks_that_are_said_are_local_too_or_alone() -> None:
    said = ip_network("10.50.0.0/16")
    assert local(machine(), replace(SETTINGS, local_networks=("auto", said))) == [
        "10.50.0.0/16",
        "172.17.0.0/16",
    ]
    assert local(machine(), replace(SETTINGS, local_networks=(said,))) == ["10.50.0.0/16"]


def test_what_is_routed_to_a_local_bridge_is_behind_it() -> None:
    assert "10.60.0.0/16" in local(machine(way(BRIDGE, "10.60.0.0/16", "172.17.0.9")))


def test_same_networks_are_those_with_an_address_of_this_machine() -> None:
    found = machine(
        address(ETH, "fd77::5/64"), address(ETH, "fe80::1/64", scope=253), address(ETH, "10.1.1.1/32")
    )
    names = [str(one) for one in host(found, SETTINGS).same_networks]
    assert names == ["172.17.0.0/16", "192.168.7.0/24", "fd77::/64"]


def test_node_ports_are_offered_on_the_address_of_the_default_route() -> None:
    found = machine(address(ETH, "fd77::5/64"), way(ETH, "::/0", "fd77::1"))
    assert node_ports(found, "primary") == ["192.168.7.5", "fd77::5"]


def test_the_default_route_of_the_least_metric_says_which_address_is_primary() -> None:
    wifi = link("wlan0", "")
    more = (wifi, address(wifi, "10.3.0.7/24"), way(wifi, "0.0.0.0/0", "10.3.0.1", metric=600))
    assert node_ports(machine(*more), "primary") == ["192.168.7.5"]


def test_without_a_default_route_the_primary_address_is_one_that_others_see() -> None:
    found = machine()
    found = replace(found, routes=found.routes[1:], addresses=found.addresses[::-1])
    assert node_ports(found, "primary") == ["192.168.7.5"]


@pytest.mark.parametrize("flag", [route.TEMPORARY, route.DEPRECATED, route.TENTATIVE, route.DAD_FAILED])
def test_an_address_that_will_not_last_is_not_primary(flag: int) -> None:
    more = (address(ETH, "fd77::99/64", flag), address(ETH, "fd77::5/64"), way(ETH, "::/0", "fd77::1"))
    assert node_ports(machine(*more), "primary") == ["192.168.7.5", "fd77::5"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("all",), ["172.17.0.1", "192.168.7.5"]),
        (("172.16.0.0/12",), ["172.17.0.1"]),
        (("primary", "172.16.0.0/12"), ["172.17.0.1", "192.168.7.5"]),
        (("localhost",), []),
        (("127.0.0.0/8",), []),
        ((), []),
    ],
)
def test_words_for_the_addresses_of_node_ports(words: tuple[str, ...], offered: list[str]) -> None:
    assert node_ports(machine(), *words) == offered


def test_a_service_address_on_a_link_offers_no_node_ports() -> None:
    settings = replace(
        SETTINGS, node_port_addresses=("all",), load_balancer_ranges=(ip_network("192.168.7.240/28"),)
    )
    offered = host(machine(address(ETH, "192.168.7.241/32")), settings).node_addresses
    assert ip_address("192.168.7.241").packed not in offered


def test_addresses_that_are_set_are_primary() -> None:
    settings = replace(SETTINGS, node_addresses=(bytes((172, 17, 0, 1)),))
    assert host(machine(), settings).node_addresses == (bytes((172, 17, 0, 1)),)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (way(ETH, "10.0.0.0/8", "192.168.7.9"), "10.0.0.0/8 to eth0"),
        (way(BRIDGE, "10.100.0.0/24"), "10.100.0.0/24 to docker0"),
        (way(ETH, "10.96.0.0/12", table=52), "to eth0 (routing table 52)"),
        (address(ETH, "10.96.1.1/32"), "eth0 has the address 10.96.1.1"),
    ],
)
def test_a_range_that_something_leads_to_is_left_alone_and_that_named(
    more: Route | Address, named: str
) -> None:
    found = machine(more)
    assert named in ranges_in_use(found, SETTINGS)[RANGE]
    assert wanted_routes(found, SETTINGS) == ()
    assert host(found, SETTINGS).ranges == ()


@pytest.mark.parametrize(
    "more",
    [
        way(ETH, "0.0.0.0/1"),  # the way VPNs spell "everything"
        way(ETH, "10.112.0.0/12"),
        way(ETH, "fd00::/8"),
        Route(ip_network("10.0.0.0/8"), (), kind=route.UNREACHABLE),
        Route(RANGE, (1,), protocol=OWN_PROTOCOL),
    ],
)
def test_what_does_not_lead_to_a_range_is_no_reason(more: Route) -> None:
    found = machine(more)
    assert ranges_in_use(found, SETTINGS) == {}
    assert wanted_routes(found, SETTINGS) == (Route(RANGE, (1,), protocol=OWN_PROTOCOL),)
    assert host(found, SETTINGS).ranges == (RANGE,)


def test_load_balancer_addresses_may_be_a_part_of_the_lan_but_not_of_what_is_in_use() -> None:
    def in_use(text: str) -> str:
        one = ip_network(text)
        settings = HostSettings(load_balancer_ranges=(one,))
        return ranges_in_use(machine(), settings).get(one, "")

    assert in_use("192.168.7.240/28") == ""
    assert "eth0 has the address 192.168.7.5" in in_use("192.168.7.0/28")
    assert "192.168.7.1 is the gateway" in in_use("192.168.7.0/30")
    assert "has the address" in in_use("192.168.7.0/24")


def test_where_routes_are_somebody_elses_task_theirs_are_no_reason() -> None:
    settings = replace(SETTINGS, routes=False)
    found = machine(way(ETH, "10.96.0.0/12", "192.168.7.9"))
    assert wanted_routes(found, settings) == ()
    assert host(found, settings).ranges == (RANGE,)


def test_only_routes_of_our_number_are_ours() -> None:
    ours = Route(RANGE, (1,), protocol=OWN_PROTOCOL)
    assert own_routes(machine(ours, Route(ip_network("10.112.0.0/12"), (1,)))) == (ours,)


some_networks = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
    lambda one: ip_network(one, strict=False)
)


@given(st.lists(some_networks, max_size=5), st.lists(some_networks, min_size=1, max_size=4))
def test_a_wanted_route_never_takes_from_another(
    routes: list[route.Network], ranges: list[route.Network]
) -> None:
    found = machine(*(way(ETH, str(one), "192.168.7.9") for one in routes))
    settings = HostSettings(cluster_ranges=tuple(ranges[:2]), load_balancer_ranges=tuple(ranges[2:]))
    for made in wanted_routes(found, settings):
        for other in found.routes:
            assert other.destination.prefixlen <= 1 or not (
                other.destination.overlaps(made.destination)
                and (other.gateway is not None or other.destination.subnet_of(made.destination))  # type: ignore[arg-type]
            )
