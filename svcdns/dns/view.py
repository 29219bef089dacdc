"""One snapshot as a question sees it: which zone a name is in, and what its tables hold there.

A View lives as long as its snapshot (one batch of datagrams), so what it keeps, such as a zone's
negative SOA, needs no invalidation.  Which zones there are is worked out again only when `serving`
has changed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from time import monotonic

import lmdb

from svcdns.config.sections import ForwardConfig
from svcdns.names import packed
from svcdns.store.snapshot import Serving, Snapshot, Zone
from svcdns.wire import header
from svcdns.wire.key import key_of, parent_keys, wire_of_key

from . import stats

STATS_ZONE = {
    "cluster": stats.CLUSTER,
    "aliases": stats.CLUSTER,
    "reverse": stats.REVERSE,
    "file": stats.FILE,
}

_NEGATIVE_SOA = packed.NEGATIVE_SOA.to_bytes(2)
"""Where a row has this type, it is its first."""

PAUSE_SECONDS, LOOK_SECONDS = 0.01, 0.001
"""Between two reasons that one worker gives, and between two looks whether there could be one."""

# Labels next to the cluster domain that are no namespaces, see short_form.
_STANDARD = frozenset({b"svc", b"pod", b"dns", b"dns-version"})


def elsewhere(forward: ForwardConfig) -> tuple[bytes, ...]:
    """Return the keys of the zones that have upstreams of their own."""
    return tuple(key_of(zone.name) for zone in forward.zone)


@dataclass(frozen=True, slots=True)
class Place:
    """Whose a name is: the closest zone of the registry and the closest zone file at or above it."""

    registry: Zone | None
    file: Zone | None

    @property
    def zone(self) -> Zone | None:
        """The zone with the longest origin; of two with one origin, the registry's."""
        if self.registry is None or self.file is None:
            return self.registry or self.file
        return self.file if len(self.file.key) > len(self.registry.key) else self.registry


class ZoneTable:
    """The zones of one `serving`, found by key, and what is asked for elsewhere within them."""

    def __init__(self, serving: Serving, elsewhere: Collection[bytes] = ()) -> None:
        """`elsewhere` are the keys of zones that have upstreams of their own ([[forward.zone]])."""
        self.serving = serving
        self._registry = {zone.key: zone for zone in serving.zones if zone.kind != "file"}
        self._files = {zone.key: zone for zone in serving.zones if zone.kind == "file"}
        self._origins = sorted({*self._registry, *self._files})
        self._tops = _topmost(sorted({*self._origins, *serving.alias_zones}))
        self._routes = tuple(sorted(elsewhere, key=len, reverse=True))
        self._elsewhere = {
            key: found
            for key in self._origins
            if (found := tuple(other for other in elsewhere if other.startswith(key) and other != key))
        }
        self.alias_zones = serving.alias_zones
        self._there = sorted(
            {*self._origins, *self.alias_zones, *chain.from_iterable(self._elsewhere.values())}
        )
        self.boundaries = {*self.alias_zones, *chain.from_iterable(self._elsewhere.values())}
        """Keys at and below which a name in a zone of ours may be somebody else's."""
        self.cluster_key = serving.cluster_key
        self.cluster = self._registry.get(serving.cluster_key)
        self.pods_insecure = serving.pods == "insecure"
        self.svc_key = serving.cluster_key + b"svc\0"
        self.pod_key = serving.cluster_key + b"pod\0"
        self.origin_octets = {key: len(wire_of_key(key)) for key in self._origins}

    def place(self, key: bytes) -> Place:
        """Return the zones that a name is in."""
        registry = file = None
        for ancestor in (*parent_keys(key), b""):
            registry = registry or self._registry.get(ancestor)
            file = file or self._files.get(ancestor)
        return Place(registry, file)

    def is_origin(self, key: bytes) -> bool:
        """Say whether a zone of ours begins at this name."""
        return key in self._registry or key in self._files

    def has_origin_below(self, key: bytes) -> bool:
        """Say whether a zone of ours, or one within ours that is asked for elsewhere, is at or below a name.

        So the name exists.  A zone for aliases counts as one of ours here.
        """
        at = bisect_left(self._there, key)
        return at < len(self._there) and self._there[at].startswith(key)

    def has_origin_beneath(self, zone: Zone) -> bool:
        """Say whether `has_origin_below` could be true of a name in a zone, but for its origin."""
        at = bisect_right(self._there, zone.key)
        return at < len(self._there) and self._there[at].startswith(zone.key)

    def is_elsewhere(self, zone: Zone, key: bytes) -> bool:
        """Say whether a name in a zone of ours is in a longer one that has upstreams of its own."""
        return key.startswith(self._elsewhere.get(zone.key, ()))

    def is_outside(self, key: bytes) -> bool:
        """Say whether a name is neither in a zone of ours, or in one for aliases, nor above one.

        No topmost origin is below another one, so the one before a name decides.
        """
        tops = self._tops
        at = bisect_right(tops, key)
        return (at == 0 or not key.startswith(tops[at - 1])) and (
            at == len(tops) or not tops[at].startswith(key)
        )

    def alias_zone(self, key: bytes) -> bytes | None:
        """Return the topmost zone at or below which a name may be an alias's, None where it can't."""
        if not key.startswith(self.alias_zones):
            return None
        return min((zone for zone in self.alias_zones if key.startswith(zone)), key=len)

    def route(self, key: bytes) -> bytes:
        """Return the longest zone with upstreams of its own that holds a name, b"" if none does."""
        return next((zone for zone in self._routes if key.startswith(zone)), b"")

    def registry_zone_at(self, key: bytes) -> Zone | None:
        """Return the registry's zone with this origin."""
        return self._registry.get(key)

    def file_zone_at(self, key: bytes) -> Zone | None:
        """Return the zone file's zone with this origin."""
        return self._files.get(key)

    def standard_key(self, key: bytes) -> bytes:
        """Return the key under which a name of the cluster domain is stored (short names: add `svc`)."""
        if not self.serving.short_names or len(key) == len(self.cluster_key):
            return key
        beneath = key[len(self.cluster_key) :]
        return key if beneath[: beneath.index(0)] in _STANDARD else self.svc_key + beneath


