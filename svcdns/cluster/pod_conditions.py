"""Whose the conditions of a Pod are: what clients write, what is kept of it, what the server computes.

    Ready, ContainersReady   computed from all sources whenever the Pod is stored (`readiness`)
    svcdns.io/Reported       what a client wrote as Ready; goes when a client takes Ready away
    svcdns.io/Heartbeat      the server's, there as long as the Pod promises heartbeats
    svcdns.io/Probe          written by who runs probes; a write that leaves it out leaves it as it is
    all others               the clients'

A client that writes back what it read must not pin it: a Ready with the status, reason, message and
lastTransitionTime of the one that is served is an echo and no report.  So is an older one, known by a reason
that only the server gives.  Patches that merge conditions by their type are carried out on the Pod as
clients wrote it (`as_written`), so that what they name is what they say, and nothing of a computed Ready
mixes with it.

Pure; times are given (RFC 3339).  Conditions are never changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .readiness import (
    AS_REPORTED,
    CONTAINERS_READY,
    HEARTBEAT,
    PROBE,
    READY,
    REPORTED,
    Source,
    Verdict,
    addresses,
    conditions_of,
    deciding,
    is_computed,
    promises_heartbeats,
    readiness_probes,
    report_in,
    verdicts,
)

Condition = dict[str, Any]
Pod = dict[str, Any]

_SERVERS = frozenset({READY, CONTAINERS_READY, REPORTED, HEARTBEAT})
_SAID = ("status", "reason", "message", "lastTransitionTime")
"""What makes two Ready conditions the same statement."""
IN_TIME, LATE = "InTime", "Late"
"""Reasons of svcdns.io/Heartbeat."""


def as_written(pod: Pod) -> Pod:
    """Return a Pod as clients wrote it: its Ready is what was reported, absent where nothing was."""
    conditions = conditions_of(pod)
    reported = report_in(conditions)
    shown = [c for kind, c in conditions.items() if kind not in _SERVERS]
    if reported is not None:
        shown.insert(0, {**reported, "type": READY})
    return _with(pod, shown)


def as_served(stored: Pod, patched: Pod) -> Pod:
    """Return what a patch made of `as_written(stored)`, with the stored Ready where it left that alone."""
    before, after = conditions_of(as_written(stored)).get(READY), conditions_of(patched)
    if after.get(READY) != before:
        return patched
    served = conditions_of(stored).get(READY)
    others = [condition for kind, condition in after.items() if kind != READY]
    return _with(patched, [served, *others] if served is not None else others)


def kept(old: Pod, new: Pod) -> Pod:
    """Return what a client wrote over `old`, with the conditions that are not the client's to write.

    A Ready that is only an echo is the stored one again; svcdns.io/Probe stays where it is left out.
    """
    before, after = conditions_of(old), conditions_of(new)
    if before == after:
        return new
    served, given = before.get(READY), after.get(READY)
    if given is not None and _is_echo(given, served):
        after.pop(READY)
        if served is not None:
            after[READY] = served
    for kind in (CONTAINERS_READY, REPORTED, HEARTBEAT):
        after.pop(kind, None)
    for kind in (CONTAINERS_READY, PROBE, HEARTBEAT, REPORTED):
        if kind in before:
            after.setdefault(kind, before[kind])
    return _with(new, list(after.values()))


def _is_echo(given: Condition, served: Condition | None) -> bool:
    """Return whether a Ready is what the server once said: now, or before what is served now."""
    if served is not None:
        if all((given.get(word) or "") == (served.get(word) or "") for word in _SAID):
            return True
        same = [word for word in _SAID if given.get(word) == served.get(word)]
        if "status" not in same and {"reason", "lastTransitionTime"} <= set(same):
            return False  # what is served now, with another status
    return is_computed(given)


def with_conditions(pod: Pod, old: Pod | None, now: str) -> Pod:
    """Return a Pod about to be stored with the conditions that follow; `old` is the stored one, if any.

    What a client wrote as Ready becomes the report; then Ready and ContainersReady are computed.  A Pod
    without an address of which nothing was reported has neither.
    """
    status = pod.get("status") or {}
    given = conditions_of(pod)
    before = conditions_of(old) if old is not None else {}
    reported = _reported(given, before, old is None, now) if given else None
    shown = {kind: condition for kind, condition in given.items() if kind not in _SERVERS}
    if (result := shown.pop(PROBE, None)) is not None and _is_probed(pod, old, given, before):
        shown[PROBE] = result  # at the end, as all of svcdns'
    if promises_heartbeats(pod):
        beating = given.get(HEARTBEAT) if old is not None else None
        shown[HEARTBEAT] = beating or _heartbeat(True, "", now)
    if reported is not None:
        shown[REPORTED] = reported
    if reported is not None or status.get("podIP") or status.get("podIPs"):
        computed = _computed(verdicts(pod, shown), reported, given.get(READY), before, now)
        return _with(pod, [*computed, *shown.values()])
    return _with(pod, list(shown.values())) if shown or "conditions" in status else pod


def brought_up_to_date(pod: Pod, now: str) -> Pod:
    """Return a Pod that an older version stored with today's conditions, as ready as it was.

    Its Ready, where a client gave it, counted without the gates: those that nobody has spoken of are met.
    """
    conditions = conditions_of(pod)
    if (report_in(conditions) or {}).get("status") == "True":
        for gate in (pod.get("spec") or {}).get("readinessGates") or []:
            kind = gate["conditionType"]
            met = {"type": kind, "status": "True", "reason": _BEFORE_GATES, "lastTransitionTime": now}
            conditions.setdefault(kind, met)
        pod = _with(pod, list(conditions.values()))
    return with_conditions(pod, pod, now)


_BEFORE_GATES = "ReportedBeforeGatesCounted"


def with_heartbeat(pod: Pod, in_time: bool, period: str, now: str) -> Pod:
    """Return a stored Pod of which a heartbeat came again, or none came for its period ("30s")."""
    others = [condition for kind, condition in conditions_of(pod).items() if kind != HEARTBEAT]
    return _with(pod, [*others, _heartbeat(in_time, "" if in_time else f"no heartbeat for {period}", now)])


def _heartbeat(in_time: bool, message: str, now: str) -> Condition:
    """Return the condition that says whether a Pod's heartbeats come in time."""
    made = {
        "type": HEARTBEAT,
        "status": str(in_time),
        "reason": IN_TIME if in_time else LATE,
        "lastTransitionTime": now,
    }
    return {**made, "message": message} if message else made


