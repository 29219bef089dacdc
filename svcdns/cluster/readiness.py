"""Is a Pod ready, and is it an endpoint at all?

There is no kubelet here.  A Pod is ready when its Ready condition says so; one that nobody has said
anything about (no Ready condition, no readinessProbe, no readinessGates) is ready as soon as it has an
address.  The annotation `svcdns.io/ready` ("true" or "false") wins over all of it.
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from svcdns.objects.syntax import address_of

READY_ANNOTATION = "svcdns.io/ready"
ASSUMED_READY = "AssumedReady"
PROBE_NOT_RUN = "ProbeNotRun"
GATES_NOT_READY = "ReadinessGatesNotReady"
_OURS = {ASSUMED_READY: "True", PROBE_NOT_RUN: "False", GATES_NOT_READY: "False"}
"""Reason -> status of a Ready condition that we have set because nobody else had."""

FINISHED_PHASES = frozenset({"Succeeded", "Failed"})
NAMELESS_PHASES = FINISHED_PHASES | {"Unknown"}
"""Pods in these phases have no name under pod.Z."""


def addresses(pod: Mapping[str, Any]) -> list[IPv4Address | IPv6Address]:
    """Return the Pod's addresses, at most one a family, primary first."""
    status = pod.get("status") or {}
    listed = [entry.get("ip") for entry in status.get("podIPs") or []] or [status.get("podIP")]
    return [address_of(text) for text in listed if text]


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
    given = _given_condition(pod)
    return given == "True" if given is not None else not _missing(pod)


def _conditions(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return (pod.get("status") or {}).get("conditions") or []


def _given_condition(pod: Mapping[str, Any]) -> str | None:
    """Return the status of a Ready condition that somebody has set; ours does not count."""
    for condition in _conditions(pod):
        if condition.get("type") == "Ready" and not _is_ours(condition):
            return str(condition.get("status"))
    return None


def _is_ours(condition: Mapping[str, Any]) -> bool:
    """Return whether a condition is ours, also not one with our reason whose status a patch changed."""
    reason = condition.get("reason")
    return reason in _OURS and condition.get("status") == _OURS[reason]


def _as_given(condition: dict[str, Any], now: str) -> dict[str, Any]:
    """Return somebody's Ready condition without a reason that was ours."""
    if condition.get("type") != "Ready" or condition.get("reason") not in _OURS or _is_ours(condition):
        return condition
    kept = {key: value for key, value in condition.items() if key != "reason"}
    return {**kept, "lastTransitionTime": now}


def _missing(pod: Mapping[str, Any]) -> str:
    """Return why a Pod that nobody has called ready or not is not ready; "" where nothing is missing."""
    spec = pod.get("spec") or {}
    if any(container.get("readinessProbe") for container in spec.get("containers") or []):
        return PROBE_NOT_RUN
    met = {c.get("type") for c in _conditions(pod) if c.get("status") == "True"}
    gates = (gate.get("conditionType") for gate in spec.get("readinessGates") or [])
    return GATES_NOT_READY if any(gate not in met for gate in gates) else ""


def with_ready_condition(pod: dict[str, Any], now: str) -> dict[str, Any]:
    """Return a Pod whose status says what we assume about its readiness, where nobody else says it.

    So `kubectl wait --for=condition=Ready` and clients that look at conditions see what DNS goes by.
    A condition that somebody has set is left alone; `now` is the time of a transition, RFC 3339.
    """
    if _given_condition(pod) is not None:
        given = [_as_given(condition, now) for condition in _conditions(pod)]
        return {**pod, "status": {**pod["status"], "conditions": given}}
    others = [condition for condition in _conditions(pod) if condition.get("type") != "Ready"]
    ours = next((c for c in _conditions(pod) if c.get("type") == "Ready"), None)
    missing = _missing(pod)
    reason = missing or ASSUMED_READY
    if not addresses(pod):
        if ours is None:
            return pod
        conditions = others
    else:
        status = "False" if missing else "True"
        unchanged = ours is not None and (ours["status"], ours["reason"]) == (status, reason)
        made = {"type": "Ready", "status": status, "reason": reason, "lastTransitionTime": now}
        conditions = _conditions(pod) if unchanged else [*others, made]
    return {**pod, "status": {**pod["status"], "conditions": conditions}}
