"""Is a Pod ready, and is it an endpoint at all?

Ready is computed, never taken from anybody: a Pod is ready when each source that says something about it says
so.  The sources, in the order in which they count:

    override    the annotation `svcdns.io/ready`: "true" or "false"; stronger than all below but the last
    reported    what a client wrote as the condition Ready, kept as the condition svcdns.io/Reported
    heartbeat   the condition svcdns.io/Heartbeat, of a Pod that promises heartbeats
    probe       the condition svcdns.io/Probe, of a Pod with a readinessProbe, written by who runs probes
    gates       the conditions named in spec.readinessGates
    leaving     the Pod is being deleted

A Pod with an address about which nobody says anything is ready, as in Kubernetes.  What is stored as the
condition Ready follows from here (`pod_conditions`); nothing here reads it but where nothing else is there.
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from svcdns.objects.heartbeat_rules import HEARTBEAT_ANNOTATION
from svcdns.objects.syntax import address_of

READY_ANNOTATION = "svcdns.io/ready"
READY, CONTAINERS_READY = "Ready", "ContainersReady"
REPORTED, HEARTBEAT, PROBE = "svcdns.io/Reported", "svcdns.io/Heartbeat", "svcdns.io/Probe"

ASSUMED_READY = "AssumedReady"
PROBE_NOT_RUN = "ProbeNotRun"
GATES_NOT_READY = "ReadinessGatesNotReady"
AS_REPORTED = "AsReported"
"""Reason of a Ready condition that follows a report without a reason of its own."""
_BY_ANNOTATION = {True: "ReadyByAnnotation", False: "NotReadyByAnnotation"}
_BY_HEARTBEAT = {True: "ReadyByHeartbeat", False: "NotReadyByHeartbeat"}
_BY_PROBE = {True: "ReadyByProbe", False: "NotReadyByProbe"}
_BY_DELETION = "NotReadyByDeletion"
_OURS = {
    ASSUMED_READY: "True",
    PROBE_NOT_RUN: "False",
    GATES_NOT_READY: "False",
    _BY_DELETION: "False",
    **{
        reasons[ready]: str(ready)
        for reasons in (_BY_ANNOTATION, _BY_HEARTBEAT, _BY_PROBE)
        for ready in reasons
    },
}
"""Reason -> status of a Ready condition that is computed: no client says these words itself."""

FINISHED_PHASES = frozenset({"Succeeded", "Failed"})
NAMELESS_PHASES = FINISHED_PHASES | {"Unknown"}
"""Pods in these phases have no name under pod.Z."""

Object = Mapping[str, Any]
Conditions = Mapping[str, dict[str, Any]]
"""By their types."""


class Source:
    """Names of the sources, as people are told of them."""

    OVERRIDE, REPORTED, HEARTBEAT = "override", "reported", "heartbeat"
    PROBE, GATES, LEAVING = "probe", "gates", "leaving"
    NOBODY = "nobody"


class Verdict(NamedTuple):
    """What one source says about a Pod."""

    source: str
    ready: bool
    reason: str
    message: str = ""
    since: str = ""
    """RFC 3339; empty where nobody knows."""


def addresses(pod: Object) -> list[IPv4Address | IPv6Address]:
    """Return the Pod's addresses, at most one a family, primary first."""
    status = pod.get("status") or {}
    listed = [entry.get("ip") for entry in status.get("podIPs") or []] or [status.get("podIP")]
    return [address_of(text) for text in listed if text]


def is_terminating(pod: Object) -> bool:
    """Return whether the Pod has been deleted and only its grace period is left."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_finished(pod: Object) -> bool:
    """Return whether the Pod's processes have ended; such a Pod is no endpoint."""
    return (pod.get("status") or {}).get("phase") in FINISHED_PHASES


def has_pod_name(pod: Object) -> bool:
    """Return whether the Pod's addresses have names under pod.Z (E3)."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in NAMELESS_PHASES and not is_terminating(pod)


def is_ready(pod: Object) -> bool:
    """Return whether the Pod is ready, termination apart: whether it serves."""
    return deciding(verdicts(pod), leaving=False).ready


def is_shown_ready(pod: Object) -> bool:
    """Return whether the condition Ready of a stored Pod is True."""
    return (conditions_of(pod).get(READY) or _NONE).get("status") == "True"


def running_containers(pod: Object) -> list[dict[str, Any]]:
    """Return the containers that run as long as the Pod: its own, then sidecars."""
    spec = pod.get("spec") or {}
    containers: list[dict[str, Any]] = spec.get("containers") or []
    if not (first := spec.get("initContainers")):
        return containers
    return [*containers, *(one for one in first if one.get("restartPolicy") == "Always")]


def readiness_probes(pod: Object) -> list[dict[str, Any]]:
    """Return the readiness probes of a Pod's containers."""
    return [one["readinessProbe"] for one in running_containers(pod) if one.get("readinessProbe")]


