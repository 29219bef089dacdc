"""What follows from the links, addresses and routes of a machine: the `Host` that engines are told of.

Rules:

* local is a network whose machines have this one as their gateway: behind a bridge that has ports of
  containers and VMs only, behind a veth or a tap.  A link with a default route is never local, nor is a
  tunnel of layer 3 (a VPN: who is at its other end has other ways out).  Where there is no default route, a
  veth to more than single addresses may be the way to everybody else, and isn't local;
* a range that something else already leads to is left alone as a whole: no route, no refusing of what isn't
  assigned.  Routes of everything (`0.0.0.0/0`, and `0.0.0.0/1`, the way VPNs spell it) don't count, nor do
  wider "unreachable" and the like;
* a range of load balancer addresses may be a part of a network that this machine is in.

Pure: no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from svcdns.cluster.traffic_plan import Host
from svcdns.netlink.route import (
    BLACKHOLE,
    DAD_FAILED,
    DEPRECATED,
    ETHERNET,
    LOCAL_TABLE,
    LOOPBACK,
    MAIN,
    PROHIBIT,
    SCOPE_GLOBAL,
    TEMPORARY,
    TENTATIVE,
    THROW,
    UNICAST,
    UNREACHABLE,
    Address,
    Link,
    Network,
    Route,
)

from .host_settings import ALL, AUTO, LOCALHOST, PRIMARY, HostSettings

OWN_PROTOCOL = 96
"""Routes of ours bear this number (rtnetlink(7): who made a route), and no others do."""
_PORTS_OF_GUESTS = frozenset(("veth", "tun", "dummy"))
"""Kinds of links that containers and VMs are at the other end of."""
_LEADS_NOWHERE = (BLACKHOLE, UNREACHABLE, PROHIBIT, THROW)
_UNFIT = TEMPORARY | DAD_FAILED | DEPRECATED | TENTATIVE


@dataclass(frozen=True, slots=True)
class Found:
    """What the kernel says of this machine at one moment."""

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()

    def name(self, index: int) -> str:
        """Return the name of a link."""
        return next((link.name for link in self.links if link.index == index), f"link {index}")


def host(found: Found, settings: HostSettings) -> Host:
    """Return what engines are told of the machine."""
    refused = ranges_in_use(found, settings)
    ranges = (*settings.cluster_ranges, *settings.load_balancer_ranges)
    return Host(
        tuple(sorted(_node_port_addresses(found, settings))),
        _ordered(_local_networks(found, settings)),
        _ordered(_same_networks(found)),
        _ordered(one for one in ranges if one not in refused),
    )


def primary_addresses(found: Found, settings: HostSettings) -> tuple[bytes, ...]:
    """Return the node's address of each family: as set, else the default route's, else the first."""
    if settings.node_addresses:
        return settings.node_addresses
    return tuple(one for size in (4, 16) if (one := _primary(found, size)))


def own_routes(found: Found) -> tuple[Route, ...]:
    """Return the routes that are ours."""
    return tuple(route for route in found.routes if _is_own(route))


def wanted_routes(found: Found, settings: HostSettings) -> tuple[Route, ...]:
    """Return the routes that are to be: one for each range that nothing else leads to."""
    loopback = next((link.index for link in found.links if link.hardware == LOOPBACK), 0)
    if not settings.routes or not loopback:
        return ()
    refused = ranges_in_use(found, settings)
    ranges = (*settings.cluster_ranges, *settings.load_balancer_ranges)
    return tuple(
        Route(one, (loopback,), table=MAIN, protocol=OWN_PROTOCOL)
        for one in dict.fromkeys(ranges)
        if one not in refused and not one.is_loopback
    )


def ranges_in_use(found: Found, settings: HostSettings) -> dict[Network, str]:
    """Return the ranges that something else already leads to, each with what that is, in words."""
    in_use: dict[Network, str] = {}
    for one in settings.cluster_ranges:
        if said := _own_address_in(found, one) or (settings.routes and _route_over(found, one)):
            in_use[one] = said
    for one in settings.load_balancer_ranges:
        said = _own_address_in(found, one) or _gateway_in(found, one)
        if said or (settings.routes and (said := _route_over(found, one, inside_of_network=True))):
            in_use[one] = said
    return in_use


def local_links(found: Found) -> frozenset[int]:
    """Return the links behind which containers and VMs are, by index."""
    uplinks = {link for route in found.routes if route.destination.prefixlen == 0 for link in route.links}
    ports: dict[int, list[Link]] = {}
    for link in found.links:
        ports.setdefault(link.controller, []).append(link)
    wide = () if uplinks else _to_networks(found)
    return frozenset(
        link.index
        for link in found.links
        if link.index not in uplinks
        and (
            _is_guests_bridge(link, ports.get(link.index, ())) or (_is_guest(link) and link.index not in wide)
        )
    )


def _is_guests_bridge(link: Link, ports: Iterable[Link]) -> bool:
    return link.kind == "bridge" and all(port.kind in _PORTS_OF_GUESTS for port in ports)


def _is_guest(link: Link) -> bool:
    return link.controller == 0 and (
        link.kind == "veth" or (link.kind == "tun" and link.hardware == ETHERNET)
    )


def _to_networks(found: Found) -> set[int]:
    """Return the links with a route to more than a single address (of this link only: no matter)."""
    return {
        link
        for route in found.routes
        if route.kind == UNICAST
        and route.destination.prefixlen < route.destination.max_prefixlen
        and not route.destination.is_link_local
        for link in route.links
    }


def _local_networks(found: Found, settings: HostSettings) -> Iterator[Network]:
    local = local_links(found) if AUTO in settings.local_networks else frozenset()
    for one in settings.local_networks:
        if not isinstance(one, str):
            yield one
    for route in found.routes:
        if route.kind == UNICAST and route.links and local.issuperset(route.links):
            yield route.destination


def _same_networks(found: Found) -> Iterator[Network]:
    for address in found.addresses:
        if address.network.prefixlen < address.network.max_prefixlen:
            yield address.network


def _ordered(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Return them sorted, each once, without those that mean this link or machine only."""
    kept = {one for one in networks if not one.is_link_local and not one.is_loopback}
    return tuple(sorted(kept, key=lambda one: (one.version, one.network_address.packed, one.prefixlen)))


