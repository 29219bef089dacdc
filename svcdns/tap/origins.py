"""Whose a name is, so that a record can say where its answer came from: by the zones that are served."""

from __future__ import annotations

from collections.abc import Iterable

from svcdns.store.snapshot import Begin, Zone
from svcdns.wire.key import parent_keys

_MOST_KEPT = 8192


class Origins:
    """The zones of a server, as its store had them last; may be called (see record.Whose)."""

    def __init__(self) -> None:
        self._zones: tuple[Zone, ...] = ()
        self._sources: dict[bytes, str] = {}
        self._known: dict[bytes, str] = {}

    def refresh(self, begin: Begin) -> None:
        """See which zones there are now."""
        with begin() as snapshot:
            serving = snapshot.serving if snapshot is not None else None
        if serving is not None and serving.zones != self._zones:
            self.take(serving.zones)

    def take(self, zones: Iterable[Zone]) -> None:
        """Take these zones; of two with one origin the registry's counts."""
        self._zones = tuple(zones)
        ordered = sorted(self._zones, key=lambda zone: zone.kind != "file")
        self._sources = {zone.key: "zone" if zone.kind == "file" else "own" for zone in ordered}
        self._known.clear()

    def __call__(self, key: bytes) -> str:
        """Return whose a name is: "own", "zone" or ""."""
        if (known := self._known.get(key)) is not None:
            return known
        if len(self._known) >= _MOST_KEPT:
            self._known.clear()
        parents = (*parent_keys(key), b"")
        found = next((self._sources[parent] for parent in parents if parent in self._sources), "")
        self._known[key] = found
        return found
