"""Mirroring: which EndpointSlices follow from Endpoints that a client has written.

By the rules of Kubernetes' endpointslicemirroring controller: subsets are put in order first (an address
that stands in several gets all its ports, and is ready only if it is ready in each), then each family and set
of ports is one slice of at most 1,000 endpoints, ready ones first.
https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#endpointslice-mirroring
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from svcdns.objects.endpoints_rules import LISTS

from .endpoints import MANAGED_BY_LABEL, MIRRORED_BY, SERVICE_NAME_LABEL

SKIP_LABEL = "endpointslice.kubernetes.io/skip-mirror"
MOST_ADDRESSES = 1000
"""Addresses that are mirrored of one set of ports, of both families."""
_MOST_SETS = 1000
"""Sets of ports that are mirrored."""

_LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
_NOT_COPIED = frozenset(
    {"endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"}
)

Object = dict[str, Any]
_Address = tuple[str, str]
"""An address in canonical form, and the uid of its target ("" if it has none)."""
_encode = msgspec.json.Encoder(order="sorted").encode


class Mirrored(NamedTuple):
    """What follows from Endpoints."""

    slices: list[Object]
    """addressType, ports and endpoints of each."""
    skipped: int
    """Addresses that are left out because there are too many."""


def is_to_mirror(endpoints: Mapping[str, Any]) -> bool:
    """Return whether Endpoints want to be mirrored: not skipped, and no lock of a leader election."""
    metadata = endpoints["metadata"]
    skips = (metadata.get("labels") or {}).get(SKIP_LABEL) == "true"
    return not skips and _LEADER_ANNOTATION not in (metadata.get("annotations") or {})


def mirrored(endpoints: Mapping[str, Any]) -> Mirrored:
    """Return the slices that Endpoints are mirrored into."""
    slices: list[Object] = []
    skipped = 0
    for number, (ports, states) in enumerate(_repacked(endpoints.get("subsets") or [])):
        kept = list(islice(_in_order(states), MOST_ADDRESSES if number < _MOST_SETS else 0))
        skipped += len(states) - len(kept)
        for family in ("IPv4", "IPv6"):
            found = [endpoint for endpoint in kept if _family(endpoint) == family]
            if found:
                slices += [
                    {"addressType": family, "ports": each, "endpoints": found}
                    for each in _without_twins(ports)
                ]
    return Mirrored(slices, skipped)


def metadata_of(endpoints: Mapping[str, Any]) -> Object:
    """Return the labels, annotations and owner of the slices that Endpoints are mirrored into."""
    given = endpoints["metadata"]
    labels = {
        **(given.get("labels") or {}),
        SERVICE_NAME_LABEL: given["name"],
        MANAGED_BY_LABEL: MIRRORED_BY,
    }
    annotations = {k: v for k, v in (given.get("annotations") or {}).items() if k not in _NOT_COPIED}
    return {"labels": labels, **({"annotations": annotations} if annotations else {})}


class _States(dict[_Address, tuple[Object, bool]]):
    """The addresses that a set of ports has, and whether they are ready."""

    def key(self) -> frozenset[tuple[_Address, bool]]:
        return frozenset((address, ready) for address, (_, ready) in self.items())


def _repacked(subsets: Iterable[Mapping[str, Any]]) -> list[tuple[list[Object], _States]]:
    """Return the sets of ports with their addresses, each address once a port.

    As Kubernetes' endpoints.RepackSubsets, in the order of the subsets. Ports that stand in the same subsets
    have the same addresses, so these are put together once for all of them.
    """
    subsets = list(subsets)
    ports: dict[bytes, Object | None] = {}
    places: dict[bytes, dict[int, None]] = {}
    for number, subset in enumerate(subsets):
        for port in subset.get("ports") or [None]:
            octets = _encode(port)
            ports[octets] = port
            places.setdefault(octets, {})[number] = None
    listed = [list(_listed(subset)) for subset in subsets]
    together: dict[tuple[int, ...], list[Object]] = {}
    for octets, numbers in places.items():
        port, found = ports[octets], together.setdefault(tuple(numbers), [])
        found += [port] if port is not None else []
    sets: dict[frozenset[tuple[_Address, bool]], tuple[list[Object], _States]] = {}
    for where, same in together.items():
        states = _states(listed[number] for number in where)
        of_set, _ = sets.setdefault(states.key(), ([], states))
        of_set += same
    return list(sets.values())


def _listed(subset: Mapping[str, Any]) -> Iterator[tuple[_Address, Object, bool]]:
    """Yield the addresses of a subset, and whether they stand among the ready ones."""
    for field in LISTS:
        for address in subset.get(field) or []:
            uid = (address.get("targetRef") or {}).get("uid") or ""
            yield (str(ip_address(address["ip"])), uid), address, field == "addresses"


def _states(subsets: Iterable[list[tuple[_Address, Object, bool]]]) -> _States:
    """Return the addresses of some subsets; one that is not ready in any of them is not ready."""
    states = _States()
    for listed in subsets:
        for key, address, is_ready in listed:
            first, ready = states.get(key, (address, True))
            states[key] = first, ready and is_ready
    return states


def _in_order(states: _States) -> Iterator[Object]:
    """Yield endpoints, ready ones first; what a slice could not tell apart is there once."""
    seen = set()
    for wanted in (True, False):
        for (ip, _), (address, ready) in states.items():
            target = address.get("targetRef") or {}
            identity = (ip, address.get("hostname") or "", target.get("namespace"), target.get("name"))
            if ready is wanted and identity not in seen:
                seen.add(identity)
                yield _endpoint(ip, address, ready)


def _endpoint(ip: str, address: Mapping[str, Any], ready: bool) -> Object:
    endpoint: Object = {"addresses": [ip], "conditions": {"ready": ready}}
    for field in ("hostname", "targetRef", "nodeName"):
        if address.get(field):
            endpoint[field] = address[field]
    return endpoint


def _family(endpoint: Mapping[str, Any]) -> str:
    return "IPv6" if ":" in endpoint["addresses"][0] else "IPv4"


def _without_twins(ports: Iterable[Object]) -> list[list[Object]]:
    """Return ports as lists in which each name stands once, as slices want it.

    Endpoints may use one name with several protocols; of equal pairs of name and protocol the first counts.
    """
    lists: list[dict[str, Object]] = [{}]
    seen = set()
    for port in ports:
        name, protocol = port.get("name") or "", port.get("protocol") or "TCP"
        if (name, protocol) in seen:
            continue
        seen.add((name, protocol))
        made = {"name": name, "port": port["port"], "protocol": protocol}
        if port.get("appProtocol"):
            made["appProtocol"] = port["appProtocol"]
        room = next((listed for listed in lists if name not in listed), None)
        if room is None:
            lists.append(room := {})
        room[name] = made
    return [list(listed.values()) for listed in lists]
