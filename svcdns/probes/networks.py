"""Where probes may go: the networks that are allowed, and never those that are no Pod's.

Whoever may register a Pod chooses an address that this server will connect to; so link-local addresses (where
clouds have their metadata), multicast and the unspecified address are out, whatever is configured.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from svcdns.config.readers import Network


def why_not(text: str, allowed: Sequence[Network]) -> str:
    """Return why an address is not probed, "" where it is."""
    address: IPv4Address | IPv6Address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return f"{text} is never probed: it is link-local, multicast or unspecified"
    if not any(address.version == network.version and address in network for network in allowed):
        return f"{text} is in none of the networks of [probes] networks"
    return ""
