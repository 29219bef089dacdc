"""What an EndpointSlice means: addresses of one type, their names, and ports.

https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import causes, syntax
from .causes import invalid_value, required, too_many
from .errors import Cause
from .service_addresses import family_of

SERVICE_LABEL = "kubernetes.io/service-name"
"""Names the Service that a slice belongs to."""

_TYPES = ("IPv4", "IPv6", "FQDN")
_MOST_ENDPOINTS = 1000
_MOST_ADDRESSES = 100
_MOST_PAIRS = 100_000
"""Pairs of address and port in one slice; Kubernetes has no such bound, but makes no records of them."""
MOST_PORTS = 20000


def slice_causes(new: dict[str, Any], old: dict[str, Any] | None = None) -> Iterator[Cause]:
    """Yield what is wrong with an EndpointSlice; `old` is the stored one on an update."""
    address_type = new.get("addressType", "")
    yield from _type_causes(new, old)
    yield from _service_causes(new)
    endpoints = new.get("endpoints", [])
    if len(endpoints) > _MOST_ENDPOINTS:
        yield too_many("endpoints", len(endpoints), _MOST_ENDPOINTS)
    before = {address for endpoint in (old or {}).get("endpoints", []) for address in endpoint["addresses"]}
    for i, endpoint in enumerate(endpoints[:_MOST_ENDPOINTS]):
        yield from _endpoint_causes(endpoint, f"endpoints[{i}]", address_type)
        yield from _form_causes(endpoint, f"endpoints[{i}]", before)
    ports = new.get("ports", [])
    if len(ports) > MOST_PORTS:
        yield too_many("ports", len(ports), MOST_PORTS)
    yield from _ports_causes(ports[:MOST_PORTS])
    pairs = sum(len(endpoint.get("addresses") or []) for endpoint in endpoints) * len(ports)
    if pairs > _MOST_PAIRS:
        text = f"{pairs} pairs of address and port, each of which is a record; allowed: up to {_MOST_PAIRS}"
        yield invalid_value("ports", len(ports), text)


def _type_causes(new: dict[str, Any], old: dict[str, Any] | None) -> Iterator[Cause]:
    value = new.get("addressType")
    if value == "":
        yield required("addressType")
    if old is not None and value != old.get("addressType"):
        yield invalid_value("addressType", value, "field is immutable")


def _service_causes(new: dict[str, Any]) -> Iterator[Cause]:
    name = new.get("metadata", {}).get("labels", {}).get(SERVICE_LABEL, "")
    if name:
        for text in syntax.label_errors(name):
            yield invalid_value(f"metadata.labels[{SERVICE_LABEL}]", name, text)


def _endpoint_causes(endpoint: dict[str, Any], field: str, address_type: str) -> Iterator[Cause]:
    addresses = endpoint.get("addresses")
    if addresses == []:
        yield required(f"{field}.addresses", "must contain at least 1 address")
    elif addresses and len(addresses) > _MOST_ADDRESSES:
        yield too_many(f"{field}.addresses", len(addresses), _MOST_ADDRESSES)
    for i, address in enumerate((addresses or [])[:_MOST_ADDRESSES]):
        for text in _address_errors(address, address_type):
            yield invalid_value(f"{field}.addresses[{i}]", address, text)
    if "hostname" in endpoint:
        for text in syntax.label_errors(endpoint["hostname"]):
            yield invalid_value(f"{field}.hostname", endpoint["hostname"], text)
    if "nodeName" in endpoint:
        for text in syntax.subdomain_errors(endpoint["nodeName"]):
            yield invalid_value(f"{field}.nodeName", endpoint["nodeName"], text)


def _form_causes(endpoint: dict[str, Any], field: str, before: set[str]) -> Iterator[Cause]:
    """Addresses are written in canonical form (RFC 5952); those that were there before may stay."""
    for i, text in enumerate((endpoint.get("addresses") or [])[:_MOST_ADDRESSES]):
        address = syntax.parse_address(text)
        if address is not None and str(address) != text and text not in before:
            detail = f'must be in canonical form ("{address}")'
            yield invalid_value(f"{field}.addresses[{i}]", text, detail)


def _address_errors(address: str, address_type: str) -> list[str]:
    if address_type == "FQDN":
        errors = syntax.domain_errors(address)
        if not errors and "." not in address.removesuffix("."):
            errors.append("should be a domain with at least two segments separated by dots")
        return errors
    if address_type not in _TYPES:
        return []
    errors = syntax.unicast_errors(address)
    if not errors and family_of(address) != address_type:
        errors.append(f"must be an {address_type} address")
    return errors


def _ports_causes(ports: list[dict[str, Any]]) -> Iterator[Cause]:
    names = set()
    for i, port in enumerate(ports):
        field, name = f"ports[{i}]", port.get("name", "")
        if name:
            for text in syntax.label_errors(name):
                yield invalid_value(f"{field}.name", name, text)
        if name in names:
            yield causes.duplicate(f"{field}.name", name)
        names.add(name)
        if "port" in port:
            for text in syntax.port_errors(port["port"]):
                yield invalid_value(f"{field}.port", port["port"], text)
        if app := port.get("appProtocol"):
            for text in syntax.key_errors(app):
                yield invalid_value(f"{field}.appProtocol", app, text)
