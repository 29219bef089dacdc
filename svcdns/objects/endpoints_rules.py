"""What Endpoints mean: subsets of addresses that are reached on the same ports.

https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoints-v1/ and Kubernetes'
pkg/apis/core/validation (validateEndpointSubsets), whose texts are used. Of our own are the bounds: what is
mirrored into EndpointSlices, and so into DNS, is every address on every port of its subset.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import syntax
from .causes import invalid_value, required, too_many
from .errors import Cause

LISTS = ("addresses", "notReadyAddresses")
"""The two lists of addresses that a subset has."""

_MOST_SUBSETS = 1000
_MOST_ADDRESSES = 10_000
_MOST_PAIRS = 100_000
"""Pairs of an address and a port of its subset."""

Object = dict[str, Any]


def endpoints_causes(new: Object, old: Object | None = None) -> Iterator[Cause]:
    """Yield what is wrong with Endpoints; subsets that stay as they are stored may stay."""
    subsets = new.get("subsets", [])
    if old is not None and subsets == old.get("subsets", []):
        return
    if len(subsets) > _MOST_SUBSETS:
        yield too_many("subsets", len(subsets), _MOST_SUBSETS)
        return
    counts = [(_count(subset), len(subset.get("ports", []))) for subset in subsets]
    for number, most, what in (
        (sum(addresses for addresses, _ in counts), _MOST_ADDRESSES, "addresses"),
        (sum(addresses * ports for addresses, ports in counts), _MOST_PAIRS, "pairs of address and port"),
    ):
        if number > most:
            yield invalid_value("subsets", number, f"must have at most {most} {what}")
            return
    for i, subset in enumerate(subsets):
        yield from _subset_causes(subset, f"subsets[{i}]")


def _count(subset: Object) -> int:
    return sum(len(subset.get(field, [])) for field in LISTS)


def _subset_causes(subset: Object, field: str) -> Iterator[Cause]:
    if not _count(subset):
        yield required(field, "must specify `addresses` or `notReadyAddresses`")
    for word in LISTS:
        for i, address in enumerate(subset.get(word, [])):
            yield from _address_causes(address, f"{field}.{word}[{i}]")
    ports = subset.get("ports", [])
    for i, port in enumerate(ports):
        yield from _port_causes(port, f"{field}.ports[{i}]", named=len(ports) > 1)


def _address_causes(address: Object, field: str) -> Iterator[Cause]:
    if "ip" in address:
        for text in syntax.unicast_errors(address["ip"]):
            yield invalid_value(f"{field}.ip", address["ip"], text)
    if name := address.get("hostname"):
        for text in syntax.label_errors(name):
            yield invalid_value(f"{field}.hostname", name, text)
    if "nodeName" in address:
        for text in syntax.subdomain_errors(address["nodeName"]):
            yield invalid_value(f"{field}.nodeName", address["nodeName"], text)


def _port_causes(port: Object, field: str, *, named: bool) -> Iterator[Cause]:
    name = port.get("name", "")
    if named and not name:
        yield required(f"{field}.name")
    elif name:
        for text in syntax.label_errors(name):
            yield invalid_value(f"{field}.name", name, text)
    if "port" in port:
        for text in syntax.port_errors(port["port"]):
            yield invalid_value(f"{field}.port", port["port"], text)
    if app := port.get("appProtocol"):
        for text in syntax.key_errors(app):
            yield invalid_value(f"{field}.appProtocol", app, text)


def addresses_of(endpoints: Object) -> Iterator[tuple[str, str]]:
    """Yield (field, address as written) of every address."""
    for i, subset in enumerate(endpoints.get("subsets") or []):
        for word in LISTS:
            for j, address in enumerate(subset.get(word) or []):
                yield f"subsets[{i}].{word}[{j}].ip", address["ip"]
