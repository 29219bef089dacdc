"""Which endpoints of a Service may be used: the rules of Kubernetes, for one port and family of addresses.

    Cluster   those that are ready; of these, those that hints mean for this node, or else for its zone, where
              every ready one has such a hint and one is for us
    Local     those that are ready and on this node
    neither   where none is ready (on this node): those that still serve while they terminate

Rules:

* one that stands in two slices counts once, as the better of the two;
* on this node is who says so by `nodeName`; who says nothing, and has an address of this host or of a network
  behind it.

https://kubernetes.io/docs/reference/networking/virtual-ips/
https://kubernetes.io/docs/concepts/services-networking/service/#traffic-distribution
KEP-1669 (terminating endpoints), KEP-3015 (PreferSameNode)
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from operator import attrgetter
from typing import NamedTuple

from .traffic_objects import Conditions, Hints, Metadata, Name, Slice
from .traffic_plan import SCTP, TCP, UDP, Endpoint

PROTOCOLS = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}
FAMILIES = {"IPv4": 4, "IPv6": 6}
_SOCKET_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_LOOPBACK = {4: (127 << 24, 255 << 24), 6: (1, (1 << 128) - 1)}
_FOR_NODES, _FOR_ZONES = attrgetter("for_nodes"), attrgetter("for_zones")
_NO_CONDITIONS, _NO_HINTS = Conditions(), Hints()


def address_octets(text: str, family: int) -> bytes | None:
    """Return an address of a family (4 or 6) as octets; None for what is none."""
    try:
        return socket.inet_pton(_SOCKET_FAMILIES[family], text)
    except (OSError, ValueError):
        return None


class Candidate(NamedTuple):
    """An endpoint's address as its slice tells of it; the greater of two is the better one."""

    ready: bool
    draining: bool
    """It serves while it terminates."""
    node: str | None
    for_nodes: tuple[str, ...]
    for_zones: tuple[str, ...]
    address: bytes


class PackedSlice(NamedTuple):
    """A slice as it is kept: its ports apply to each of its candidates."""

    service: str
    """NAMESPACE/NAME, "" for one that belongs to none or is not for us."""
    version: str
    family: int
    ports: Mapping[tuple[str, int], tuple[int, ...]]
    """Numbers by (name, protocol): what Service ports are joined with."""
    candidates: tuple[Candidate, ...]


def packed(one: Slice) -> PackedSlice:
    """Return what is kept of a slice; nothing of one that is headless, of no Service or of host names."""
    metadata = one.metadata
    labels, family = metadata.labels, FAMILIES.get(one.address_type)
    if labels is None or not labels.service or labels.headless is not None or family is None:
        return PackedSlice("", version_of(metadata), 0, {}, ())
    ports: dict[tuple[str, int], tuple[int, ...]] = {}
    for port in one.ports or ():
        protocol = PROTOCOLS.get(port.protocol or "TCP")
        if port.port and protocol is not None:
            joined = (port.name or "", protocol)
            ports[joined] = (*ports.get(joined, ()), port.port)
    key = f"{metadata.namespace}/{labels.service}"
    return PackedSlice(key, version_of(metadata), family, ports, tuple(_candidates(one, family)))


def version_of(metadata: Metadata) -> str:
    """Return what two states of an object differ in, "" where it has none.

    A revision alone isn't enough: another server, or one whose data are new, counts from the start.
    """
    return f"{metadata.uid} {metadata.resource_version}" if metadata.resource_version else ""


def _candidates(one: Slice, family: int) -> Iterator[Candidate]:
    for endpoint in one.endpoints or ():
        conditions, hints = endpoint.conditions or _NO_CONDITIONS, endpoint.hints or _NO_HINTS
        ready = conditions.ready is not False
        serving = ready if conditions.serving is None else conditions.serving
        if not ready and not (serving and conditions.terminating):
            continue  # nobody is ever sent there
        for text in endpoint.addresses:
            if (address := address_octets(text, family)) is not None:
                nodes, zones = _names(hints.for_nodes), _names(hints.for_zones)
                yield Candidate(ready, not ready, endpoint.node_name or None, nodes, zones, address)


