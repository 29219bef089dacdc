"""What a Pod contributes to a Service: an endpoint and the ports it is reached on.

The shapes are those of discovery.k8s.io/v1 EndpointSlice.
https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from svcdns.objects.selectors import matches_map

from .readiness import addresses, is_finished, is_ready, is_terminating, running_containers

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGED_BY = "endpointslice-controller.k8s.io"
MIRRORED_BY = "endpointslicemirroring-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"
TOLERATE_UNREADY = "service.alpha.kubernetes.io/tolerate-unready-endpoints"
WHEN_NONE_READY, WHEN_NONE_ALL = "svcdns.io/when-none-ready", "all"
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _BASE32 for second in _BASE32]
"""Two letters for ten bits."""
_encode = msgspec.json.Encoder().encode


def is_generated(endpoint_slice: Mapping[str, Any]) -> bool:
    """Return whether we made this slice: from a Service and its Pods, or by mirroring Endpoints."""
    return _managed_by(endpoint_slice) in (MANAGED_BY, MIRRORED_BY)


def is_mirrored(endpoint_slice: Mapping[str, Any]) -> bool:
    """Return whether we made this slice by mirroring Endpoints."""
    return _managed_by(endpoint_slice) == MIRRORED_BY


def _managed_by(endpoint_slice: Mapping[str, Any]) -> str:
    labels = endpoint_slice["metadata"].get("labels") or {}
    return str(labels.get(MANAGED_BY_LABEL) or "")


def selector_of(service: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the selector of a Service whose endpoints are the Pods that it takes in, else None."""
    spec = service.get("spec") or {}
    return (spec.get("selector") or None) if spec.get("type") != "ExternalName" else None


def selects(service: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Return whether a Service's selector takes in a Pod of its namespace; an empty selector takes none."""
    selector = selector_of(service)
    return selector is not None and matches_map(selector, pod["metadata"].get("labels") or {})


def endpoint_of(service: Mapping[str, Any], pod: Mapping[str, Any], family: str) -> dict[str, Any] | None:
    """Return the Pod's endpoint of one family ("IPv4" or "IPv6"), or None where it has none."""
    version = 4 if family == "IPv4" else 6
    address = next((a for a in addresses(pod) if a.version == version), None)
    if address is None or is_finished(pod) or not selects(service, pod):
        return None
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    serving, terminating = is_ready(pod), is_terminating(pod)
    ready = publishes_not_ready(service) or (serving and not terminating)
    endpoint: dict[str, Any] = {
        "addresses": [str(address)],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
    }
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = spec["hostname"]
    endpoint["targetRef"] = {
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    if spec.get("nodeName"):
        endpoint["nodeName"] = spec["nodeName"]
        if ready and prefers_same_node(service):
            endpoint["hints"] = same_node_hints(spec["nodeName"])
    return endpoint


def prefers_same_node(service: Mapping[str, Any]) -> bool:
    """Return whether traffic to a Service is to stay on the client's node where it can."""
    return (service.get("spec") or {}).get("trafficDistribution") == "PreferSameNode"


def same_node_hints(node: str) -> dict[str, Any]:
    """Return the hints of an endpoint that is for clients on its own node."""
    return {"forNodes": [{"name": node}]}


def publishes_not_ready(service: Mapping[str, Any]) -> bool:
    """Return whether a Service wants its endpoints shown whatever their readiness."""
    if (service.get("spec") or {}).get("publishNotReadyAddresses"):
        return True
    annotations = service["metadata"].get("annotations") or {}
    return bool(annotations.get(TOLERATE_UNREADY) == "true")


def answers_with_all(service: Mapping[str, Any]) -> bool:
    """Return whether the names of a Service without a ready endpoint answer with those that are not ready."""
    annotations = service["metadata"].get("annotations") or {}
    return bool(annotations.get(WHEN_NONE_READY) == WHEN_NONE_ALL)


def has_ready(endpoint_slice: Mapping[str, Any] | None) -> bool:
    """Return whether a slice has an endpoint that is ready, or of which nobody knows."""
    endpoints = (endpoint_slice or {}).get("endpoints") or []
    return any((endpoint.get("conditions") or {}).get("ready") is not False for endpoint in endpoints)


def as_if_ready(endpoint_slice: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the endpoints of a slice as if they were ready; those that are leaving stay out."""
    endpoints = endpoint_slice.get("endpoints") or []
    staying = (one for one in endpoints if not (one.get("conditions") or {}).get("terminating"))
    return [{**one, "conditions": {"ready": True}} for one in staying]


def ports_of(service: Mapping[str, Any], pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the slice ports of a Pod for a Service: targetPort looked up, the Service's port names kept.

    A port whose named targetPort the Pod does not have is left out, as Kubernetes does.
    """
    ports = []
    for port in service["spec"].get("ports") or []:
        number = target_number(port, pod)
        if number is None:
            continue
        entry = {"name": port.get("name") or "", "port": number, "protocol": port.get("protocol") or "TCP"}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        ports.append(entry)
    return ports


def target_number(port: Mapping[str, Any], pod: Mapping[str, Any]) -> int | None:
    """Return the number that a Service's port is reached on in a Pod, None where the Pod lacks the name."""
    target = port.get("targetPort")
    if isinstance(target, int):
        return target or int(port["port"])
    if not target:
        return int(port["port"])
    protocol = port.get("protocol") or "TCP"
    for container in running_containers(pod):
        for candidate in container.get("ports") or []:
            if candidate.get("name") == target and (candidate.get("protocol") or "TCP") == protocol:
                return int(candidate["containerPort"])
    return None


def slice_group(service: Mapping[str, Any], family: str, ports: list[dict[str, Any]]) -> str:
    """Return what endpoints of one slice have in common: the family, and what named ports are in the Pod.

    What the Service says of its ports is the same for all, and may change without anybody moving.
    """
    named = [
        p.get("name") or ""
        for p in service["spec"].get("ports") or []
        if isinstance(p.get("targetPort"), str)
    ]
    if not named:
        return base_group(family)
    numbers = {port["name"]: port["port"] for port in ports}
    return base_group(family) + _kept_digest(*(str(numbers.get(name, "")) for name in named))


def base_group(family: str) -> str:
    """Return the group of a Service without named ports; a family without endpoints has its slice, empty."""
    return family + "/"


def digest(*parts: str) -> str:
    """Return a short name that follows from the parts (10 letters and digits)."""
    number = int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:7])
    return "".join([_PAIRS[number >> shift & 1023] for shift in (46, 36, 26, 16, 6)])


_kept_digest = functools.lru_cache(1024)(digest)
"""For what many Services have in common."""


_RESERVED = frozenset({SERVICE_NAME_LABEL, MANAGED_BY_LABEL, HEADLESS_LABEL})
"""Labels of a slice that say what it is, whatever the Service says there."""


def slice_labels(service: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of a Service's generated slices: those of the Service, and what the slices are."""
    metadata = service["metadata"]
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k not in _RESERVED}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    return {**labels, SERVICE_NAME_LABEL: metadata["name"], MANAGED_BY_LABEL: MANAGED_BY}


def new_slice(
    owner: Mapping[str, Any], name: str, labels: dict[str, str], family: str, ports: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return an empty slice that is made from a Service or Endpoints; uid and revision come later."""
    metadata = owner["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "generateName": metadata["name"] + "-",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": owner["apiVersion"],
                    "kind": owner["kind"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": family,
        "endpoints": [],
        "ports": ports,
    }
