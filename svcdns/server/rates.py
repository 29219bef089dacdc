"""How many questions a second are answered, and how: from the counters that all processes publish.

These are exact, whatever is recorded by the tap.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from svcdns.dns import stats

SPANS: Mapping[str, int] = {"1s": 1, "10s": 10, "60s": 60}
"""Seconds, by their names."""
_ZONES = {"cluster": "own", "reverse": "own", "file": "zone", "other": "none", "forward": "forward"}
"""The zone of a counter as the source of an answer; those from the cache are counted apart."""


class Rates:
    """Remembers what the counters were in the last minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Counter[tuple[str, str]]]] = deque(maxlen=SPANS["60s"] + 1)

    def see(self, totals: Sequence[int], now: float) -> None:
        """Take the counters as they are now (seconds of a clock that never goes back), about once a
        second."""
        self._seen.append((now, _counted(totals)))

    def shown(self) -> dict[str, Any]:
        """Return what there was a second, by span: all questions, by rcode and by source."""
        return {name: self._over(seconds) for name, seconds in SPANS.items()}

    def _over(self, seconds: int) -> dict[str, Any]:
        if len(self._seen) < 2:
            return {"questions": 0.0, "rcodes": {}, "sources": {}}
        now, last = self._seen[-1]
        before, first = self._seen[max(0, len(self._seen) - 1 - seconds)]
        passed = max(now - before, 1e-3)
        rates = {key: (last[key] - first[key]) / passed for key in last}
        return {
            "questions": round(sum(rate for (what, _), rate in rates.items() if what == "rcode"), 3),
            "rcodes": {
                name: round(rate, 3) for (what, name), rate in rates.items() if what == "rcode" and rate
            },
            "sources": {
                name: round(rate, 3) for (what, name), rate in rates.items() if what == "source" and rate
            },
        }


def _counted(totals: Sequence[int]) -> Counter[tuple[str, str]]:
    """Return the counts of replies, by what they say and where they came from."""
    found: Counter[tuple[str, str]] = Counter()
    for count in stats.replies(tuple(totals)):
        found["rcode", count.rcode] += count.value
        found["source", _ZONES[count.zone]] += count.value
    hits = totals[stats.CACHE_HITS]
    found["source", "cache"] = hits
    found["source", "forward"] -= hits
    return found