def _names(given: tuple[Name, ...] | None) -> tuple[str, ...]:
    return tuple(one.name for one in given or ())


@dataclass(frozen=True, slots=True)
class Place:
    """Where this proxy is: its node, the zone, and the networks whose addresses are on this node."""

    node: str = ""
    zone: str = ""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    addresses: frozenset[bytes] = frozenset()
    _masks: dict[int, tuple[tuple[int, int], ...]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        masks = {
            family: (
                _LOOPBACK[family],
                *(
                    (int(one.network_address), int(one.netmask))
                    for one in self.networks
                    if one.version == family
                ),
            )
            for family in (4, 6)
        }
        object.__setattr__(self, "_masks", masks)

    def holds(self, candidate: Candidate) -> bool:
        """Return whether an endpoint is on this node."""
        if candidate.node is not None:
            return candidate.node == self.node
        address = candidate.address
        number = int.from_bytes(address)
        return address in self.addresses or any(
            number & mask == network for network, mask in self._masks[4 if len(address) == 4 else 6]
        )


class Usable(NamedTuple):
    """The endpoints that may be used, sorted."""

    cluster: tuple[Endpoint, ...]
    local: tuple[Endpoint, ...]
    """Empty too where nobody wants it."""
    any: bool
    """Whether there is one anywhere: where it can't be reached by policy, silence is the answer."""


def usable(
    slices: Iterable[PackedSlice], name: str, protocol: int, family: int, place: Place, *, local: bool
) -> Usable:
    """Return which endpoints the port of a Service has; `local`: those on this node are wanted too."""
    best = _best(slices, name, protocol, family)
    ready = {endpoint: one for endpoint, one in best.items() if one.ready}
    if ready:
        cluster = _hinted(ready, place)
    else:
        cluster = list(best)
    if not local:
        return Usable(tuple(sorted(cluster)), (), bool(best))
    here = [endpoint for endpoint, one in ready.items() if place.holds(one)]
    if not here:
        here = [endpoint for endpoint, one in best.items() if one.draining and place.holds(one)]
    return Usable(tuple(sorted(cluster)), tuple(sorted(here)), bool(best))


def _best(slices: Iterable[PackedSlice], name: str, protocol: int, family: int) -> dict[Endpoint, Candidate]:
    best: dict[Endpoint, Candidate] = {}
    for one in slices:
        if one.family != family:
            continue
        for number in one.ports.get((name, protocol), ()):
            for candidate in one.candidates:
                endpoint = Endpoint(candidate.address, number)
                known = best.get(endpoint)
                if known is None or _rank(candidate) > _rank(known):
                    best[endpoint] = candidate
    return best


def _rank(candidate: Candidate) -> tuple[bool, str, tuple[str, ...], tuple[str, ...]]:
    """Return what makes one of two equal addresses the better one, whichever slice comes first."""
    return candidate.ready, candidate.node or "", candidate.for_nodes, candidate.for_zones


def _hinted(ready: dict[Endpoint, Candidate], place: Place) -> Sequence[Endpoint]:
    """Return those that the hints mean for this node, or its zone; all where hints don't say."""
    for wanted, hint in ((place.node, _FOR_NODES), (place.zone, _FOR_ZONES)):
        if wanted and all(map(hint, ready.values())):
            found = [endpoint for endpoint, one in ready.items() if wanted in hint(one)]
            if found:
                return found
    return list(ready)


def ready_here(slices: Iterable[PackedSlice], place: Place) -> int:
    """Return how many ready endpoints are on this node: addresses, of the family that has more of them."""
    found: dict[int, set[bytes]] = {4: set(), 6: set()}
    for one in slices:
        if one.ports:
            found[one.family].update(
                each.address for each in one.candidates if each.ready and place.holds(each)
            )
    return max(map(len, found.values()))
