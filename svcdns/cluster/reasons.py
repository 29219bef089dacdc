"""Why a Service has no endpoints, or not all that one would expect: sentences for people.

Each says what is, and what would change it; objects are named so that they can be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from svcdns.system.similar_words import closest

from .endpoints import publishes_not_ready
from .readiness import (
    AS_REPORTED,
    PROBE_NOT_RUN,
    READY_ANNOTATION,
    Source,
    Verdict,
    addresses,
    deciding,
    is_finished,
    is_terminating,
    verdicts,
)

_MOST = 10
"""Sentences about Pods of one Service."""

NO_POD_YET = "matches no Pod yet"
"""Stands in the warning about a Service that was written before its Pods."""

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
        return [] if has_slices else [without_endpoints(name)]
    if not selected:
        pods = list(others)
        labelled = any(pod["metadata"].get("labels") for pod in pods)
        near = nearest(selector, pods) if labelled else "; no Pod of the namespace has labels"
        return [without_pods(selector, near)]
    shows_all = publishes_not_ready(service)
    reasons = [reason for pod in selected if (reason := of_pod(pod, shows_all))]
    if len(reasons) > _MOST:
        return [*reasons[:_MOST], f"and {len(reasons) - _MOST} more Pods"]
    return reasons


def without_endpoints(name: str, when: str = "") -> str:
    """Say that a Service has neither a selector nor a slice; `when` may be "yet" or "now"."""
    return (
        f"Service {name} has no selector and no EndpointSlice{_spaced(when)}: give it spec.selector, "
        f"or write a slice with the label kubernetes.io/service-name={name}"
    )


def without_pods(selector: Mapping[str, str], nearest: str = "", when: str = "") -> str:
    """Say that a selector takes in no Pod; `nearest` are the words about the one that comes closest."""
    return f"selector {selector_text(selector)} matches no Pod{_spaced(when)}{nearest}"


def without_address(name: str, when: str = "") -> str:
    """Say that a Pod has no address, and who gives it one."""
    return (
        f"Pod {name} has no address{_spaced(when)}: set status.podIP (no kubelet does that here), "
        "or register it by `svcdns add`"
    )


def _spaced(word: str) -> str:
    return f" {word}" if word else ""


def of_pod(pod: Object, shows_not_ready: bool = False) -> str:
    """Return why a Pod is no ready endpoint of a Service that selects it, "" if it is one."""
    name = pod["metadata"]["name"]
    if not addresses(dict(pod)):
        return without_address(name)
    if is_finished(pod):
        return f"Pod {name} has ended: its phase is {pod['status']['phase']}"
    if shows_not_ready:
        return ""
    if is_terminating(pod):
        return f"Pod {name} is leaving: it was deleted at {pod['metadata']['deletionTimestamp']}"
    decides = deciding(verdicts(pod))
    if decides.ready:
        return ""
    said = f" ({_detail(decides)})" if _detail(decides) else ""
    return f"Pod {name} is not ready{said}: {_remedy(decides, name)}"


def of_sources(pod: Object) -> list[str]:
    """Return what each source says of a Pod's readiness, since when, and what would change it."""
    name = pod["metadata"]["name"]
    said = []
    for one in verdicts(pod):
        text = f"{one.source}: {'ready' if one.ready else 'not ready'}"
        text += f" since {one.since}" if one.since else ""
        text += f" ({detail})" if (detail := _detail(one)) else ""
        said.append(text if one.ready else f"{text}: {_remedy(one, name)}")
    return said or ["nobody says whether it is ready: it is, as soon as it has an address"]


def _detail(verdict: Verdict) -> str:
    """Return what a source says beside ready or not."""
    is_word = verdict.source == Source.REPORTED and verdict.reason != AS_REPORTED
    return " ".join(word for word in (verdict.reason if is_word else "", verdict.message) if word)


def _remedy(verdict: Verdict, name: str) -> str:
    """Return what would change the verdict of a source that holds a Pod back."""
    match verdict.source:
        case Source.OVERRIDE:
            return f"kubectl annotate pod {name} {READY_ANNOTATION}-"
        case Source.HEARTBEAT:
            return "its next heartbeat changes that"
        case Source.PROBE if verdict.reason != PROBE_NOT_RUN:
            return "it is ready again when the probe succeeds"
        case Source.GATES:
            return "whoever the gate belongs to sets that condition to True"
        case Source.LEAVING:
            return "it was deleted, and does not come back"
    return f"svcdns ready {name}"


def nearest(selector: Mapping[str, str], pods: Iterable[Object]) -> str:
    """Return the Pod whose labels come closest, in words; "" where none is close."""
    wanted = [f"{key}={value}" for key, value in selector.items()]
    labels = {
        f"{key}={value}": pod["metadata"]["name"]
        for pod in pods
        for key, value in (pod["metadata"].get("labels") or {}).items()
    }
    for text in wanted:
        if near := closest(text, labels):
            return f"; Pod {labels[near]} has {near}"
    values = {label.partition("=")[2]: label for label in labels}
    for value in selector.values():
        if value in values:
            return f"; Pod {labels[values[value]]} has {values[value]}"
    return ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a question about the closest of the names that there are, "" where none is close."""
    near = closest(word, known)
    return f"; did you mean {near}?" if near else ""
