"""The most frequent of very many things, in bounded memory: Space-Saving.

A. Metwally, D. Agrawal, A. El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams",
2005. Whatever comes more often than one in CAPACITY times is in it; its count is at most `error` too high.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple


class Frequent(NamedTuple):
    """One of them."""

    name: str
    times: int
    error: int
    """By so much that may be too high."""
    failed: int = 0
    """So many of them failed."""
    took: float = 0.0
    """What they took together, in seconds; those in `error` are not in it."""


class SpaceSaving:
    """Counts of the most frequent."""

    def __init__(self, capacity: int) -> None:
        """At most so many are counted at once."""
        self._capacity = capacity
        self._counts: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        """Of those alone that ever fail."""
        self._took: dict[str, float] = {}
        self._heap: list[tuple[int, str]] = []
        """The counts as they were when somebody last looked for the smallest: at most what they are now."""

    def add(self, name: str, count: int = 1, error: int = 0, failed: int = 0, took: float = 0.0) -> None:
        """Count one more, or so many; `error` is by how much that may be too high already.

        So many of them `failed`, and all together `took` so long (seconds).
        """
        counts = self._counts
        if name in counts:
            counts[name] += count
            self._took[name] += took
            if error:
                self._errors[name] += error
        else:
            if len(counts) < self._capacity:
                counts[name], self._errors[name] = count, error
                heapq.heappush(self._heap, (count, name))
            else:
                self._take_over(name, count, error)
            self._took[name] = took
        if failed:
            self._failed[name] = self._failed.get(name, 0) + failed

    def _take_over(self, name: str, count: int, error: int) -> None:
        """Let a new one have the place, and the count, of the one that has come least often."""
        heap, counts = self._heap, self._counts
        while (known := heap[0])[0] != (now := counts[known[1]]):
            heapq.heapreplace(heap, (now, known[1]))
        least, out = known
        del counts[out], self._errors[out], self._took[out]
        self._failed.pop(out, None)
        counts[name], self._errors[name] = least + count, least + error
        heapq.heapreplace(heap, (least + count, name))

    def top(self, most: int) -> list[Frequent]:
        """Return the most frequent, first the one that came most often."""
        names = heapq.nsmallest(most, self._counts, key=lambda name: (-self._counts[name], name))
        return [self._of(name) for name in names]

    def all(self) -> Iterable[Frequent]:
        """Return all that are counted."""
        return map(self._of, self._counts)

    def _of(self, name: str) -> Frequent:
        failed, took = self._failed.get(name, 0), self._took[name]
        return Frequent(name, self._counts[name], self._errors[name], failed, took)


def together(parts: Iterable[SpaceSaving], capacity: int) -> SpaceSaving:
    """Return what several have counted, as one."""
    sums: dict[str, Frequent] = {}
    for part in parts:
        for one in part.all():
            before = sums.get(one.name)
            sums[one.name] = one if before is None else _sum(before, one)
    found = SpaceSaving(capacity)
    for one in sums.values():
        found.add(*one)
    return found


def _sum(one: Frequent, other: Frequent) -> Frequent:
    failed, took = one.failed + other.failed, one.took + other.took
    return Frequent(one.name, one.times + other.times, one.error + other.error, failed, took)
