"""The row of a Pod, in the columns of Kubernetes' printPod.

There is no kubelet here, so nobody reports on containers: Ready counts all containers of a Pod that is ready
and has an address, and none of any other; none has been restarted; Status is the phase.
"""

from __future__ import annotations

from typing import Any

from svcdns.cluster.readiness import addresses, is_finished, is_ready

from .humanize import age_of

Object = dict[str, Any]


def of_pod(obj: Object, now: float) -> list[str]:
    """Return Name, Ready, Status, Restarts, Age; wide: IP, Node, Nominated Node, Readiness Gates."""
    metadata, spec, status = obj.get("metadata") or {}, obj.get("spec") or {}, obj.get("status") or {}
    return [
        str(metadata.get("name", "")),
        _ready(metadata, spec, status),
        _status(metadata, status),
        "0",
        age_of(obj, now),
        _address(status),
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _gates(spec, status),
    ]


def _ready(metadata: Object, spec: Object, status: Object) -> str:
    restarted = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    total = len(spec.get("containers") or []) + len(restarted)  # a sidecar is an init container that stays
    pod = {"metadata": metadata, "spec": spec, "status": status}
    runs = addresses(pod) and not is_finished(pod)
    return f"{total if runs and is_ready(pod) else 0}/{total}"


def _status(metadata: Object, status: Object) -> str:
    phase = status.get("phase") or ""
    if metadata.get("deletionTimestamp") and phase not in ("Succeeded", "Failed"):
        return "Terminating"
    return str(status.get("reason") or phase)


def _address(status: Object) -> str:
    listed = [entry.get("ip") for entry in status.get("podIPs") or []] or [status.get("podIP")]
    return listed[0] or "<none>"


def _gates(spec: Object, status: Object) -> str:
    gates = [gate.get("conditionType", "") for gate in spec.get("readinessGates") or []]
    if not gates:
        return "<none>"
    true = {entry.get("type") for entry in status.get("conditions") or [] if entry.get("status") == "True"}
    return f"{sum(gate in true for gate in gates)}/{len(gates)}"
