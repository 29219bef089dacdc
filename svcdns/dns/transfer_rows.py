"""A zone as the messages of a transfer (RFC 5936 section 2.2).

The SOA comes first and last; between them every stored RR of the zone stands once, in the order of keys, so
the apex first and the RRs of one name together; NSEC3 records come last.  Rows of zones inside this one are
left out, but for the NS set that delegates to them.  A message holds at most about 16 KiB, so each name is
spelt once in a message and pointed to from there on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from svcdns.names import nsec3, packed
from svcdns.names.row_parts import counts_of, folded, is_part, name_of
from svcdns.store.snapshot import Zone
from svcdns.wire import codes, header
from svcdns.wire.key import wire_of_key
from svcdns.wire.reply import Frame, Sections, message

from .view import View

MESSAGE_OCTETS = 16_000

OwnedRR = tuple[bytes, bytes]
"""The key of an owner, and the RR from its type on."""


def soa(view: View, zone: Zone) -> bytes:
    """Return the zone's SOA as stored.  Raises LookupError for a zone without."""
    row = view.row(zone, zone.key)
    section = packed.find(row, codes.SOA) if row is not None else None
    if section is None:
        raise LookupError(f"the zone {zone.origin} has no SOA")
    return section.answers


def serial(soa_rr: bytes) -> int:
    """Return the serial of a stored SOA: the first of the numbers at its end."""
    at = len(soa_rr) - header.SOA_NUMBERS
    return int.from_bytes(soa_rr[at : at + 4])


def zone_rrs(view: View, zone: Zone) -> Iterator[OwnedRR]:
    """Yield every RR of a transfer."""
    first = soa(view, zone)[header.POINTER_OCTETS :]
    yield zone.key, first
    yield from rrs_of_rows(_rows(view, zone))
    if zone.kind == "file":
        yield from _nsec3_rrs(view, zone)
    yield zone.key, first


def rrs_of_rows(rows: Iterable[tuple[bytes, bytes, bool]]) -> Iterator[OwnedRR]:
    """Yield the RRs of rows but for SOAs; `rows` are key, row, and whether another zone begins there.

    They come in the order of keys, so that parts follow the row that counts them.
    """
    gathered = _GatheredParts(b"")
    for key, row, delegated in rows:
        if row[0] & packed.PARTS:
            gathered = _GatheredParts(row)  # its parts come next
            continue
        for section in packed.sections(row):
            if section.type in (packed.NEGATIVE_SOA, codes.SOA):
                continue
            if is_part(key):
                for rr in gathered.rrs_of(section):
                    yield name_of(key), rr[header.POINTER_OCTETS :]
            elif not delegated or section.type == codes.NS:
                for rr in section.rrs():
                    yield key, rr[header.POINTER_OCTETS :]


def _nsec3_rrs(view: View, zone: Zone) -> Iterator[OwnedRR]:
    """Yield the records whose rows are apart from those of names."""
    prefix = zone.version.to_bytes(4)
    cursor = view.snapshot.txn.cursor(view.snapshot.store.tables.zone_rows)
    more = cursor.set_range(prefix + nsec3.FIRST)
    while more:
        stored: bytes = cursor.key()  # type: ignore[assignment]  # no buffers
        if not stored.startswith(prefix + nsec3.FIRST):
            return
        row: bytes = cursor.value()  # type: ignore[assignment]
        for section in packed.sections(row):
            for rr in section.rrs():
                yield stored[len(prefix) + nsec3.PREFIX_OCTETS :], rr[header.POINTER_OCTETS :]
        more = cursor.next()


class _GatheredParts:
    """The parts of one row (svcdns.names.row_parts), and what they have held so far: no RR comes twice."""

    def __init__(self, index_row: bytes) -> None:
        self._counts = counts_of(index_row) if index_row else {}
        self._seen: set[bytes] = set()

    def rrs_of(self, section: packed.Section) -> list[bytes]:
        """Return the RRs of a part that have not come yet."""
        new = [
            rr
            for rr in folded(section.type, section.rrs(), self._counts[section.type])
            if rr not in self._seen
        ]
        self._seen.update(new)
        return new


def _rows(view: View, zone: Zone) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield the key and row of each name, and whether another zone of the registry begins there."""
    of_file = zone.kind == "file"
    prefix = zone.version.to_bytes(4) if of_file else b""
    db = view.snapshot.store.tables.zone_rows if of_file else view.snapshot.answers
    cursor = view.snapshot.txn.cursor(db)
    more = cursor.set_range(prefix + zone.key)
    while more:
        stored: bytes = cursor.key()  # type: ignore[assignment]  # no buffers
        if not stored.startswith(prefix + zone.key):
            return
        key = stored[len(prefix) :]
        row: bytes = cursor.value()  # type: ignore[assignment]
        inner = not of_file and key != zone.key and view.table.registry_zone_at(key) is not None
        yield key, row, inner
        # Everything below a key sorts before the same key with its last octet, NUL, raised.
        more = cursor.set_range(key[:-1] + b"\1") if inner else cursor.next()


def messages(frame: Frame, rrs: Iterator[OwnedRR]) -> Iterator[bytes]:
    """Pack RRs into messages; the question and the OPT stand in the first one only."""
    filling = _Message(frame)
    for key, rest in rrs:
        if filling.count and filling.octets + len(rest) > MESSAGE_OCTETS:
            yield filling.finished()
            filling = _Message(replace(frame, end=0, edns=None))
        filling.add(key, rest)
    yield filling.finished()


class _Message:
    """One message being filled."""

    def __init__(self, frame: Frame) -> None:
        self.count = 0
        self._frame = frame
        self._opt = frame.opt()
        self._parts: list[bytes] = []
        self._owners: dict[bytes, int] = {}
        self._at = max(frame.end, header.OCTETS)
        self.octets = self._at + len(self._opt)

    def add(self, key: bytes, rest: bytes) -> None:
        place = self._owners.get(key)
        owner = wire_of_key(key) if place is None else header.pointer(place)
        if place is None and self._at <= header.FARTHEST:
            self._owners[key] = self._at
        self._parts += (owner, rest)
        self._at += len(owner) + len(rest)
        self.octets += len(owner) + len(rest)
        self.count += 1

    def finished(self) -> bytes:
        sections = Sections(b"".join(self._parts), self.count)
        return message(self._frame, header.AA, sections, self._opt)
