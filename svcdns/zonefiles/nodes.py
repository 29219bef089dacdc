"""The records of one owner name while its zone file is read."""

from __future__ import annotations

from dataclasses import dataclass, field

import dns.name

from svcdns.wire import codes, header


@dataclass(slots=True)
class RRs:
    """One RRset as read: its least TTL, the RDATA by canonical form, and the names it points to."""

    ttl: int
    rdatas: dict[bytes, bytes] = field(default_factory=dict)
    targets: list[dns.name.Name] = field(default_factory=list)

    def packed(self, rrtype: int, owner: bytes = header.QUESTION_NAME) -> list[bytes]:
        """Return the RRs as rows have them (svcdns.names.packed)."""
        return [packed_rr(rrtype, self.ttl, rdata, owner) for rdata in self.rdatas.values()]


@dataclass(slots=True)
class Node:
    """All RRsets of one owner name; `source` and `line` are where the name first stands."""

    source: str
    line: int
    sets: dict[int, RRs] = field(default_factory=dict)
    occluded: bool = False
    """It lies below a delegation or a DNAME."""

    def packed(self, rrtype: int, owner: bytes = header.QUESTION_NAME) -> list[bytes]:
        """Return the RRs of a type.

        RRSIGs have the TTL of what they cover (RFC 4034 section 3), so one RRset of them has several.
        """
        rrs = self.sets[rrtype]
        if rrtype != codes.RRSIG:
            return rrs.packed(rrtype, owner)
        return [
            packed_rr(rrtype, self.sets.get(covered_type(rdata), rrs).ttl, rdata, owner)
            for rdata in rrs.rdatas.values()
        ]

    def place(self, source: str) -> str:
        """Return where the name stands, for people; without the file's name if it is `source`."""
        return f"line {self.line}" if self.source == source else f"{self.source}:{self.line}"


def covered_type(rrsig: bytes) -> int:
    """Return the type that an RRSIG covers (RFC 4034 section 3.1.1)."""
    return int.from_bytes(rrsig[:2])


def packed_rr(rrtype: int, ttl: int, rdata: bytes, owner: bytes) -> bytes:
    """Return one RR."""
    return owner + header.rr_head(rrtype, ttl, len(rdata)) + rdata
