"""Who of several has what they all ask for: a frontend, or the port of a health check.

Rules:

* the older Service keeps it; of equally old ones the first by name;
* what was waited for is had as soon as it is given up, and by nobody else in between;
* what has become different is collected until it is taken, and what is again as it was before is left out.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Claim(NamedTuple, Generic[V]):
    age: str
    """When the Service was made, as the API says it: sorts like time."""
    service: str
    value: V

    @property
    def rank(self) -> tuple[str, str]:
        return self.age, self.service


class Claims(Generic[K, V]):
    """What is claimed, by whom, and who has it."""

    def __init__(self) -> None:
        """Nothing is claimed."""
        self._held: dict[K, _Claim[V]] = {}
        self._waiting: dict[K, dict[str, _Claim[V]]] = {}
        self._of: dict[str, tuple[K, ...]] = {}
        self._before: dict[K, V | None] = {}

    def claim(self, service: str, age: str, values: Mapping[K, V]) -> set[str]:
        """Have a Service claim these and nothing else; return the other Services that this concerns."""
        others: set[str] = set()
        for key in self._of.get(service, ()):
            if key not in values:
                others |= self._give_up(key, service)
        for key, value in values.items():
            others |= self._add(key, _Claim(age, service, value))
        if values:
            self._of[service] = tuple(values)
        else:
            self._of.pop(service, None)
        return others - {service}

    def changed(self) -> dict[K, V | None]:
        """Return what has become different since the last call, with its value now; None: nobody has it."""
        before, self._before = self._before, {}
        now = {key: self.value(key) for key in before}
        return {key: value for key, value in now.items() if value != before[key]}

    def value(self, key: K) -> V | None:
        """Return what the one who has it has claimed."""
        held = self._held.get(key)
        return None if held is None else held.value

    def all(self) -> dict[K, V]:
        """Return all that somebody has."""
        return {key: held.value for key, held in self._held.items()}

    def not_had(self, service: str) -> list[tuple[K, str]]:
        """Return what a Service claims and does not have, and who has it."""
        if not self._waiting:
            return []
        claimed = self._of.get(service, ())
        return [(key, self._held[key].service) for key in claimed if service in self._waiting.get(key, ())]

    def _add(self, key: K, claim: _Claim[V]) -> set[str]:
        held = self._held.get(key)
        if held is None or (held.service == claim.service and key not in self._waiting):
            self._hold(key, claim)
            return set()
        return self._settle(key, claim.service, claim)

    def _give_up(self, key: K, service: str) -> set[str]:
        if key in self._waiting:
            return self._settle(key, service, None)
        self._note(key)
        del self._held[key]
        return set()

    def _settle(self, key: K, service: str, claim: _Claim[V] | None) -> set[str]:
        """Decide anew who has a key; return all whom that concerns."""
        held = self._held[key]
        claims = {**self._waiting.pop(key, {}), held.service: held}
        claims.pop(service, None)
        if claim is not None:
            claims[service] = claim
        first = min(claims.values(), key=lambda one: one.rank)
        self._hold(key, first)
        if len(claims) > 1:
            self._waiting[key] = {who: one for who, one in claims.items() if who != first.service}
        return {held.service, *claims}

    def _hold(self, key: K, claim: _Claim[V]) -> None:
        self._note(key)
        self._held[key] = claim

    def _note(self, key: K) -> None:
        if key not in self._before:
            self._before[key] = self.value(key)
