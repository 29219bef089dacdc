"""RRsets that are kept in parts, as a question sees them (svcdns.names.row_parts).

A reply has room for so many octets; that much is gathered, from a random part on.  What comes of it is an
RRset as every other one has it, or a random part of a larger one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import getrandbits

import lmdb

from svcdns.names import packed
from svcdns.names.packed import RRset, Section, pack_row
from svcdns.names.row_parts import HASH_BITS, first_key, folded, is_part_of


@dataclass(frozen=True, slots=True)
class Parts:
    """The RRset of a type at a name; it is read while its snapshot lives."""

    txn: lmdb.Transaction
    table: lmdb._Database
    key: bytes
    rrtype: int
    count: int
    """RRs in all parts."""

    def read(self, room: int) -> Section:
        """Return the whole RRset, or more of it than `room` octets."""
        found: list[Section] = []
        once: dict[bytes, None] = {}
        at_most, complete = 0, True
        for row in self._rows():
            section = packed.find(row, self.rrtype)
            if section is None:
                continue
            if at_most > room and sum(map(len, once)) > room:
                complete = False
                break
            found.append(section)
            once.update(dict.fromkeys(section.rrs()))
            at_most += len(section.answers)  # equal RRs of two parts count once: looked at when it matters
        row = pack_row([RRset(self.rrtype, folded(self.rrtype, once, self.count))])
        read = packed.section(row, self.rrtype, packed.entries_at(row))
        if not complete:
            return read
        return replace(
            read,
            additional_count=sum(section.additional_count for section in found),
            additionals=b"".join(section.additionals for section in found),
        )

    def _rows(self) -> Iterator[bytes]:
        """Yield all parts once, from a random one on: the one that a random hash is in."""
        start = first_key(self.key, getrandbits(HASH_BITS)) + b"\xff"
        with self.txn.cursor(db=self.table) as cursor:
            if not (cursor.set_range(start) and cursor.prev()):
                cursor.last()
            if cursor.key() == self.key:
                cursor.next()  # that was the index row: nothing is in the part of that hash
            first = at = bytes(cursor.key())
            while is_part_of(self.key, at):
                yield bytes(cursor.value())
                if not (cursor.next() and is_part_of(self.key, bytes(cursor.key()))):
                    cursor.set_range(self.key + b"\0")  # behind the last comes the first
                at = bytes(cursor.key())
                if at == first:
                    return
