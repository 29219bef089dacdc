"""What was read lately, for those who are about to read the same.

Watchers that come back together, or are told of the same change, ask for the same pieces within moments:
these are read, selected and encoded once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

OCTETS = 4 << 20
"""Of objects; what the API has made of them comes on top, about as much."""


class Recent(Generic[T]):
    """Values by key, the oldest of which make room."""

    def __init__(self, most: int = OCTETS) -> None:
        """`most` is in octets."""
        self._most = most
        self._held = 0
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def get(self, key: Hashable) -> T | None:
        """Return a value that is still there."""
        found = self._values.get(key)
        return None if found is None else found[0]

    def put(self, key: Hashable, value: T, octets: int) -> T:
        """Keep a value of a size, unless it is larger than all may be together; return it."""
        if octets > self._most or key in self._values:
            return value
        self._values[key] = (value, octets)
        self._held += octets
        while self._held > self._most:
            _, (_, size) = self._values.popitem(last=False)
            self._held -= size
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._held = 0
