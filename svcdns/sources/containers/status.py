"""What a source says of itself: counters for /metrics, and which containers were taken, as values of JSON.

Times are of the monotonic clock, which all processes of a machine share: an age is right whatever clocks do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .plan import QUIET, Outcome, Remark
from .published import LAG_BOUNDS

_MOST_ACTIONS = 50


@dataclass(slots=True)
class EngineStatus:
    """How one engine fares."""

    name: str
    endpoint: str
    up: bool = False
    why: str = "it has not answered yet"
    """Why it is not up."""
    version: str = ""
    api: str = ""
    listed: float = 0.0
    """When all was listed last, 0 for never."""
    events: Counter[str] = field(default_factory=Counter)
    resyncs: Counter[str] = field(default_factory=Counter)
    registered: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    writes: int = 0
    lag_count: int = 0
    lag_sum: float = 0.0
    lag: list[int] = field(default_factory=lambda: [0] * (len(LAG_BOUNDS) + 1))
    containers: list[dict[str, Any]] = field(default_factory=list)

    def heard(self, action: str) -> None:
        """Count an event; words that an engine makes up are counted together."""
        known = action in self.events or len(self.events) < _MOST_ACTIONS
        self.events[action if known else "other"] += 1

    def lagged(self, seconds: float) -> None:
        """Count how long it took from an event to its effect."""
        self.lag_count += 1
        self.lag_sum += seconds
        self.lag[next((at for at, bound in enumerate(LAG_BOUNDS) if seconds <= bound), len(LAG_BOUNDS))] += 1

    def take(self, outcomes: Iterable[Outcome], problems: Iterable[Remark]) -> bool:
        """Take what became of all containers; return whether any row is another than before."""
        by_object = {one.about: one for one in problems}
        rows, skipped = [], Counter[str]()
        for one in sorted(outcomes, key=lambda outcome: (outcome.container.name, outcome.container.id)):
            taken = by_object.get(one.pod)
            reason = taken.reason if taken is not None and taken.reason != "FieldTaken" else one.reason
            remarks = [*([taken] if taken is not None else []), *one.remarks]
            remarks += [by_object[key] for key in one.services if key in by_object]
            if reason and reason not in QUIET:
                skipped[reason] += 1
            rows.append(_row(self.name, one, reason, remarks))
        changed = rows != self.containers
        self.containers, self.skipped = rows, skipped
        self.registered = sum(not row["reason"] for row in rows)
        return changed

    def metrics(self) -> dict[str, Any]:
        """Return the counters as values of JSON."""
        return {
            "engine": self.name or self.endpoint,
            "endpoint": self.endpoint,
            "up": self.up,
            "why": "" if self.up else self.why,
            "version": self.version,
            "api": self.api,
            "listed": self.listed,
            "events": dict(self.events),
            "resyncs": dict(self.resyncs),
            "registered": self.registered,
            "skipped": dict(self.skipped),
            "writes": self.writes,
            "lag": {"count": self.lag_count, "sum": self.lag_sum, "buckets": self.lag},
        }


def _row(engine: str, one: Outcome, reason: str, remarks: Iterable[Remark]) -> dict[str, Any]:
    pod = one.pod
    return {
        "engine": engine,
        "container": one.container.name[:200],
        "id": one.container.id[:12],
        "state": one.container.state,
        "pod": f"{pod.namespace}/{pod.name}" if pod is not None and not reason else "",
        "services": [key.name for key in one.services] if not reason else [],
        "reason": reason,
        "remarks": [remark.text[:500] for remark in remarks],
    }
