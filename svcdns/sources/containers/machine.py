"""The addresses of this process' machine or container: which networks of an engine it is on itself."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address

from svcdns.netlink import route, wire

_NETLINK_ROUTE = 0


def own_addresses() -> frozenset[str]:
    """Return them as texts, without loopback; none where the kernel does not say."""
    with suppress(OSError), wire.Socket(_NETLINK_ROUTE) as kernel:
        found = [ip_address(one.address) for one in route.addresses(kernel)]
        return frozenset(str(one) for one in found if not one.is_loopback and not one.is_link_local)
    return frozenset()
