"""Rows kept in parts: what one endpoint of many changes stays small.

The row of a headless Service with a few endpoints holds all of their RRs.  With tens of thousands of them,
each change would write megabytes, so beyond WHOLE endpoints the row is kept in parts.  Each endpoint has a
hash (16 bits, of its label); the hashes are halved, and halved again, until at most LEAF endpoints are left
in a part.  So the parts follow from the endpoints that there are, in whatever order they came.

    index row   at the owner name: flag PARTS, and for each type how many RRs all parts hold together
    part        at the key of the owner name, NUL, first hash u16, depth u8: an ordinary row

No label is empty, so no question finds a part, and parts stand right behind their index row.  An index row
is read as any other (svcdns.names.packed), but says IN_PARTS for the octets of an RRset: more than any
message has room for, so whoever is about to copy it looks twice.  SRVs of parts are neither weighted nor
folded: both depend on the other parts (see `folded`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from svcdns.wire import codes

from .packed import ENTRY, PARTS, TYPES_AT, entries_at
from .records import weighted

WHOLE = 512
"""Endpoints that one row holds at most."""
LEAF = 128
"""Endpoints that one part holds at most, unless they all have one hash."""
IN_PARTS = 1 << 31
"""The octets that an index row says of each RRset."""

HASH_BITS = 16
_HASH_OCTETS = HASH_BITS // 8
_KEY_OCTETS = 1 + _HASH_OCTETS + 1
"""What the key of a part has behind that of its owner name."""


class Part(NamedTuple):
    """A range of hashes: those from `first` on that have its leading `depth` bits."""

    first: int
    depth: int

    @property
    def last(self) -> int:
        """The last hash of the range."""
        return self.first + (1 << HASH_BITS - self.depth) - 1

    @property
    def capacity(self) -> int:
        """How many endpoints it holds before it is halved; a single hash can't be."""
        if self.depth == HASH_BITS:
            return sys.maxsize
        return LEAF if self.depth else WHOLE

    def halves(self) -> tuple[Part, Part]:
        """Return both halves."""
        depth = self.depth + 1
        return Part(self.first, depth), Part(self.first + (1 << HASH_BITS - depth), depth)

    def half_with(self, hash_: int) -> Part:
        """Return the half that a hash of this range is in."""
        lower, upper = self.halves()
        return lower if hash_ < upper.first else upper

    def parent(self) -> Part:
        """Return the range that this one is a half of."""
        depth = self.depth - 1
        return Part(self.first >> HASH_BITS - depth << HASH_BITS - depth, depth)

    def key(self, name: bytes) -> bytes:
        """Return the key of this part of a name's row."""
        return first_key(name, self.first) + bytes((self.depth,))


ROOT = Part(0, 0)


def first_key(name: bytes, hash_: int) -> bytes:
    """Return the key at or before which the parts that begin with this hash, or behind it, stand."""
    return name + b"\0" + hash_.to_bytes(_HASH_OCTETS)


def is_part(key: bytes) -> bool:
    """Say whether a key is that of a part."""
    return b"\0\0" in key


def is_part_of(name: bytes, key: bytes) -> bool:
    """Say whether a key is that of a part of this name."""
    return key.startswith(name + b"\0")


def part_at(key: bytes) -> Part:
    """Return the part whose key this is."""
    return Part(int.from_bytes(key[-1 - _HASH_OCTETS : -1]), key[-1])


def name_of(key: bytes) -> bytes:
    """Return the key of the owner name of a part."""
    return key[:-_KEY_OCTETS]


@lru_cache(maxsize=4096)
def hash_of(label: str) -> int:
    """Return the hash of an endpoint's label."""
    return int.from_bytes(blake2b(label.encode(), digest_size=_HASH_OCTETS).digest())


def index_row(counts: Mapping[int, int]) -> bytes:
    """Return the row that says how many RRs of each type the parts hold (stride 1: it has no offsets)."""
    held = sorted((rrtype, count) for rrtype, count in counts.items() if count)
    types = b"".join(rrtype.to_bytes(2) for rrtype, _ in held)
    entries = b"".join(ENTRY.pack(count, 1, 0, 0, IN_PARTS, 0) for _, count in held)
    return bytes((PARTS, len(held))) + types + entries


def counts_of(row: bytes) -> dict[int, int]:
    """Return how many RRs of each type an index row, or a part, holds."""
    behind = entries_at(row)
    types = (int.from_bytes(row[at : at + 2]) for at in range(TYPES_AT, behind, 2))
    entries = ENTRY.iter_unpack(row[behind : behind + row[1] * ENTRY.size])
    return {rrtype: entry[0] for rrtype, entry in zip(types, entries, strict=True)}


def folded(rrtype: int, rrs: Iterable[bytes], count: int) -> list[bytes]:
    """Return RRs out of parts as an RRset has them: equal ones once, SRVs weighted.

    `count` is the number of RRs in all parts, before equal ones are folded.
    """
    once = list(dict.fromkeys(rrs))
    return weighted(once, count) if rrtype == codes.SRV else once
