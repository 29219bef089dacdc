"""Frontends, endpoints and networks as the kernel engine's table has them: keys, values, names.  Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from svcdns.cluster.traffic_plan import Endpoint, Frontend
from svcdns.netlink.nft_types import PROTOCOL
from svcdns.proxy.kernel_rules import Layout, Way

Network = IPv4Network | IPv6Network
_SLOT = struct.Struct("=I")
_PAD_3, _PAD_2 = b"\0\0\0", b"\0\0"


def unit_name(layout: Layout, way: Way, frontend: Frontend) -> str:
    """Return the name of a frontend's chain; nft allows letters, digits, `.`, `_` and `-`."""
    address = layout.family.address.show(frontend.address).replace(":", "_") + "-" if frontend.address else ""
    return f"{way.name}-{address}{PROTOCOL.show(bytes((frontend.protocol,)))}-{frontend.port}"


def place_key(address: bytes, protocol: int, port: int) -> bytes:
    """Return an address, a protocol and a port as registers hold them."""
    return address + bytes((protocol,)) + _PAD_3 + port.to_bytes(2) + _PAD_2


def frontend_key(frontend: Frontend) -> bytes:
    """Return a frontend as registers hold it; a node port is without its address."""
    return place_key(frontend.address, frontend.protocol, frontend.port)


def endpoint_value(endpoint: Endpoint) -> bytes:
    """Return an endpoint as registers hold it."""
    return endpoint.address + endpoint.port.to_bytes(2) + _PAD_2


def slot_number(slot: int) -> bytes:
    """Return a slot as `numgen` gives it: in the machine's order."""
    return _SLOT.pack(slot)


def collapsed(networks: Iterable[Network], octets: int) -> list[Network]:
    """Return the networks of one family (4 or 16 octets), none within another, sorted."""
    version = 4 if octets == 4 else 6
    mine = [network for network in networks if network.version == version]
    return sorted(collapse_addresses(mine), key=lambda network: network.network_address.packed)  # type: ignore[type-var]
