"""Why a Service has no endpoints, or not all that one would expect: sentences for people.

Each says what is, and what would change it; objects are named so that they can be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from .endpoints import publishes_not_ready
from .readiness import READY_ANNOTATION, addresses, is_finished, is_ready, is_terminating

_MOST = 10
"""Sentences about Pods of one Service."""

Object = Mapping[str, Any]


def selector_text(selector: Mapping[str, str]) -> str:
    """Return a selector as kubectl writes it."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def of_service(
    service: Object, selected: Sequence[Object], others: Iterable[Object], has_slices: bool
) -> list[str]:
    """Return why a Service has no endpoints, or why some of its Pods are none.

    `selected` are the Pods that its selector takes in, `others` the rest of the namespace; `has_slices` says
    whether there are EndpointSlices of a user's own.
    """
    name, spec = service["metadata"]["name"], service.get("spec") or {}
    selector = spec.get("selector") or {}
    if not selector:
        if has_slices:
            return []
        return [
            f"Service {name} has no selector and no EndpointSlice: give it spec.selector, "
            f"or write a slice with the label kubernetes.io/service-name={name}"
        ]
    if not selected:
        return [f"selector {selector_text(selector)} matches no Pod{_nearest(selector, others)}"]
    shows_all = publishes_not_ready(service)
    reasons = [reason for pod in selected if (reason := of_pod(pod, shows_all))]
    if len(reasons) > _MOST:
        return [*reasons[:_MOST], f"and {len(reasons) - _MOST} more Pods"]
    return reasons


def of_pod(pod: Object, shows_not_ready: bool = False) -> str:
    """Return why a Pod is no ready endpoint of a Service that selects it, "" if it is one."""
    name = pod["metadata"]["name"]
    if not addresses(dict(pod)):
        return f"Pod {name} has no address: set status.podIP"
    if is_finished(pod):
        return f"Pod {name} has ended: its phase is {pod['status']['phase']}"
    if shows_not_ready:
        return ""
    if is_terminating(pod):
        return f"Pod {name} is leaving: it was deleted at {pod['metadata']['deletionTimestamp']}"
    if is_ready(pod):
        return ""
    return f"Pod {name} is not ready{_because(pod)}: svcdns ready {name}"


def _because(pod: Object) -> str:
    """Return who says that a Pod is not ready, and why."""
    if (pod["metadata"].get("annotations") or {}).get(READY_ANNOTATION) == "false":
        return f" (annotation {READY_ANNOTATION}: false)"
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready: Object = next((one for one in conditions if one.get("type") == "Ready"), {})
    said = " ".join(str(ready[word]) for word in ("reason", "message") if ready.get(word))
    return f" ({said})" if said else ""


def _nearest(selector: Mapping[str, str], pods: Iterable[Object]) -> str:
    """Return the Pod whose labels come closest, in words."""
    wanted = [f"{key}={value}" for key, value in selector.items()]
    labels = {
        f"{key}={value}": pod["metadata"]["name"]
        for pod in pods
        for key, value in (pod["metadata"].get("labels") or {}).items()
    }
    for text in wanted:
        if near := get_close_matches(text, labels, n=1, cutoff=0.6):
            return f"; Pod {labels[near[0]]} has {near[0]}"
    values = {label.partition("=")[2]: label for label in labels}
    for value in selector.values():
        if value in values:
            return f"; Pod {labels[values[value]]} has {values[value]}"
    return "" if labels else "; no Pod of the namespace has labels"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question about the closest of the names that there are, "" where none is close."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
