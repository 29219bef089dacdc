"""The stored form of an owner name: one row that holds all its RRsets, ready to be sent.

    row    = flags u8 | count u8 | type u16 * count | entry * count | bodies
    entry  = RRs u32 | stride u16 | additional RRs u16 | offset u32 | octets u32 | additional octets u32
    body   = answer RRs | offset u32 * RRs (only where stride is 0 and RRs > 1) | additional RRs

Numbers are big-endian; `offset` counts from the start of the row.  Rules of an RR in a row:

* its owner is a pointer to the question (header.QUESTION_NAME), which repeats the question's letter case;
  the RRs of the additional part spell their owner in full;
* RDATA holds no compression pointer, so the octets serve in any message once the two octets of
  the owner are replaced;
* `stride` is the size of each answer RR where all have one size.  It, or the offset table, lets
  a reader rotate the RRset at an RR's boundary without parsing it.

The pseudo-type NEGATIVE_SOA (0, reserved by RFC 6895) stands in the row of a zone's apex and holds
the SOA as negative answers carry it (RFC 2308 section 3: with its TTL cut down).

A row without RRsets is a name that exists and has no data (NODATA for each type).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from struct import Struct, pack

LAYOUT = 2
"""Version of this format; raised when stored rows can no longer be read."""

NEGATIVE_SOA = 0

APEX = 1
"""Row flag: a zone begins here (the row has SOA and NS)."""
CUT = 2
"""Row flag: a delegation; below this name the zone only holds glue (RFC 1034 section 4.2.1)."""
DNAME = 4
"""Row flag: the row has a DNAME record (RFC 6672)."""
PARTS = 8
"""Row flag: the RRs are kept in parts, and this row only counts them (svcdns.names.row_parts)."""
ALIAS = 16
"""Row flag: the name is another one of a Service, whose rows answer (svcdns.names.alias_rows)."""

TYPES_AT = 2
"""Where the types of a row begin."""
ENTRY = Struct(">IHHIII")


@dataclass(frozen=True, slots=True)
class RRset:
    """The RRs of one type at one owner name, packed by the rules above."""

    type: int
    rrs: Sequence[bytes]
    additionals: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """One RRset as a reader finds it in a row; `answers` and `additionals` are slices of it."""

    type: int
    count: int
    stride: int
    answers: bytes
    offsets: Sequence[int]
    additional_count: int
    additionals: bytes

    def rrs(self) -> Iterator[bytes]:
        """Yield each answer RR."""
        if self.count == 1:
            yield self.answers
        elif self.stride:
            for at in range(0, len(self.answers), self.stride):
                yield self.answers[at : at + self.stride]
        else:
            ends = [*self.offsets[1:], len(self.answers)]
            for start, end in zip(self.offsets, ends, strict=True):
                yield self.answers[start:end]


def pack_row(rrsets: Iterable[RRset], flags: int = 0) -> bytes:
    """Return the row of these RRsets (each with at least one RR, no type twice)."""
    sets = sorted(rrsets, key=_type_of)
    if len(sets) == 1 and len(sets[0].rrs) == 1 and not sets[0].additionals:
        return _row_of_one(sets[0].type, sets[0].rrs[0], flags)
    at = TYPES_AT + (2 + ENTRY.size) * len(sets)
    types, entries, bodies = bytearray(), bytearray(), []
    for rrset in sets:
        answers = b"".join(rrset.rrs)
        additional = b"".join(rrset.additionals)
        count = len(rrset.rrs)
        stride = len(rrset.rrs[0]) if count == 1 else _common_size(rrset.rrs)
        table = b""
        if not stride:
            table = pack(f">{count}I", *accumulate(map(len, rrset.rrs[:-1]), initial=0))
        types += rrset.type.to_bytes(2)
        entries += ENTRY.pack(count, stride, len(rrset.additionals), at, len(answers), len(additional))
        bodies += [answers, table, additional]
        at += len(answers) + len(table) + len(additional)
    return b"".join((bytes((flags, len(sets))), types, entries, *bodies))


_type_of = attrgetter("type")


def _row_of_one(rrtype: int, rr: bytes, flags: int) -> bytes:
    """Return the row of a single RR, as most reverse names and names of Pods have it."""
    at, size = TYPES_AT + 2 + ENTRY.size, len(rr)
    return b"".join((bytes((flags, 1)), rrtype.to_bytes(2), ENTRY.pack(1, size, 0, at, size, 0), rr))


def _common_size(rrs: Sequence[bytes]) -> int:
    """Return the size of RRs that all have the same, else 0."""
    sizes = set(map(len, rrs))
    return sizes.pop() if len(sizes) == 1 else 0


def entries_at(row: bytes) -> int:
    """Return where the entries of a row begin: behind its types."""
    return TYPES_AT + 2 * row[1]


def sections(row: bytes) -> Iterator[Section]:
    """Yield each RRset of a row, the pseudo-type NEGATIVE_SOA included."""
    entry_at = entries_at(row)
    for type_at in range(TYPES_AT, entry_at, 2):
        yield section(row, int.from_bytes(row[type_at : type_at + 2]), entry_at)
        entry_at += ENTRY.size


def find(row: bytes, rrtype: int) -> Section | None:
    """Return the RRset of a type, or None.  (The fast path of `dns` has its own form.)"""
    return next((found for found in sections(row) if found.type == rrtype), None)


def section(row: bytes, rrtype: int, entry_at: int) -> Section:
    """Return the RRset whose entry begins at this offset of the row."""
    rrs, stride, additional_rrs, start, octets, additional_octets = ENTRY.unpack_from(row, entry_at)
    end = start + octets
    offsets: Sequence[int] = ()
    if not stride and rrs > 1:
        offsets = Struct(f">{rrs}I").unpack_from(row, end)
        additional_at = end + 4 * rrs
    else:
        additional_at = end
    additional = row[additional_at : additional_at + additional_octets]
    return Section(rrtype, rrs, stride, row[start:end], offsets, additional_rrs, additional)