def _with(pod: Pod, conditions: list[Condition]) -> Pod:
    return {**pod, "status": {**(pod.get("status") or {}), "conditions": conditions}}


def _is_probed(
    pod: Pod, old: Pod | None, given: Mapping[str, Condition], before: Mapping[str, Condition]
) -> bool:
    """Return whether the result of a probe is about this Pod as it is, its probes and addresses."""
    probes = readiness_probes(pod)
    if not probes:
        return False
    is_new = old is None or given[PROBE] != before.get(PROBE)
    return is_new or (probes == readiness_probes(old or {}) and addresses(pod) == addresses(old or {}))


def _reported(
    given: Mapping[str, Condition], before: Mapping[str, Condition], is_new: bool, now: str
) -> Condition | None:
    """Return what is reported of a Pod after a write, None where nothing is."""
    ready, served = given.get(READY), before.get(READY)
    if is_new:
        if ready is not None and not is_computed(ready):
            return _report(ready, {}, None, now)
        written_out = given.get(REPORTED)  # by a server, with what was reported to that
        return None if written_out is None else _report(written_out, {}, None, now)
    if ready is None:
        return None
    reported = report_in(before)
    if ready != served:
        return _report(ready, served or {}, reported, now)
    if reported is None or reported["type"] == REPORTED:
        return reported
    return _report(reported, {}, None, now)


def _report(ready: Condition, served: Condition, reported: Condition | None, now: str) -> Condition:
    """Return a Ready that a client wrote as a report, without what the served one left in it."""
    had = reported or {}
    words = {key: value for key, value in ready.items() if value not in (None, "")}
    for word in ("reason", "message"):
        if word in words and words[word] == served.get(word) != had.get(word):
            del words[word]
    if words.get("reason") == AS_REPORTED:
        del words["reason"]
    is_same = had.get("status") == words.get("status")
    since = words.get("lastTransitionTime")
    if since is None or (
        not is_same and since in (served.get("lastTransitionTime"), had.get("lastTransitionTime"))
    ):
        since = had.get("lastTransitionTime") if is_same else None
    return {**words, "type": REPORTED, "lastTransitionTime": since or now}


def _computed(
    said: list[Verdict],
    reported: Condition | None,
    given: Condition | None,
    before: Mapping[str, Condition],
    now: str,
) -> tuple[Condition, Condition]:
    """Return Ready and ContainersReady; `given` is the Ready that was written, `before` is what is stored."""
    decides = deciding(said)
    follows = reported if decides.source == Source.REPORTED else None
    ready: Condition = {"type": READY, "status": str(decides.ready), "reason": decides.reason}
    if decides.message:
        ready["message"] = decides.message
    if follows is not None:
        ready = {**follows, **ready, "status": follows["status"]}  # which may be Unknown
    served = before.get(READY)
    ready["lastTransitionTime"] = _since(ready, served, now)
    says_since = (given or {}).get("lastTransitionTime") if given != served else None
    if follows is not None and says_since == follows["lastTransitionTime"]:
        ready["lastTransitionTime"] = says_since  # as the client says
    whole = decides
    if decides.source in _NOT_OF_CONTAINERS:
        whole = deciding([one for one in said if one.source not in _NOT_OF_CONTAINERS])
    containers: Condition = {"type": CONTAINERS_READY, "status": str(whole.ready)}
    if not whole.ready:
        containers["reason"] = whole.reason
    containers["lastTransitionTime"] = _since(containers, before.get(CONTAINERS_READY), now)
    return ready, containers


_NOT_OF_CONTAINERS = (Source.GATES, Source.LEAVING)


def _since(condition: Condition, before: Condition | None, now: str) -> str:
    """Return since when a condition has its status."""
    if before is None or before.get("status") != condition["status"]:
        return now
    return before.get("lastTransitionTime") or now
