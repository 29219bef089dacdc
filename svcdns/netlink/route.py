"""Links, addresses and routes of this machine, as rtnetlink has them.

Rules:

* what the kernel says is taken as it stands: no names are looked up, nothing is filtered but what isn't IP;
* a dump that the kernel says was interrupted by a change is asked for again;
* a route is made only where there is none of that key (table, destination, metric): nothing is replaced.

rtnetlink(7), include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from . import wire

Network = IPv4Network | IPv6Network

LINKS, IPV4_ADDRESSES, IPV4_ROUTES, IPV6_ADDRESSES, IPV6_ROUTES = 1, 5, 7, 9, 11
"""Multicast groups (RTNLGRP_*): changes of these are told to who joins them."""

_NEW_LINK, _GET_LINK, _SET_LINK = 16, 18, 19
_NEW_ADDRESS, _GET_ADDRESS = 20, 22
_NEW_ROUTE, _DELETE_ROUTE, _GET_ROUTE = 24, 25, 26
_LINK = struct.Struct("=BxHiII")
"""Family, ARPHRD type, index, flags, mask of changes."""
_ADDRESS = struct.Struct("=BBBBI")
"""Family, prefix length, flags, scope, index of the link."""
_ROUTE = struct.Struct("=BBBBBBBBI")
"""Family, destination and source prefix length, TOS, table, protocol, scope, type, flags."""
_NEXT_HOP = struct.Struct("=HBBi")
"""Length with attributes, flags, weight, index of the link."""
_NUMBER = struct.Struct("=I")
IPV4, IPV6, _BRIDGE = 2, 10, 7
_OCTETS = {IPV4: 4, IPV6: 16}

ETHERNET, LOOPBACK = 1, 772
"""Kinds of hardware (ARPHRD_*)."""
MAIN, LOCAL_TABLE = 254, 255
SCOPE_GLOBAL, SCOPE_LINK = 0, 253
UNICAST, LOCAL, BLACKHOLE, UNREACHABLE, PROHIBIT, THROW = 1, 2, 6, 7, 8, 9
"""Types of routes (RTN_*)."""
_CLONED = 0x200
TEMPORARY, DAD_FAILED, DEPRECATED, TENTATIVE = 0x01, 0x08, 0x20, 0x40
"""Flags of addresses (IFA_F_*)."""
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    index: int
    name: str
    hardware: int
    """ETHERNET, LOOPBACK or another ARPHRD number."""
    kind: str
    """What made it: "bridge", "veth", "tun" (tap too), "wireguard" ...; "" for hardware."""
    controller: int
    """Index of the bridge or bond that it is a port of; 0: none."""
    hairpin: bool | None
    """Whether a port of a bridge sends frames back where they came from; None where it is no such port."""
    address: bytes = b""
    """Its hardware address."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address of this machine."""

    link: int
    address: bytes
    network: Network
    """The network on the link; of a point-to-point link, the other end."""
    scope: int
    flags: int


@dataclass(frozen=True, slots=True)
class Route:
    """One route."""

    destination: Network
    links: tuple[int, ...]
    """Indexes of the links that it leads out of; several with several next hops, none for "unreachable"."""
    gateway: bytes | None = None
    source: bytes | None = None
    """The address that is preferred for what leaves by it."""
    table: int = MAIN
    protocol: int = 0
    """Who made it (RTPROT_*): 2 is the kernel, 3 boot, 4 an administrator."""
    kind: int = UNICAST
    metric: int = 0


def links(kernel: wire.Socket) -> list[Link]:
    """Return all links.  Raises wire.NetlinkError, wire.Malformed."""
    found = _dump(kernel, _GET_LINK, _LINK.pack(0, 0, 0, 0, 0))
    return [link for payload in found[_NEW_LINK] if (link := read_link(payload))]


def addresses(kernel: wire.Socket) -> list[Address]:
    """Return the addresses of both families.  Raises wire.NetlinkError, wire.Malformed."""
    found = _dump(kernel, _GET_ADDRESS, _ADDRESS.pack(0, 0, 0, 0, 0))
    return [address for payload in found[_NEW_ADDRESS] if (address := read_address(payload))]


