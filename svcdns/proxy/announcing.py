"""Load balancer addresses on the LAN: this machine answers for those that Services have (ARP, NDP).

The kernel answers: a proxy neighbour for each address, on the links that are named, where the address is in
a network of the link.  Rules:

* one machine announces: two would both answer.  What it announces outlives the proxy, as packet rules do;
* whoever remembers another machine for an address is told at once, and again every minute;
* the kernel answers only where it forwards and has a route elsewhere (`own_routes`), so without these it is
  said that nothing is announced;
* entries bear our number, so they need no file; the switches of a link that take part are written down.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_address

from svcdns.cluster.traffic_plan import NODE, Frontend, Rule
from svcdns.netlink import neighbours, route, wire
from svcdns.netlink.neighbours import Proxy

from . import machine_settings
from .changes_made import ChangesMade, Restored
from .host_settings import HostSettings, Network
from .networks import OWN_PROTOCOL, Found, ranges_in_use

REFRESH_SECONDS = 60.0


class Announced:
    """The addresses that Services have, as frontends come and go."""

    def __init__(self, ranges: Collection[Network]) -> None:
        """`ranges` are those of load balancer addresses: no others are announced."""
        self._ranges = ranges
        self._frontends: dict[bytes, set[Frontend]] = {}

    def applied(self, changed: Mapping[Frontend, Rule | None]) -> frozenset[bytes]:
        """Take what is in effect now; return all addresses."""
        for frontend, rule in changed.items():
            if not self._is_balanced(frontend.address):
                continue
            there = self._frontends.setdefault(frontend.address, set())
            if rule is not None:
                there.add(frontend)
                continue
            there.discard(frontend)
            if not there:
                del self._frontends[frontend.address]
        return frozenset(self._frontends)

    def _is_balanced(self, address: bytes) -> bool:
        return address != NODE and any(ip_address(address) in one for one in self._ranges)


def wanted(found: Found, settings: HostSettings, announced: Collection[bytes]) -> set[Proxy]:
    """Return what is to be answered for, and where."""
    refused = ranges_in_use(found, settings)
    places = [
        (link.index, address.network)
        for link in found.links
        if link.name in settings.announce
        for address in found.addresses
        if address.link == link.index
    ]
    return {
        Proxy(link, one, OWN_PROTOCOL)
        for one in announced
        if not any(ip_address(one) in each for each in refused)
        for link, network in places
        if ip_address(one) in network
    }


def set_up(
    kernel: wire.Socket, found: Found, settings: HostSettings, announced: Collection[bytes], made: ChangesMade
) -> tuple[list[str], set[Proxy]]:
    """Answer for what is wanted and for nothing else of ours.

    Returns what could not be done, a line each; and what is answered for since now.
    """
    chosen = wanted(found, settings, announced)
    there = {one for one in neighbours.proxies(kernel) if one.protocol == OWN_PROTOCOL}
    complaints = [line for one in there - chosen for line in _taken_out(kernel, one)]
    complaints += _missing(found, settings, chosen)
    for name, version in sorted({(found.name(one.link), _version(one)) for one in chosen}):
        for form, value in machine_settings.SWITCHES[version].items():
            refused = machine_settings.switch(form.format(name), value, made)
            complaints += [refused] if refused else []
    fresh = set()
    for one in sorted(chosen - there):
        try:
            neighbours.add(kernel, one)
            fresh.add(one)
        except wire.NetlinkError as wrong:
            address = ip_address(one.address)
            complaints.append(f"{address} is not announced on {found.name(one.link)}: {wrong.strerror}")
    return complaints, fresh


def tell(found: Found, proxies: Collection[Proxy]) -> str:
    """Tell all on the links of these addresses; return in words why that could not be, "" where it could."""
    links = {link.index: link for link in found.links if link.hardware == route.ETHERNET}
    refused = ""
    for one in sorted(proxies):
        if (link := links.get(one.link)) is not None:
            try:
                neighbours.tell(link.name, link.address, one.address)
            except OSError as wrong:
                refused = f"machines on {link.name} are not told of announced addresses: {wrong.strerror}"
    return refused


def remove(kernel: wire.Socket) -> Iterator[Restored]:
    """Answer for nothing of ours any more; yield what came of each."""
    for one in neighbours.proxies(kernel):
        if one.protocol == OWN_PROTOCOL:
            refused = "".join(_taken_out(kernel, one))
            text = refused or f"{ip_address(one.address)} is announced no more"
            yield Restored(text, not refused)


def _missing(found: Found, settings: HostSettings, chosen: Collection[Proxy]) -> Iterator[str]:
    names = {link.name for link in found.links}
    for name in settings.announce:
        if name not in names:
            yield f"nothing is announced on {name}: there is no such interface"
    for version in sorted({_version(one) for one in chosen}):
        name = machine_settings.FORWARDING[version]
        if machine_settings.sysctl(name) == "0":
            yield f"IPv{version} addresses are not announced while {name.replace('/', '.')} is 0"
    if chosen and not settings.routes:
        yield "addresses are only announced with routes of ours (routes in [proxy])"


def _taken_out(kernel: wire.Socket, one: Proxy) -> Iterator[str]:
    try:
        neighbours.delete(kernel, one)
    except wire.NetlinkError as wrong:
        if wrong.errno != errno.ENOENT:
            yield f"{ip_address(one.address)} is announced still: {wrong.strerror}"


def _version(one: Proxy) -> int:
    return 4 if len(one.address) == 4 else 6
