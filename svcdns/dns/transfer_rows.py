"""A zone as the messages of a transfer (RFC 5936 section 2.2).

The SOA comes first and last; between them every stored RR of the zone stands once, in the order of
keys, so the apex first and the RRs of one name together.  Rows of zones inside this one are left out,
but for the NS set that delegates to them.  A message holds at most about 16 KiB, so each name is
spelt once in a message and pointed to from there on.
"""

from __future__ import annotations

from collections.abc import Iterator

from svcdns.names import packed
from svcdns.store.snapshot import Zone
from svcdns.wire import codes, header
from svcdns.wire.key import wire_of_key

from .view import View

MESSAGE_OCTETS = 16_000
_QR_AA = 0x8400
_RD = 0x0100

OwnedRR = tuple[bytes, bytes]
"""The key of an owner, and the RR from its type on."""


class NoSoa(Exception):
    """The zone's apex row is missing or has no SOA."""


def soa(view: View, zone: Zone) -> bytes:
    """Return the zone's SOA as stored; raise NoSoa."""
    row = view.row(zone, zone.key)
    section = packed.find(row, codes.SOA) if row is not None else None
    if section is None:
        raise NoSoa(zone.origin)
    return section.answers


def serial(soa_rr: bytes) -> int:
    """Return the serial of a stored SOA, whose last 20 octets are its numbers."""
    return int.from_bytes(soa_rr[-20:-16])


def zone_rrs(view: View, zone: Zone) -> Iterator[OwnedRR]:
    """Yield every RR of a transfer."""
    first = soa(view, zone)[2:]
    yield zone.key, first
    for key, row, delegated in _rows(view, zone):
        for section in packed.sections(row):
            if section.type in (packed.NEGATIVE_SOA, codes.SOA):
                continue
            if not delegated or section.type == codes.NS:
                for rr in section.rrs():
                    yield key, rr[2:]
    yield zone.key, first


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


def messages(packet: bytes, question_end: int, rrs: Iterator[OwnedRR], opt: bytes) -> Iterator[bytes]:
    """Pack RRs into messages; the question and the OPT stand in the first one only."""
    message = _Message(packet, question_end, opt)
    for key, rest in rrs:
        if message.count and message.octets + len(rest) > MESSAGE_OCTETS:
            yield message.finished()
            message = _Message(packet, 0, b"")
        message.add(key, rest)
    yield message.finished()


class _Message:
    """One message being filled."""

    def __init__(self, packet: bytes, question_end: int, opt: bytes) -> None:
        self.count = 0
        self._packet = packet
        self._question = packet[header.OCTETS : question_end] if question_end else b""
        self._opt = opt
        self._parts: list[bytes] = []
        self._owners: dict[bytes, int] = {}
        self.octets = header.OCTETS + len(self._question) + len(opt)
        self._at = header.OCTETS + len(self._question)

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
        flags = _QR_AA | (self._packet[2] << 8 & _RD)
        questions, additionals = (1 if self._question else 0), (1 if self._opt else 0)
        head = header.HEADER.pack(self._packet[:2], flags, questions, self.count, 0, additionals)
        return b"".join((head, self._question, *self._parts, self._opt))
