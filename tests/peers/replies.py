"""Replies written RR by RR, so that an order, a repetition or a fault stays what it is.

An RR is text, `OWNER TTL TYPE RDATA`; `@` as owner is the name asked for, and names without a last dot are
below the case's zone (the name asked for without its first label).  Octets in place of a text stay octets.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from toolbox.scripted_upstream import Query

QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x400, 0x200, 0x100, 0x80, 0x40, 0x20, 0x10
USUAL = QR | RD | RA
RR = str | bytes
OPT = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)


def zone_of(name: str) -> dns.name.Name:
    """Return the zone of a case: the last two labels."""
    return dns.name.Name(dns.name.from_text(name).labels[-3:])


def rr(query: Query, text: RR) -> bytes:
    """Return an RR on the wire, nothing in it compressed."""
    if isinstance(text, bytes):
        return text
    owner, ttl, rrtype, rdata = text.split(" ", 3)
    origin = zone_of(query.name)
    name = query.message.question[0].name if owner == "@" else dns.name.from_text(owner, origin)
    kind = dns.rdatatype.from_text(rrtype)
    found = dns.rdata.from_text(dns.rdataclass.IN, kind, rdata, origin=origin, relativize=False)
    return raw_rr(name.to_wire() or b"", int(kind), int(ttl), found.to_wire() or b"")


def raw_rr(
    owner: bytes, rrtype: int, ttl: int, rdata: bytes, rrclass: int = 1, size: int | None = None
) -> bytes:
    """Return an RR from its parts; `size` is what its RDLENGTH says, if not the truth."""
    return owner + struct.pack(">HHIH", rrtype, rrclass, ttl, len(rdata) if size is None else size) + rdata


def reply(
    query: Query,
    answer: Sequence[RR] = (),
    authority: Sequence[RR] = (),
    additional: Sequence[RR] = (),
    *,
    rcode: int = 0,
    flags: int = USUAL,
    ident: int | None = None,
    question: bytes | None = None,
    questions: int = 1,
    counts: tuple[int, int, int] | None = None,
    edns: bool = True,
    behind: bytes = b"",
) -> bytes:
    """Return a reply; it has an OPT, as the last RR, where the query has one and `edns` is not False."""
    asked = query.wire[12 : 12 + len(query.message.question[0].name.to_wire() or b"") + 4]
    opts = [OPT] if edns and query.message.edns >= 0 else []
    sections = [[rr(query, one) for one in section] for section in (answer, authority, [*additional, *opts])]
    number = query.message.id if ident is None else ident
    head = struct.pack(">HHHHHH", number, flags | rcode, questions, *(counts or map(len, sections)))
    return head + (asked if question is None else question) + b"".join(map(b"".join, sections)) + behind
