"""The network that stands for a client where its own address is too much to say."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network

_PREFIX = {4: 24, 6: 64}


def network_of(address: str) -> str:
    """Return the network that stands for a client: the /24 of its address, of IPv6 the /64; "" for none."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    known = (isinstance(parsed, IPv6Address) and parsed.ipv4_mapped) or parsed
    return str(ip_network((known, _PREFIX[known.version]), strict=False))
