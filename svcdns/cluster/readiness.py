"""Is a Pod ready, and is it an endpoint at all?

There is no kubelet here.  A Pod is ready when its Ready condition says so; one that nobody has said
anything about (no Ready condition, no readinessProbe, no readinessGates) is ready as soon as it has an
address.  The annotation `svcdns.io/ready` ("true" or "false") wins over all of it.
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

READY_ANNOTATION = "svcdns.io/ready"
FINISHED_PHASES = frozenset({"Succeeded", "Failed"})
NAMELESS_PHASES = FINISHED_PHASES | {"Unknown"}
"""Pods in these phases have no name under pod.Z."""


def addresses(pod: Mapping[str, Any]) -> list[IPv4Address | IPv6Address]:
    """Return the Pod's addresses, at most one a family, primary first."""
    status = pod.get("status") or {}
    listed = [entry.get("ip") for entry in status.get("podIPs") or []] or [status.get("podIP")]
    return [ip_address(text) for text in listed if text]


def is_terminating(pod: Mapping[str, Any]) -> bool:
    """Return whether the Pod has been deleted and only its grace period is left."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_finished(pod: Mapping[str, Any]) -> bool:
    """Return whether the Pod's processes have ended; such a Pod is no endpoint."""
    return (pod.get("status") or {}).get("phase") in FINISHED_PHASES


def has_pod_name(pod: Mapping[str, Any]) -> bool:
    """Return whether the Pod's addresses have names under pod.Z (E3)."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in NAMELESS_PHASES and not is_terminating(pod)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether the Pod is ready, termination apart."""
    override = (pod["metadata"].get("annotations") or {}).get(READY_ANNOTATION)
    if override is not None:
        return bool(override == "true")
    conditions = {c.get("type"): c.get("status") for c in (pod.get("status") or {}).get("conditions") or []}
    if "Ready" in conditions:
        return bool(conditions["Ready"] == "True")
    spec = pod.get("spec") or {}
    if any(container.get("readinessProbe") for container in spec.get("containers") or []):
        return False
    return all(
        conditions.get(gate.get("conditionType")) == "True" for gate in spec.get("readinessGates") or []
    )
