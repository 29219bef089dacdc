"""What a Service means: its type, ports and policies. Its addresses: service_addresses.py.

https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/ and Kubernetes'
pkg/apis/core/validation, whose texts are used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from . import causes, syntax
from .causes import forbidden, invalid_value, required
from .errors import Cause
from .metadata_rules import labels_causes
from .service_addresses import address_causes, is_headless, update_address_causes
from .slice_rules import MOST_PORTS

TTL_ANNOTATION = "svcdns.io/dns-ttl"
"""Seconds that resolvers may keep the answers of this Service, 0..3600."""

_MOST_AFFINITY_SECONDS = 86400


def service_causes(new: dict[str, Any], old: dict[str, Any] | None = None) -> Iterator[Cause]:
    """Yield what is wrong with a Service; `old` is the stored one on an update."""
    spec = new.get("spec", {})
    yield from _ttl_causes(new)
    yield from _type_causes(spec)
    yield from _ports_causes(spec)
    yield from labels_causes(spec.get("selector", {}), "spec.selector")
    yield from _affinity_causes(spec)
    yield from _policy_causes(spec)
    yield from _load_balancer_causes(spec)
    yield from _status_causes(new.get("status", {}), spec)
    yield from address_causes(spec)
    if old is not None:
        yield from update_address_causes(spec, old.get("spec", {}))
        yield from _update_causes(spec, old.get("spec", {}))


def _update_causes(spec: dict[str, Any], old: dict[str, Any]) -> Iterator[Cause]:
    """Yield what an update may not change while the Service stays a load balancer."""
    if not spec.get("type") == old.get("type") == "LoadBalancer":
        return
    word = spec.get("loadBalancerClass")
    if word != old.get("loadBalancerClass"):
        yield invalid_value("spec.loadBalancerClass", word, "may not change once set")
    port, before = spec.get("healthCheckNodePort", 0), old.get("healthCheckNodePort", 0)
    if before and port != before and needs_health_check(spec) and needs_health_check(old):
        yield invalid_value("spec.healthCheckNodePort", port, "field is immutable")


def needs_health_check(spec: dict[str, Any]) -> bool:
    """Whether a load balancer has to ask each node if it has an endpoint, on a port of its own."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _ttl_causes(service: dict[str, Any]) -> Iterator[Cause]:
    value = service.get("metadata", {}).get("annotations", {}).get(TTL_ANNOTATION)
    if value is not None and not (re.fullmatch("[0-9]{1,4}", value) and int(value) <= 3600):
        detail = "must be an integer from 0 to 3600 (seconds)"
        yield invalid_value(f"metadata.annotations[{TTL_ANNOTATION}]", value, detail)