def conditions_of(pod: Object) -> dict[str, dict[str, Any]]:
    """Return the conditions of a Pod by their types."""
    return {one.get("type", ""): one for one in (pod.get("status") or {}).get("conditions") or []}


def report_in(conditions: Conditions) -> dict[str, Any] | None:
    """Return what a client has reported; in data of older versions that is a Ready that is not computed."""
    if (reported := conditions.get(REPORTED)) is not None:
        return reported
    ready = conditions.get(READY)
    return ready if ready is not None and not is_computed(ready) else None


def is_computed(ready: Object) -> bool:
    """Return whether a Ready condition is one that the server made, known by its reason."""
    reason = ready.get("reason") or ""
    return reason == AS_REPORTED or (reason in _OURS and ready.get("status") == _OURS[reason])


def deciding(said: list[Verdict], *, leaving: bool = True) -> Verdict:
    """Return the verdict by which a Pod is ready or not, of all that there are.

    That is the first that holds the Pod back, else the first that speaks for it.  With the override "true"
    nothing holds it back but that it is leaving; `leaving` False: not even that.
    """
    for one in said:
        if one.source == Source.OVERRIDE and one.ready:
            return said[-1] if leaving and said[-1].source == Source.LEAVING else one
        if not one.ready and (leaving or one.source != Source.LEAVING):
            return one
    return next((one for one in said if one.ready and one.source != Source.GATES), _NOBODY)


_NOBODY = Verdict(Source.NOBODY, True, ASSUMED_READY)


def verdicts(pod: Object, conditions: Conditions | None = None) -> list[Verdict]:
    """Return what each source says that says anything, in their order.

    `conditions` are those that count, by type, where they are not the Pod's own.
    """
    if conditions is None:
        conditions = conditions_of(pod)
    metadata, said = pod["metadata"], []
    override = (metadata.get("annotations") or _NONE).get(READY_ANNOTATION)
    if override is not None:
        ready, text = override == "true", f"annotation {READY_ANNOTATION}: {override[:_MOST_SHOWN]}"
        said.append(Verdict(Source.OVERRIDE, ready, _BY_ANNOTATION[ready], text))
    reported = report_in(conditions) if conditions else None
    if reported is not None:
        said.append(_verdict(Source.REPORTED, reported, reported.get("reason") or AS_REPORTED))
    if (heartbeat := conditions.get(HEARTBEAT)) is not None:
        said.append(_verdict(Source.HEARTBEAT, heartbeat, _BY_HEARTBEAT[heartbeat.get("status") == "True"]))
    if probes := readiness_probes(pod):
        said += _probe_verdicts(probes, conditions.get(PROBE), reported is not None)
    is_older = reported is not None and REPORTED not in conditions  # then a report counted without gates
    if not is_older and (gates := (pod.get("spec") or _NONE).get("readinessGates")):
        said.append(_gate_verdict([gate.get("conditionType", "") for gate in gates], conditions))
    if deleted := metadata.get("deletionTimestamp"):
        said.append(Verdict(Source.LEAVING, False, _BY_DELETION, f"deleted; it goes at {deleted}"))
    return said


_NONE: dict[str, Any] = {}
_MOST_SHOWN = 300
"""Characters of an annotation that are repeated."""


def _verdict(source: str, condition: Object, reason: str) -> Verdict:
    ready = condition.get("status") == "True"
    since = condition.get("lastTransitionTime") or ""
    return Verdict(source, ready, reason, condition.get("message") or "", since)


def _probe_verdicts(
    probes: list[dict[str, Any]], result: Object | None, is_reported: bool
) -> Iterator[Verdict]:
    """What probes say: their result; where there is none, a report stands for it, as for exec always."""
    if result is not None and result.get("status") in ("True", "False"):
        yield _verdict(Source.PROBE, result, _BY_PROBE[result["status"] == "True"])
    elif not is_reported:
        yield Verdict(Source.PROBE, False, PROBE_NOT_RUN, "no result of its readinessProbe")
        return
    if not is_reported and any("exec" in probe for probe in probes):
        yield Verdict(Source.PROBE, False, PROBE_NOT_RUN, "an exec probe is not run here")


def _gate_verdict(gates: list[str], conditions: Conditions) -> Verdict:
    for gate in gates:
        found = conditions.get(gate, _NONE)
        if found.get("status") != "True":
            text = f"condition {gate} is {found.get('status') or 'not there'}"
            return Verdict(Source.GATES, False, GATES_NOT_READY, text, found.get("lastTransitionTime") or "")
    return Verdict(Source.GATES, True, "ReadinessGatesReady")


def promises_heartbeats(pod: Object) -> bool:
    """Return whether a Pod has the annotation by which its heartbeats are waited for."""
    return HEARTBEAT_ANNOTATION in (pod["metadata"].get("annotations") or {})