def _topmost(origins: list[bytes]) -> list[bytes]:
    """Return the origins that are below no other one; they come sorted and stay so."""
    tops: list[bytes] = []
    for origin in origins:
        if not tops or not origin.startswith(tops[-1]):
            tops.append(origin)
    return tops


class Pace:
    """How often a worker says why an answer is empty (svcdns.dns.empty_answers)."""

    def __init__(self) -> None:
        self._next = 0.0

    def is_due(self) -> bool:
        """Return whether it is time for one."""
        return monotonic() >= self._next

    def given(self) -> None:
        """One has been given."""
        self._next = monotonic() + PAUSE_SECONDS

    def looked_in_vain(self) -> None:
        """A name that could have had one has none."""
        self._next = monotonic() + LOOK_SECONDS


class View:
    """A snapshot whose first load has ended, its zones, and what was read of it so far."""

    __slots__ = ("_cursors", "_soas", "may_explain", "may_hand_on", "pace", "serving", "snapshot", "table")

    def __init__(self, snapshot: Snapshot, table: ZoneTable, pace: Pace | None = None) -> None:
        """`pace` says how often an empty answer has a reason; None: never."""
        self.snapshot = snapshot
        self.table = table
        self.serving = table.serving
        self._cursors: dict[bool, lmdb.Cursor] = {}
        self._soas: dict[bytes, tuple[bytes, int]] = {}
        self.pace = pace
        self.may_explain = self.may_hand_on = pace is not None
        """Whether the exact path may still look for a reason, the fast path whether there could be one."""

    def row(self, zone: Zone, key: bytes) -> bytes | None:
        """Return the row of a name in a zone, if it has one."""
        if zone.kind == "file":
            return self.snapshot.zone_row(zone, key)
        return self.snapshot.row(key)

    def has_below(self, zone: Zone, key: bytes) -> bool:
        """Say whether there is a row at or below a name (RFC 8020: then it exists)."""
        of_file = zone.kind == "file"
        cursor = self._cursors.get(of_file)
        if cursor is None:
            cursor = self.cursor(of_file)
        stored = zone.version.to_bytes(4) + key if of_file else key
        if not cursor.set_range(stored):
            return False
        found: bytes = cursor.key()  # type: ignore[assignment]  # no buffers
        return found.startswith(stored)

    def row_up_to(self, zone: Zone, key: bytes, *, itself: bool = True) -> tuple[bytes, bytes] | None:
        """Return the last key of a zone file's rows that is not behind `key`, and its row; None for none.

        Without `itself`: the last one before it.
        """
        cursor = self._cursors.get(True)
        if cursor is None:
            cursor = self.cursor(True)
        prefix = zone.version.to_bytes(4)
        stored = prefix + key
        if not cursor.set_range(stored):
            there = cursor.last()
        else:
            there = (itself and cursor.key() == stored) or cursor.prev()
        if not there:
            return None
        found: bytes = cursor.key()  # type: ignore[assignment]  # no buffers
        row: bytes = cursor.value()  # type: ignore[assignment]
        return (found[len(prefix) :], row) if found.startswith(prefix) else None

    def cursor(self, of_file: bool) -> lmdb.Cursor:
        """Make the cursor for looking among the rows of zone files, or among the answers."""
        db = self.snapshot.store.tables.zone_rows if of_file else self.snapshot.answers
        cursor = self._cursors[of_file] = self.snapshot.txn.cursor(db)
        return cursor

    def negative_soa(self, zone: Zone) -> tuple[bytes, int]:
        """Return the SOA of negative answers without its two octets of owner, and its owner's size.

        The size is that of the origin on the wire: a name in the zone ends in that many octets,
        which a pointer can name.  Raises LookupError for a zone whose apex row is missing.
        """
        name = zone.kind.encode() + zone.key
        known = self._soas.get(name)
        if known is None:
            row = self.row(zone, zone.key)
            if row is None or not row[1] or row[2:4] != _NEGATIVE_SOA:
                raise LookupError(f"the zone {zone.origin} has no SOA")
            _, _, _, start, octets, _ = packed.ENTRY.unpack_from(row, packed.entries_at(row))
            soa = row[start + header.POINTER_OCTETS : start + octets]
            known = self._soas[name] = (soa, self.table.origin_octets[zone.key])
        return known