def routes(kernel: wire.Socket) -> list[Route]:
    """Return the routes of both families in all tables.  Raises wire.NetlinkError, wire.Malformed."""
    found = _dump(kernel, _GET_ROUTE, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0))
    return [route for payload in found[_NEW_ROUTE] if (route := read_route(payload))]


def add_route(kernel: wire.Socket, route: Route) -> None:
    """Make a route.  Raises wire.NetlinkError: EEXIST where there is one of its key."""
    flags = wire.ACK | wire.CREATE | wire.EXCL
    kernel.exchange([wire.Message(_NEW_ROUTE, flags, packed_route(route))])


def delete_route(kernel: wire.Socket, route: Route) -> None:
    """Take a route out.  Raises wire.NetlinkError: ESRCH where it isn't there."""
    kernel.exchange([wire.Message(_DELETE_ROUTE, wire.ACK, packed_route(route))])


def set_hairpin(kernel: wire.Socket, port: int, on: bool) -> None:
    """Let a port of a bridge send frames back where they came from, or not.  Raises wire.NetlinkError."""
    mode = wire.attribute(_BRPORT_MODE, bytes((on,)))
    payload = _LINK.pack(_BRIDGE, 0, port, 0, 0) + wire.nested(_PROTOCOL_INFO, mode)
    kernel.exchange([wire.Message(_SET_LINK, wire.ACK, payload)])


_LINK_ADDRESS, _NAME, _CONTROLLER, _PROTOCOL_INFO, _LINK_INFO = 1, 3, 10, 12, 18
_INFO_KIND, _INFO_PORT_KIND, _INFO_PORT_DATA = 1, 4, 5
_BRPORT_MODE = 4


def read_link(payload: bytes) -> Link | None:
    """Return the link of an RTM_NEWLINK; None for what a bridge says of its ports.  Raises wire.Malformed."""
    family, hardware, index, _, _ = _header(_LINK, payload)
    if family == _BRIDGE:
        return None
    found = dict(wire.attributes(payload[_LINK.size :]))
    about = dict(wire.attributes(found.get(_LINK_INFO, b"")))
    hairpin = None
    if _text(about.get(_INFO_PORT_KIND, b"")) == "bridge":
        port = dict(wire.attributes(about.get(_INFO_PORT_DATA, b"")))
        hairpin = port.get(_BRPORT_MODE, b"\0")[:1] == b"\1"
    controller = _number(found[_CONTROLLER]) if _CONTROLLER in found else 0
    name, kind = _text(found.get(_NAME, b"")), _text(about.get(_INFO_KIND, b""))
    return Link(index, name, hardware, kind, controller, hairpin, found.get(_LINK_ADDRESS, b""))


_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8


def read_address(payload: bytes) -> Address | None:
    """Return the address of an RTM_NEWADDR; None where it isn't IP.  Raises wire.Malformed."""
    family, prefix, flags, scope, link = _header(_ADDRESS, payload)
    if family not in _OCTETS:
        return None
    found = dict(wire.attributes(payload[_ADDRESS.size :]))
    peer = found.get(_IFA_ADDRESS, found.get(_IFA_LOCAL, b""))
    own = found.get(_IFA_LOCAL, peer)
    network = _network(family, peer, prefix)
    if len(own) != len(peer):
        raise wire.Malformed(f"an address of {len(own)} octets")
    return Address(link, own, network, scope, _number(found[_IFA_FLAGS]) if _IFA_FLAGS in found else flags)


_RTA_DESTINATION, _RTA_LINK, _RTA_GATEWAY, _RTA_METRIC = 1, 4, 5, 6
_RTA_SOURCE, _RTA_MULTIPATH, _RTA_TABLE = 7, 9, 15


