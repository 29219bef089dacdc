"""Names and aliases in messages that `received` reads: which RDATA holds names, where an answer leads.

* A name is spelt in full here, in its own letter case; names are compared in lower case.  (Octets of
  length are below "A", so lower() changes letters only.)
* However many pointers lead to an octet, it is walked once: `names` holds what stands at an offset, and
  learns.
* An answer leads from the question's name along its CNAMEs, in whatever order they stand (resolvers put
  them in order; some boxes turn the whole section).  A DNAME needs nothing of its own, as the CNAME that
  follows from it always stands beside it (RFC 6672 section 3.1).

All that is walked has been found well-formed: nothing here raises for a message that was accepted.
"""

from __future__ import annotations

from struct import Struct

from . import codes

RR = Struct(">HHIH")
"""Type, class, TTL, octets of RDATA: what stands behind an owner."""

TEXTS = -1
NAPTR = -2
REFUSED = -3
SHAPE: dict[int, tuple[int, int, int]] = {
    **dict.fromkeys((2, 3, 4, 5, 7, 8, 9, 12, 23, 39), (0, 1, 0)),  # NS .. CNAME .. MR, PTR, NSAP-PTR, DNAME
    **dict.fromkeys((14, 17), (0, 2, 0)),  # MINFO, RP
    codes.SOA: (0, 2, 20),
    **dict.fromkeys((15, 18, 21, 36), (2, 1, 0)),  # MX, AFSDB, RT, KX
    26: (2, 2, 0),  # PX
    codes.SRV: (6, 1, 0),
    codes.HINFO: (0, TEXTS, 0),
    codes.TXT: (0, TEXTS, 0),
    35: (4, NAPTR, 0),
    **dict.fromkeys((0, 249, 250, 251, 252, 253, 254, 255, 65535), (0, REFUSED, 0)),
}
"""Of RDATA that is looked into: octets in front, how many names, octets behind; or how else it is read."""

MAX_LINKS = 32
"""CNAMEs of one answer that are followed; resolvers give up sooner."""

_RRSIG = 46

Owned = tuple[bytes, int, int]
"""Of an RR: its owner in lower case, its type, and what an RRSIG covers (else its type again)."""
Aliases = dict[bytes, tuple[bytes, int]]
"""Of a CNAME's owner in lower case: the target, and how many RRs of the section end with that CNAME."""


def name_at(wire: bytes, at: int, names: dict[int, bytes]) -> tuple[bytes, int]:
    """Return the name at this offset, spelt in full, and where it ends."""
    end = 0
    parts, passed, octets = [], [], 0
    while size := wire[at]:
        if size < 192:
            passed.append((at, octets))
            parts.append(wire[at : at + size + 1])
            octets += size + 1
            at += size + 1
        else:
            end = end or at + 2
            at = (size & 63) << 8 | wire[at + 1]
            if at in names:
                parts.append(names[at])
                break
    else:
        end = end or at + 1
        parts.append(b"\0")
    name = b"".join(parts)
    for start, before in passed:
        names[start] = name[before:]
    return name, end


def uncompressed(wire: bytes, at: int, end: int, rrtype: int, names: dict[int, bytes]) -> bytes:
    """Return the RDATA between these offsets with its names spelt in full (RFC 3597 section 4)."""
    before, count, behind = SHAPE.get(rrtype, (0, 0, 0))
    if count == NAPTR:
        name_from = at + before
        for _ in range(3):
            name_from += 1 + wire[name_from]
        before, count = name_from - at, 1
    if count <= 0:
        return wire[at:end]
    parts = [wire[at : at + before]]
    at += before
    for _ in range(count):
        name, at = name_at(wire, at, names)
        parts.append(name)
    if behind:
        parts.append(wire[at:end])
    return b"".join(parts)


def answer_rrs(wire: bytes, at: int, count: int, names: dict[int, bytes]) -> tuple[list[Owned], Aliases]:
    """Return who owns the RRs of an answer section that begins at this offset, and its CNAMEs.

    Of several CNAMEs of one owner the first counts.
    """
    owned: list[Owned] = []
    aliases: Aliases = {}
    for number in range(1, count + 1):
        name, at = name_at(wire, at, names)
        owner = name.lower()
        rrtype, _, _, octets = RR.unpack_from(wire, at)
        at += RR.size
        covers = rrtype
        if rrtype == codes.CNAME:
            if owner not in aliases:
                aliases[owner] = name_at(wire, at, names)[0], number
        elif rrtype == _RRSIG and octets >= 2:
            covers = wire[at] << 8 | wire[at + 1]
        owned.append((owner, rrtype, covers))
        at += octets
    return owned, aliases


def follow(name: bytes, aliases: Aliases) -> tuple[list[tuple[bytes, int]], bool]:
    """Return where CNAMEs lead from a name, in order, and whether they come to an end.

    They don't where they lead in a circle, or on for more than MAX_LINKS; no name comes twice.
    """
    here = name.lower()
    passed = {here}
    links: list[tuple[bytes, int]] = []
    while link := aliases.get(here):
        here = link[0].lower()
        if here in passed or len(links) == MAX_LINKS:
            return links, False
        passed.add(here)
        links.append(link)
    return links, True


def ancestors(names: set[bytes]) -> set[bytes]:
    """Return the names that are above these."""
    found = set()
    for name in names:
        at = 0
        while size := name[at]:
            at += 1 + size
            found.add(name[at:])
    return found
