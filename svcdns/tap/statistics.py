"""What is asked most, by whom, and how long answers take: counted over records, shown for the last minutes.

Counts are of questions: a record that stands for 16 of them counts 16.  Three spans are kept in parts that
are thrown away one after the other, so a span is at most one part too long.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, log2
from typing import Any

from svcdns.wire.key import key_of, text_of_key

from .record import Record
from .space_saving import SpaceSaving, together

CAPACITY = 400
"""Names that are counted at once in a part of a span."""
SHOWN = 50
SPANS: Mapping[str, tuple[float, int]] = {"1m": (10.0, 6), "5m": (60.0, 5), "60m": (300.0, 12)}
"""By their names: seconds of a part, and parts."""
_ANSWERS = frozenset({"NOERROR", "NXDOMAIN"})
"""All other rcodes are failures."""
_STEPS = 8
"""Steps of the histogram of durations for each doubling: what is said of them is at most 9 % too high."""


@dataclass(slots=True)
class _Part:
    """What came in a part of a span."""

    begun: float
    names: SpaceSaving = field(default_factory=lambda: SpaceSaving(CAPACITY))
    clients: SpaceSaving = field(default_factory=lambda: SpaceSaving(CAPACITY))
    namespaces: SpaceSaving = field(default_factory=lambda: SpaceSaving(CAPACITY))
    nxdomain: SpaceSaving = field(default_factory=lambda: SpaceSaving(CAPACITY))
    sources: Counter[str] = field(default_factory=Counter)
    rcodes: Counter[str] = field(default_factory=Counter)
    durations: dict[str, Counter[int]] = field(default_factory=dict)


class Statistics:
    """The statistics of one server."""

    def __init__(self, sample: int = 1, domain: str = "cluster.local") -> None:
        """Each record stands for at least `sample` questions; `domain` is the cluster domain."""
        self._sample = sample
        self._below = key_of(domain) + b"svc\0"
        self._spans: dict[str, deque[_Part]] = {
            name: deque(maxlen=parts) for name, (_, parts) in SPANS.items()
        }

    def add(self, records: Iterable[Record], now: float) -> None:
        """Count records that came about `now` (seconds of a clock that never goes back)."""
        parts = [self._part(name, now) for name in SPANS]
        for record in records:
            weight, name = max(record.sample, self._sample), record.name or "(malformed)"
            step = ceil(_STEPS * log2(max(1, record.duration)))
            took, rcode = weight * record.duration / 1e9, record.rcode
            failed = 0 if rcode in _ANSWERS else weight
            namespace = self._namespace(record) if rcode != "NXDOMAIN" else ""
            for part in parts:
                part.names.add(name, weight, 0, failed, took)
                part.clients.add(record.client, weight, 0, failed, took)
                if namespace:
                    part.namespaces.add(namespace, weight, 0, failed, took)
                if rcode == "NXDOMAIN":
                    part.nxdomain.add(name, weight, 0, failed, took)
                part.sources[record.source] += weight
                part.rcodes[record.rcode] += weight
                part.durations.setdefault(record.source, Counter())[step] += weight

    def _namespace(self, record: Record) -> str:
        """Return the namespace that a name is in, "" for none.

        What does not exist has none: a search list makes names in namespaces that nobody thought of.
        """
        if not record.key.startswith(self._below):
            return ""
        label = record.key[len(self._below) :].partition(b"\0")[0]
        return text_of_key(label + b"\0").removesuffix(".") if label else ""

    def _part(self, span: str, now: float) -> _Part:
        """Return the part that is counted in now, without those whose time is over."""
        seconds, most = SPANS[span]
        parts = self._spans[span]
        while parts and parts[0].begun <= now - seconds * most:
            parts.popleft()
        if not parts or now - parts[-1].begun >= seconds:
            parts.append(_Part(now))
        return parts[-1]

    def shown(self, now: float) -> dict[str, Any]:
        """Return them as JSON has them, by span."""
        for span in SPANS:
            self._part(span, now)
        return {span: _shown(list(parts)) for span, parts in self._spans.items()}


def _shown(parts: list[_Part]) -> dict[str, Any]:
    sources, rcodes = Counter[str](), Counter[str]()
    durations: dict[str, Counter[int]] = {}
    for part in parts:
        sources.update(part.sources)
        rcodes.update(part.rcodes)
        for source, steps in part.durations.items():
            durations.setdefault(source, Counter()).update(steps)
    return {
        "questions": sum(sources.values()),
        "sources": dict(sources),
        "rcodes": dict(rcodes),
        "durations": {source: _quantiles(steps) for source, steps in durations.items()},
        "names": _top(part.names for part in parts),
        "clients": _top(part.clients for part in parts),
        "namespaces": _top(part.namespaces for part in parts),
        "nxdomain": _top(part.nxdomain for part in parts),
    }


def _top(parts: Iterable[SpaceSaving]) -> list[dict[str, Any]]:
    found = together(parts, CAPACITY).top(SHOWN)
    return [
        {
            "name": one.name,
            "count": one.times,
            "error": one.error,
            "failed": one.failed,
            "seconds": one.took / max(1, one.times - one.error),
        }
        for one in found
    ]


def _quantiles(steps: Counter[int]) -> dict[str, float]:
    """Return the median and the 99th percentile, in seconds."""
    total, found = sum(steps.values()), {}
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        sofar = 0
        for step in sorted(steps):
            sofar += steps[step]
            if sofar >= part * total:
                found[name] = 2 ** (step / _STEPS) / 1e9
                break
    return found
