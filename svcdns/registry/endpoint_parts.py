"""Headless Services of many endpoints: which parts of their rows a change concerns.

The parts (svcdns.names.row_parts) follow from the set of endpoints alone: a part is the longest range of
hashes that holds no more endpoints than its capacity.  So one that overflows is halved, and two halves that
have become small enough are one again.  What is read and written follows from the size of a part, not of the
Service.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import cast

import lmdb

from svcdns.names.apex_rows import EMPTY
from svcdns.names.row_parts import (
    ROOT,
    Part,
    counts_of,
    first_key,
    hash_of,
    index_row,
    is_part,
    name_of,
    part_at,
)
from svcdns.names.service_rows import part_rows
from svcdns.wire import codes

from . import ready_endpoints
from .transaction import WriteTransaction

Put = Callable[[bytes, bytes | None], None]
"""Puts the row of a key; None: there is none."""


@dataclass(frozen=True, slots=True)
class EndpointParts:
    """The rows of one Service's names as a write sees them; `base` is the key of its own name."""

    write: WriteTransaction
    table: lmdb._Database
    service: tuple[str, str]
    base: bytes

    def own_row(self) -> bytes | None:
        """Return the row of the Service's own name, None where it has none: then none is below it either.

        With the flag PARTS, all of its rows are kept in parts.
        """
        return self._get(self.base)

    def standing_names(self) -> Iterator[bytes]:
        """Yield the keys of the Service's own names: its own, and `_port._proto` below it."""
        yield self.base
        below = self.base + b"_"
        with self.write.txn.cursor(db=self.table) as cursor:
            more = cursor.set_range(below)
            while more and (key := bytes(cursor.key())).startswith(below):
                if is_part(key):  # behind the parts of a name comes what is below it
                    more = cursor.set_range(name_of(key) + b"\1")
                    continue
                yield key
                more = cursor.next()

    def standing_parts(self, name: bytes) -> list[bytes]:
        """Return the keys of all parts of a name."""
        return self._parts_between(name, ROOT)

    def all_rows(self) -> dict[bytes, bytes]:
        """Return the rows of all names, in parts, by key."""
        rows: dict[bytes, bytes] = {}
        counts: dict[bytes, dict[int, int]] = {}
        for part in self._leaves(ROOT):
            for suffix, row in self._rows_of(part).items():
                name = self.base + suffix
                rows[part.key(name)] = row
                _add(counts.setdefault(name, {}), row, 1)
        return rows | {name: index_row(held) for name, held in counts.items()}

    def update(self, labels: Iterable[str], put: Put) -> bool:
        """Bring the parts to endpoints that changed; False where the Service has become small."""
        names = list(self.standing_names())
        counts = {name: counts_of(self._get(name) or EMPTY) for name in names}
        for top in {self._part_to_make(hash_of(label)) for label in labels}:
            rows = {
                part.key(self.base + suffix): row
                for part in self._leaves(top)
                for suffix, row in self._rows_of(part).items()
            }
            stale = {key for name in names for key in self._parts_between(name, top)}
            for key in stale | rows.keys():
                held = counts.setdefault(name_of(key), {})
                if old := self._get(key):
                    _add(held, old, -1)
                if row := rows.get(key):
                    _add(held, row, 1)
                put(key, row)
        addresses = counts[self.base].get(codes.A, 0) + counts[self.base].get(codes.AAAA, 0)
        if addresses <= ROOT.capacity and self._has_room(ROOT):
            return False
        for name, held in counts.items():
            put(name, index_row(held) if any(held.values()) else None)
        return True

    def _get(self, key: bytes) -> bytes | None:
        row: bytes | None = self.write.txn.get(key, db=self.table)  # type: ignore[assignment]  # no buffers
        return row

    def _part_to_make(self, hash_: int) -> Part:
        """Return the part that is to be made anew for a hash: the one it was in, or one that is now whole."""
        part = self._standing_part(hash_)
        if part is None:  # none of its range has endpoints: from the top
            part = ROOT
            while not self._has_room(part):
                part = part.half_with(hash_)
            return part
        while part.depth and self._has_room(part.parent()):
            part = part.parent()
        return part

    def _standing_part(self, hash_: int) -> Part | None:
        """Return the part that a hash is in as the rows stand, None where that has no endpoints."""
        with self.write.txn.cursor(db=self.table) as cursor:
            behind = first_key(self.base, hash_) + b"\xff"
            if not ((cursor.set_range(behind) and cursor.prev()) or cursor.last()):
                return None
            key = bytes(cursor.key())
        if not key.startswith(self.base + b"\0"):
            return None
        part = part_at(key)
        return part if part.first <= hash_ <= part.last else None

    def _parts_between(self, name: bytes, top: Part) -> list[bytes]:
        """Return the keys of a name's parts within a range."""
        behind = first_key(name, top.last) + b"\xff"
        with self.write.txn.cursor(db=self.table) as cursor:
            if not cursor.set_range(first_key(name, top.first)):
                return []
            keys = cast(Iterator[bytes], cursor.iternext(values=False))
            return list(takewhile(lambda key: key < behind, keys))

    def _has_room(self, part: Part) -> bool:
        """Say whether a part has room for all endpoints of its range; counts no further than it must."""
        if part.capacity == sys.maxsize:
            return True
        at_most = part.capacity + 1
        return (
            ready_endpoints.count_between(self.write, *self.service, part.first, part.last, at_most) < at_most
        )

    def _leaves(self, top: Part) -> Iterator[Part]:
        """Yield the parts into which a range falls; the root, too large for one row, is halved."""
        if top != ROOT and self._has_room(top):
            yield top
        else:
            for half in top.halves():
                yield from self._leaves(half)

    def _rows_of(self, part: Part) -> dict[bytes, bytes]:
        """Return the rows of a part, by key suffix."""
        found = ready_endpoints.endpoints_between(
            self.write, *self.service, part.first, part.last, part.capacity
        )
        return part_rows([ready_endpoints.decode_endpoint(octets) for octets in found])


def _add(counts: dict[int, int], row: bytes, sign: int) -> None:
    for rrtype, count in counts_of(row).items():
        counts[rrtype] = counts.get(rrtype, 0) + sign * count
