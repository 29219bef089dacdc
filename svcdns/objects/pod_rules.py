"""What a Pod means here: its containers, its addresses, its readiness; single fields are in field_rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from . import causes, syntax
from .causes import forbidden, invalid_value, required
from .errors import Cause
from .heartbeat_rules import heartbeat_causes
from .service_addresses import family_of


def pod_causes(pod: dict[str, Any], old: dict[str, Any] | None = None) -> Iterator[Cause]:
    """Yield what is wrong between the fields of a Pod; `old` is the stored one on an update."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    if annotations := pod.get("metadata", {}).get("annotations"):
        yield from heartbeat_causes(annotations)
    yield from _containers_causes(spec)
    yield from _pod_ip_causes(status)
    yield from _status_causes(status)
    if old is not None:
        yield from _update_causes(spec, old.get("spec", {}))


def _update_causes(spec: dict[str, Any], old: dict[str, Any]) -> Iterator[Cause]:
    """A Pod stays who it is. Its addresses and readiness are free, and where it runs may be said later."""
    changed = [word for word in ("hostname", "subdomain") if spec.get(word, "") != old.get(word, "")]
    if old.get("nodeName") and spec.get("nodeName") != old["nodeName"]:
        changed.append("nodeName")
    for word in ("containers", "initContainers"):
        before = old.get(word, [])
        if not _are_placeholders(before) and _fixed(spec.get(word, [])) != _fixed(before):
            changed.append(word)
    if changed:
        text = "pod updates may not change fields other than `spec.containers[*].image` and those that "
        yield forbidden("spec", text + f"don't say what the Pod is; changed: {', '.join(changed)}")


def _fixed(containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return containers without what may change: which image they run."""
    free = ("image", "imagePullPolicy")
    return [{key: value for key, value in one.items() if key not in free} for one in containers]


def _are_placeholders(containers: list[dict[str, Any]]) -> bool:
    """Whether a Pod was registered without containers, so that they can still be said."""
    return [(one.get("name"), one.get("image")) for one in containers] == [("registered", "")]


def _each(field: str, value: str, errors: Callable[[str], list[str]]) -> Iterator[Cause]:
    if value:
        for text in errors(value):
            yield invalid_value(field, value, text)


def _containers_causes(spec: dict[str, Any]) -> Iterator[Cause]:
    names: set[str] = set()
    for word in ("initContainers", "containers", "ephemeralContainers"):
        for i, container in enumerate(spec.get(word, [])):
            field, name = f"spec.{word}[{i}]", container.get("name", "")
            if name in names:
                yield causes.duplicate(f"{field}.name", name)
            elif name == "" and "name" in container:
                yield required(f"{field}.name")
            names.update([name] if name else [])
            yield from _ports_causes(container.get("ports", []), f"{field}.ports")


def _ports_causes(ports: list[dict[str, Any]], field: str) -> Iterator[Cause]:
    names = set()
    for i, port in enumerate(ports):
        name = port.get("name", "")
        if name and name in names:
            yield causes.duplicate(f"{field}[{i}].name", name)
        names.add(name)


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
    types = set()
    for i, condition in enumerate(status.get("conditions", [])):
        field, name = f"status.conditions[{i}]", condition.get("type", "")
        if not name:
            yield required(f"{field}.type")
        elif name in types:
            yield causes.duplicate(f"{field}.type", name)
        types.add(name)
        if not condition.get("status"):
            yield required(f"{field}.status")
