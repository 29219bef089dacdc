"""How many objects and endpoints there are, without a walk through all keys each time that somebody asks.

A count holds until the next commit.  In a large registry it also holds for a time after one, so that whoever
asks often takes no more than a part of this process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from svcdns.objects.kinds import STORED
from svcdns.registry.registry import Registry
from svcdns.store.environment import Store

_T = TypeVar("_T")

CHEAP_SECONDS = 0.005
"""What takes less to count is counted after each commit."""
TIMES_AS_LONG = 20
"""What takes more holds for so many times as long."""


class Counted(Generic[_T]):
    """A count of what is in the store."""

    def __init__(
        self, store: Store, count: Callable[[], _T], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`count` looks at all of it; `clock` is in seconds."""
        self._store = store
        self._count = count
        self._clock = clock
        self._found: tuple[int, _T] | None = None
        """The last transaction that it has counted, and what it found."""
        self._holds_until = 0.0

    def get(self) -> _T:
        """Return the count."""
        newest = self._store.env.info()["last_txnid"]
        began = self._clock()
        if self._found is not None and (self._found[0] == newest or began < self._holds_until):
            return self._found[1]
        self._found = newest, self._count()
        ended = self._clock()
        took = ended - began
        self._holds_until = ended + (TIMES_AS_LONG * took if took >= CHEAP_SECONDS else 0.0)
        return self._found[1]


class Counts:
    """The counts that /metrics and `svcdns status` show."""

    def __init__(self, registry: Registry) -> None:
        """Nothing is counted before somebody asks."""
        self.objects: Counted[Mapping[str, int]] = Counted(
            registry.store, lambda: {kind.name: registry.count(kind) for kind in STORED}
        )
        """Objects of each stored kind, by its name."""
        self.endpoints: Counted[dict[str, int]] = Counted(registry.store, registry.endpoint_counts)
        """As Registry.endpoint_counts."""
