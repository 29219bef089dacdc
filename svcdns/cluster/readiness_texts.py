"""What a Pod's readiness goes by, in the words of Events: they say nothing that differs each time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .readiness import (
    AS_REPORTED,
    PROBE_NOT_RUN,
    READY_ANNOTATION,
    Source,
    Verdict,
    conditions_of,
    deciding,
    is_terminating,
    report_in,
    verdicts,
)

_MOST_DETAIL = 300
"""Characters of a client's own words (a condition's message) that are repeated."""

Object = Mapping[str, Any]


def why_text(pod: Object) -> str:
    """Return why a Pod is ready, or why it is not (the order is that of `readiness`)."""
    if is_terminating(pod):
        return "the Pod is being deleted"
    decides = deciding(verdicts(pod), leaving=False)
    return _report_text(pod) if decides.source == Source.REPORTED else _source_text(pod, decides)


def _report_text(pod: Object) -> str:
    """Return what was reported of a Pod."""
    reported = report_in(conditions_of(pod)) or {}
    reason = reported.get("reason", "")
    text = f"condition Ready is {reported.get('status', 'Unknown')}"
    text += f", {reason}" if reason not in ("", AS_REPORTED) else ""
    return f"{text} ({reported['message'][:_MOST_DETAIL]})" if reported.get("message") else text


def _source_text(pod: Object, verdict: Verdict) -> str:
    """Return what another source says of a Pod."""
    detail = f" ({verdict.message[:_MOST_DETAIL]})" if verdict.message else ""
    match verdict.source:
        case Source.OVERRIDE:
            override = pod["metadata"]["annotations"][READY_ANNOTATION]
            return f"annotation {READY_ANNOTATION} is {override[:_MOST_DETAIL]!r}"
        case Source.HEARTBEAT:
            return "its heartbeats come in time" if verdict.ready else verdict.message[:_MOST_DETAIL]
        case Source.PROBE if verdict.reason == PROBE_NOT_RUN:
            return f"{verdict.message}; set the Ready condition through /status"
        case Source.PROBE:
            return f"its readinessProbe {'succeeds' if verdict.ready else 'fails'}{detail}"
        case Source.GATES:
            return f"{verdict.message[:_MOST_DETAIL]} (spec.readinessGates)"
    return "nobody has set its Ready condition, so it is taken as ready"