def _type_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    kind = spec.get("type", "")
    if not kind:
        yield required("spec.type")
    if not spec.get("ports") and kind != "ExternalName" and not is_headless(spec):
        yield required("spec.ports")
    if is_headless(spec) and kind in ("NodePort", "LoadBalancer"):
        yield invalid_value("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind == "ExternalName":
        yield from _external_name_causes(spec)


def _external_name_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    name = spec.get("externalName", "")
    if not name.removesuffix("."):
        yield required("spec.externalName")
    else:
        for text in syntax.domain_errors(name):
            yield invalid_value("spec.externalName", name, text)


def _ports_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    ports = spec.get("ports", [])
    if len(ports) > MOST_PORTS:  # Kubernetes can't store a Service with more, nor slices of it
        yield causes.too_many("spec.ports", len(ports), MOST_PORTS)
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    node_ports: set[tuple[int, str]] = set()
    for i, port in enumerate(ports[:MOST_PORTS]):
        field = f"spec.ports[{i}]"
        yield from _port_name_causes(port, field, names, named=len(ports) > 1)
        yield from _port_causes(port, field, numbers)
        yield from _node_port_causes(port, field, node_ports, spec.get("type", ""))


def _port_name_causes(port: dict[str, Any], field: str, names: set[str], *, named: bool) -> Iterator[Cause]:
    name = port.get("name", "")
    if not name:
        if named:
            yield required(f"{field}.name")
        return
    for text in syntax.label_errors(name):
        yield invalid_value(f"{field}.name", name, text)
    if name in names:
        yield causes.duplicate(f"{field}.name", name)
    names.add(name)


def _port_causes(port: dict[str, Any], field: str, numbers: set[tuple[int, str]]) -> Iterator[Cause]:
    number, protocol = port.get("port"), port.get("protocol", "")
    if not protocol:
        yield required(f"{field}.protocol")
    if number is not None:
        for text in syntax.port_errors(number):
            yield invalid_value(f"{field}.port", number, text)
        if (number, protocol) in numbers:
            yield causes.duplicate(field, {"protocol": protocol, "port": number})
        numbers.add((number, protocol))
    yield from _target_port_causes(port.get("targetPort"), f"{field}.targetPort")
    if app := port.get("appProtocol"):
        for text in syntax.key_errors(app):
            yield invalid_value(f"{field}.appProtocol", app, text)


def _target_port_causes(target: int | str | None, field: str) -> Iterator[Cause]:
    if isinstance(target, int):
        for text in syntax.port_errors(target):
            yield invalid_value(field, target, text)
    elif target is not None:
        for text in syntax.port_name_errors(target):
            yield invalid_value(field, target, text)


def _node_port_causes(
    port: dict[str, Any], field: str, node_ports: set[tuple[int, str]], kind: str
) -> Iterator[Cause]:
    number, field = port.get("nodePort", 0), f"{field}.nodePort"
    if not number:
        return
    if kind in ("ClusterIP", "ExternalName"):
        yield forbidden(field, f"may not be used when `type` is '{kind}'")
    for text in syntax.port_errors(number):
        yield invalid_value(field, number, text)
    key = (number, port.get("protocol", ""))
    if key in node_ports:
        yield causes.duplicate(field, number)
    node_ports.add(key)


def _affinity_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    affinity, field = spec.get("sessionAffinity", ""), "spec.sessionAffinityConfig"
    config = spec.get("sessionAffinityConfig")
    if not affinity:
        yield required("spec.sessionAffinity")
    if affinity == "None" and config is not None:
        yield forbidden(field, "must not be set when session affinity is None")
    if affinity == "ClientIP":
        seconds = (config or {}).get("clientIP", {}).get("timeoutSeconds")
        field += ".clientIP.timeoutSeconds"
        if seconds is None:
            yield required(field)
        elif not 0 < seconds <= _MOST_AFFINITY_SECONDS:
            detail = f"must be greater than 0 and less than {_MOST_AFFINITY_SECONDS}"
            yield invalid_value(field, seconds, detail)


def externally_accessible(spec: dict[str, Any]) -> bool:
    """Whether traffic from outside the cluster is meant to reach the Service."""
    kind = spec.get("type", "")
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def _policy_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    external, field = spec.get("externalTrafficPolicy", ""), "spec.externalTrafficPolicy"
    if externally_accessible(spec):
        if not external:
            yield required(field)
    elif external:
        yield invalid_value(field, external, "may only be set for externally-accessible services")
    health = spec.get("healthCheckNodePort", 0)
    if health and not needs_health_check(spec):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield invalid_value("spec.healthCheckNodePort", health, detail)


def _load_balancer_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    if spec.get("type") != "LoadBalancer":
        for word in ("loadBalancerSourceRanges", "loadBalancerClass", "allocateLoadBalancerNodePorts"):
            if spec.get(word) not in (None, "", []):
                yield forbidden(f"spec.{word}", "may only be used when `type` is 'LoadBalancer'")
        return
    for i, text in enumerate(spec.get("loadBalancerSourceRanges", [])):
        if not _is_network(text):
            detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            yield invalid_value(f"spec.loadBalancerSourceRanges[{i}]", text, detail)
    if address := spec.get("loadBalancerIP", ""):
        for text in syntax.unicast_errors(address):
            yield invalid_value("spec.loadBalancerIP", address, text)
    if word := spec.get("loadBalancerClass", ""):
        for text in syntax.key_errors(word):
            yield invalid_value("spec.loadBalancerClass", word, text)


def _status_causes(status: dict[str, Any], spec: dict[str, Any]) -> Iterator[Cause]:
    ingress, field = status.get("loadBalancer", {}).get("ingress", []), "status.loadBalancer.ingress"
    if ingress and spec.get("type") != "LoadBalancer":
        yield forbidden(field, 'may only be used when `spec.type` is "LoadBalancer"')
    for i, entry in enumerate(ingress):
        if entry.get("ipMode") and not entry.get("ip"):
            yield forbidden(f"{field}[{i}].ipMode", "may not be specified when `ip` is not set")
    for i, condition in enumerate(status.get("conditions", [])):
        if not condition.get("lastTransitionTime"):
            yield required(f"status.conditions[{i}].lastTransitionTime")


def _is_network(text: str) -> bool:
    head, slash, length = text.strip().partition("/")
    address = syntax.parse_address(head)
    if address is None or not slash or not re.fullmatch("[0-9]{1,3}", length):
        return False
    return int(length) <= address.max_prefixlen