def _node_port_addresses(found: Found, settings: HostSettings) -> set[bytes]:
    """Return the addresses that offer node ports; loopback never: the kernel doesn't carry those abroad."""
    offered: set[bytes] = set()
    own = [one.address for one in found.addresses if _may_offer(one.address)]
    for word in settings.node_port_addresses:
        if word == PRIMARY:
            offered.update(primary_addresses(found, settings))
        elif word == ALL:
            offered.update(own)
        elif word != LOCALHOST and not isinstance(word, str):
            offered.update(one for one in own if ip_address(one) in word)
    ranges = (*settings.cluster_ranges, *settings.load_balancer_ranges)
    return {one for one in offered if not any(ip_address(one) in each for each in ranges)}


def _may_offer(address: bytes) -> bool:
    read = ip_address(address)
    return not (read.is_loopback or read.is_link_local)


def _primary(found: Found, size: int) -> bytes | None:
    local = local_links(found)
    fit = [one for one in found.addresses if len(one.address) == size and _is_fit(one)]
    defaults = [
        route
        for route in found.routes
        if route.destination.prefixlen == 0
        and route.destination.max_prefixlen == size * 8
        and route.table == MAIN
        and route.kind == UNICAST
    ]
    for route in sorted(defaults, key=lambda one: one.metric):
        if route.source is not None:
            return route.source
        for one in fit:
            if one.link in route.links:
                return one.address
    outward = [one.address for one in fit if one.link not in local]
    return next(iter(outward or [one.address for one in fit]), None)


def _is_fit(address: Address) -> bool:
    is_global = address.scope == SCOPE_GLOBAL and not ip_address(address.address).is_loopback
    return is_global and not address.flags & _UNFIT


def _is_own(route: Route) -> bool:
    return route.protocol == OWN_PROTOCOL and route.table == MAIN and route.kind == UNICAST


def _own_address_in(found: Found, one: Network) -> str:
    """Return in words which address of this machine lies in a range; "" for none."""
    if one.is_loopback:
        return ""
    for address in found.addresses:
        own = ip_address(address.address)
        if own in one:
            return f"{found.name(address.link)} has the address {own}"
    return ""


def _gateway_in(found: Found, one: Network) -> str:
    for route in found.routes:
        if route.gateway is not None and ip_address(route.gateway) in one:
            return f"{ip_address(route.gateway)} is the gateway to {route.destination}"
    return ""


def _route_over(found: Found, one: Network, inside_of_network: bool = False) -> str:
    """Return in words which route leads to a range or a part of it; "" for none."""
    if one.is_loopback:
        return ""
    for route in found.routes:
        to = route.destination
        if _is_own(route) or route.table == LOCAL_TABLE or to.prefixlen <= 1 or not _overlap(to, one):
            continue
        is_wider = to.prefixlen < one.prefixlen
        if is_wider and (route.kind in _LEADS_NOWHERE or (inside_of_network and route.gateway is None)):
            continue
        where = " and ".join(map(found.name, route.links)) or "nowhere"
        table = "" if route.table == MAIN else f" (routing table {route.table})"
        return f"there is a route for {to} to {where}{table}"
    return ""


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)
