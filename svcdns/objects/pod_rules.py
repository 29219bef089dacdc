"""What a Pod means here: who it is in DNS (hostname, subdomain), its ports, its addresses, its readiness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import causes, syntax
from .causes import invalid_value, not_supported, required
from .errors import Cause
from .service_addresses import family_of
from .service_rules import PROTOCOLS

_PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
_CONDITION_VALUES = ("True", "False", "Unknown")
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")


def pod_causes(pod: dict[str, Any]) -> Iterator[Cause]:
    """Yield what is wrong with a Pod's spec and status."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    yield from _spec_causes(spec)
    yield from _containers_causes(spec)
    yield from _gate_causes(spec)
    yield from _pod_ip_causes(status)
    yield from _status_causes(status)


def _spec_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    for word in ("hostname", "subdomain"):
        yield from _each(f"spec.{word}", spec.get(word, ""), syntax.label_errors)
    yield from _each("spec.nodeName", spec.get("nodeName", ""), syntax.subdomain_errors)
    yield from _word("spec.restartPolicy", spec.get("restartPolicy", ""), _RESTART_POLICIES)
    yield from _word("spec.dnsPolicy", spec.get("dnsPolicy", ""), _DNS_POLICIES)
    seconds = spec.get("terminationGracePeriodSeconds", 0)
    if seconds < 0:
        yield invalid_value(
            "spec.terminationGracePeriodSeconds", seconds, "must be greater than or equal to 0"
        )


def _each(field: str, value: str, errors: Callable[[str], list[str]]) -> Iterator[Cause]:
    if value:
        for text in errors(value):
            yield invalid_value(field, value, text)


def _word(field: str, value: str, supported: tuple[str, ...]) -> Iterator[Cause]:
    if value and value not in supported:
        yield not_supported(field, value, supported)


def _containers_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    names: set[str] = set()
    for word in ("initContainers", "containers"):
        for i, container in enumerate(spec.get(word, [])):
            field, name = f"spec.{word}[{i}]", container.get("name", "")
            yield from _each(f"{field}.name", name, syntax.label_errors)
            if name in names:
                yield causes.duplicate(f"{field}.name", name)
            elif name == "" and "name" in container:
                yield required(f"{field}.name")
            names.update([name] if name else [])
            yield from _ports_causes(container.get("ports", []), f"{field}.ports")


def _ports_causes(ports: list[dict[str, Any]], field: str) -> Iterator[Cause]:
    names = set()
    for i, port in enumerate(ports):
        place, name, protocol = f"{field}[{i}]", port.get("name", ""), port.get("protocol", "")
        yield from _each(f"{place}.name", name, syntax.port_name_errors)
        if name and name in names:
            yield causes.duplicate(f"{place}.name", name)
        names.add(name)
        if "containerPort" in port:
            for text in syntax.port_errors(port["containerPort"]):
                yield invalid_value(f"{place}.containerPort", port["containerPort"], text)
        if port.get("hostPort"):
            for text in syntax.port_errors(port["hostPort"]):
                yield invalid_value(f"{place}.hostPort", port["hostPort"], text)
        yield from _word(f"{place}.protocol", protocol, PROTOCOLS)


def _gate_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    for i, gate in enumerate(spec.get("readinessGates", [])):
        if "conditionType" in gate:
            field = f"spec.readinessGates[{i}].conditionType"
            for text in syntax.key_errors(gate["conditionType"]):
                yield invalid_value(field, gate["conditionType"], text)


def _pod_ip_causes(status: dict[str, Any]) -> Iterator[Cause]:
    """Any unicast address, loopback too (a laptop's processes); one for each family; podIP is the first."""
    single, several = status.get("podIP", ""), status.get("podIPs", [])
    listed = [entry.get("ip", "") for entry in several]
    if single and listed and listed[0] != single:
        yield invalid_value("status.podIP", single, "must be the same as `podIPs[0].ip`")
    if not listed:
        yield from _each("status.podIP", single, syntax.unicast_errors)
        return
    seen = set()
    for i, address in enumerate(listed):
        field = f"status.podIPs[{i}].ip"
        if not address:
            yield required(field)
        yield from _each(field, address, syntax.unicast_errors)
        family = family_of(address)
        if family and family in seen:
            yield invalid_value("status.podIPs", listed, "may specify no more than one IP for each IP family")
        seen.add(family)


def _status_causes(status: dict[str, Any]) -> Iterator[Cause]:
    yield from _word("status.phase", status.get("phase", ""), _PHASES)
    types = set()
    for i, condition in enumerate(status.get("conditions", [])):
        field, name = f"status.conditions[{i}]", condition.get("type", "")
        if not name:
            yield required(f"{field}.type")
        elif name in types:
            yield causes.duplicate(f"{field}.type", name)
        types.add(name)
        value = condition.get("status", "")
        if not value:
            yield required(f"{field}.status")
        yield from _word(f"{field}.status", value, _CONDITION_VALUES)
