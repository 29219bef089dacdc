"""Names and CNAMEs within RRs that `response` has accepted: which RDATA holds names, where an answer leads.

* Names are compared in lower case.  (Octets of length are below "A", so lower() changes letters only.)
* An answer leads from the question's name along its CNAMEs, in whatever order they stand (resolvers put
  them in order; some boxes turn the whole section).  A DNAME needs nothing of its own, as the CNAME that
  follows from it stands beside it (RFC 6672 section 3.1), or is put there (`response_answer`).

All that is walked has been found well-formed: nothing here raises for a message that was accepted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from . import codes, header
from .name import read_name

TEXTS = -1
NAPTR = -2
REFUSED = -3
_ONE_NAME = (codes.NS, codes.MD, codes.MF, codes.CNAME, codes.MB, codes.MG, codes.MR, codes.PTR)
SHAPE: dict[int, tuple[int, int, int]] = {
    **dict.fromkeys((*_ONE_NAME, codes.NSAP_PTR, codes.DNAME), (0, 1, 0)),
    **dict.fromkeys((codes.MINFO, codes.RP), (0, 2, 0)),
    codes.SOA: (0, 2, header.SOA_NUMBERS),
    **dict.fromkeys((codes.MX, codes.AFSDB, codes.RT, codes.KX), (2, 1, 0)),
    codes.PX: (2, 2, 0),
    codes.SRV: (6, 1, 0),
    codes.HINFO: (0, TEXTS, 0),
    codes.TXT: (0, TEXTS, 0),
    codes.NAPTR: (4, NAPTR, 0),
    **dict.fromkeys(codes.ONLY_ASKED, (0, REFUSED, 0)),
}
"""Of RDATA that is looked into: octets in front, how many names, octets behind; or how else it is read."""

MAX_LINKS = 11
"""CNAMEs of one answer that are followed: as many as BIND and unbound follow."""

Owned = tuple[bytes, int, int]
"""Of an RR: its owner in lower case, its type, and what an RRSIG covers (else its type again)."""
Aliases = dict[bytes, tuple[bytes, int]]
"""Of a CNAME's owner in lower case: the target, and how many RRs of the section end with that CNAME."""
Dnames = dict[bytes, tuple[bytes, int]]
"""Of a DNAME's owner in lower case: the target, and the TTL in seconds."""


@dataclass(slots=True)
class AnswerRRs:
    """The RRs of an answer section; of several CNAMEs, or DNAMEs, of one owner the first counts."""

    owned: list[Owned] = field(default_factory=list)
    aliases: Aliases = field(default_factory=dict)
    dnames: Dnames = field(default_factory=dict)
    contradicted: set[bytes] = field(default_factory=set)
    """Owners of CNAMEs, or DNAMEs, that lead to different names."""


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
        name, at = read_name(wire, at, names)
        parts.append(name)
    if behind:
        parts.append(wire[at:end])
    return b"".join(parts)


def answer_rrs(wire: bytes, at: int, count: int, names: dict[int, bytes]) -> AnswerRRs:
    """Return who owns the RRs of an answer section that begins at this offset, and where they lead."""
    found = AnswerRRs()
    for number in range(1, count + 1):
        name, at = read_name(wire, at, names)
        owner = name.lower()
        rrtype, _, ttl, octets = header.RR.unpack_from(wire, at)
        at += header.RR.size
        covers = rrtype
        if rrtype in (codes.CNAME, codes.DNAME):
            leads = found.aliases if rrtype == codes.CNAME else found.dnames
            target = read_name(wire, at, names)[0]
            first, _ = leads.setdefault(owner, (target, number if rrtype == codes.CNAME else ttl))
            if first.lower() != target.lower():
                found.contradicted.add(owner)
        elif rrtype == codes.RRSIG and octets >= 2:
            covers = wire[at] << 8 | wire[at + 1]
        found.owned.append((owner, rrtype, covers))
        at += octets
    return found


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


def dname_ranks(chain: list[bytes]) -> dict[bytes, int]:
    """Return the names above those of a chain, spelt in full, and where among them a DNAME there stands."""
    found: dict[bytes, int] = {}
    for number, name in enumerate(chain):
        while size := name[0]:
            name = name[1 + size :]
            found.setdefault(name, 2 * number)
    return found