def read_route(payload: bytes) -> Route | None:
    """Return the route of an RTM_NEWROUTE; None for a cached one, or not of IP.  Raises wire.Malformed."""
    family, prefix, _, _, table, protocol, _, kind, flags = _header(_ROUTE, payload)
    if family not in _OCTETS or flags & _CLONED:
        return None
    found = dict(wire.attributes(payload[_ROUTE.size :]))
    size = _OCTETS[family]
    destination = _network(family, found.get(_RTA_DESTINATION, bytes(size)), prefix)
    leads = (_number(found[_RTA_LINK]),) if _RTA_LINK in found else ()
    return Route(
        destination,
        leads or tuple(_next_hops(found.get(_RTA_MULTIPATH, b""))),
        _optional(found.get(_RTA_GATEWAY), size),
        _optional(found.get(_RTA_SOURCE), size),
        _number(found[_RTA_TABLE]) if _RTA_TABLE in found else table,
        protocol,
        kind,
        _number(found[_RTA_METRIC]) if _RTA_METRIC in found else 0,
    )


def packed_route(route: Route) -> bytes:
    """Return what an RTM_NEWROUTE or RTM_DELROUTE has behind its header; the first link counts."""
    family = IPV4 if route.destination.version == 4 else IPV6
    scope = SCOPE_LINK if family == IPV4 and route.gateway is None and route.kind == UNICAST else SCOPE_GLOBAL
    table = route.table if route.table < 256 else 0
    header = _ROUTE.pack(
        family, route.destination.prefixlen, 0, 0, table, route.protocol, scope, route.kind, 0
    )
    parts = [wire.attribute(_RTA_DESTINATION, route.destination.network_address.packed)]
    parts += [wire.attribute(_RTA_TABLE, _NUMBER.pack(route.table))]
    parts += [wire.attribute(_RTA_LINK, _NUMBER.pack(link)) for link in route.links[:1]]
    parts += [wire.attribute(_RTA_GATEWAY, route.gateway)] if route.gateway else []
    parts += [wire.attribute(_RTA_SOURCE, route.source)] if route.source else []
    parts += [wire.attribute(_RTA_METRIC, _NUMBER.pack(route.metric))] if route.metric else []
    return header + b"".join(parts)


def _dump(kernel: wire.Socket, kind: int, payload: bytes) -> dict[int, list[bytes]]:
    """Return what a dump said, by the type of message; the newest try where changes interrupt each."""
    for _ in range(_TRIES):
        received = kernel.exchange([wire.Message(kind, wire.DUMP, payload)])
        if not any(message.flags & wire.DUMP_INTERRUPTED for message in received):
            break
    wanted = kind - 2  # RTM_NEW* of an RTM_GET*
    return {wanted: [message.payload for message in received if message.type == wanted]}


def _next_hops(octets: bytes) -> Iterator[int]:
    at = 0
    while at < len(octets):
        length, _, _, link = _header(_NEXT_HOP, octets[at:])
        if length < _NEXT_HOP.size or at + length > len(octets):
            raise wire.Malformed(f"a next hop of {length} octets")
        yield link
        at += length + (-length % 4)


def _header(form: struct.Struct, payload: bytes) -> tuple[int, ...]:
    if len(payload) < form.size:
        raise wire.Malformed(f"{len(payload)} octets where a header has {form.size}")
    return form.unpack_from(payload)


def _number(octets: bytes) -> int:
    if len(octets) < _NUMBER.size:
        raise wire.Malformed(f"a number of {len(octets)} octets")
    return int(_NUMBER.unpack_from(octets)[0])


def _optional(address: bytes | None, size: int) -> bytes | None:
    if address is not None and len(address) != size:
        raise wire.Malformed(f"an address of {len(address)} octets")
    return address


def _text(octets: bytes) -> str:
    return octets.split(b"\0", 1)[0].decode(errors="replace")


def _network(family: int, address: bytes, prefix: int) -> Network:
    bits = _OCTETS[family] * 8
    if len(address) * 8 != bits or prefix > bits:
        raise wire.Malformed(f"an address of {len(address)} octets with a prefix of {prefix} bits")
    value = int.from_bytes(address, "big") >> (bits - prefix) << (bits - prefix)
    return IPv4Network((value, prefix)) if family == IPV4 else IPv6Network((value, prefix))
