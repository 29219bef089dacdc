"""Reading an upstream's reply: is it one to our question, is it whole, how long may it be kept.

What is accepted will be stored and handed to clients as it is, so `read` looks at every octet that a
client's parser will follow:

* QR, opcode, ID, and one question that equals ours (RFC 5452 section 9.1);
* every name ends within the message, has at most 255 octets, and its pointers go strictly back to what
  can be a name (RFC 1035 sections 3.1 and 4.1.4): never to octets that change while a reply is kept;
* the answer section speaks of the question's name and of where its CNAMEs lead from there, in any order,
  and of nothing else (RFC 2181 section 5.4.1); a DNAME may be above one of these names;
* RDATA of the types in which names may be compressed (RFC 3597 section 4), of A, AAAA, TXT and HINFO is
  exactly filled; other RDATA is opaque;
* all RRs are of class IN, none is of a type that only questions have, and nothing stands behind the last.

The OPT is between us and the upstream and is taken out.  It is nearly always the last RR; where it is
not, pointers behind it would shift, and dnspython packs the message anew.

A truncated reply is not read behind its question: it may end anywhere, and is asked for again over TCP.

Everything else raises Garbage.  One pass, no objects: this runs once for each forwarded question.
Only an answer section with other owners than the question, or with aliases, is gone through again.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from struct import Struct, error

from . import codes, header
from .edns import options_well_formed
from .key import wire_of_key
from .query import Query
from .rr_names import NAPTR, REFUSED, RR, SHAPE, TEXTS, ancestors, answer_rrs, follow

_HEADER = Struct(">HHHHHH")
_TYPE_IN = Struct(">HH")
_MINIMUM = Struct(">I")
_read_rr = RR.unpack_from

_QR_OPCODE = 0xF800
_QR = 0x8000
_TC = 0x0200
_ONE_QUESTION = b"\0\1\0\0\0\0\0\0"
_QUESTION = b"\xc0\x0c"
_NO_TTL = 0x80000000
_ANY_TYPES = frozenset({253, 254, codes.ANY})
"""QTYPEs that several types answer."""
_LARGEST = 1 << 16


@dataclass(frozen=True, slots=True)
class Response:
    """An upstream's reply that was checked against its question; its OPT has been taken out."""

    wire: bytes
    """The whole message.  The question's name may be spelt in another case than was asked."""
    end: int
    """End of the question: where the records begin."""
    rcode: int
    """With the upper bits of the OPT (RFC 6891 section 6.1.3)."""
    truncated: bool
    counts: tuple[int, int, int]
    """RRs of answer, authority and additional section."""
    ttl_at: tuple[int, ...]
    """Offset in `wire` of each RR's TTL field (its RDLENGTH stands 4 octets behind), in order."""
    lifetime: int | None
    """Seconds that it may be kept: the least TTL, or what RFC 2308 says; None or 0: not at all."""
    ede: int | None = None
    """Info code of the upstream's Extended DNS Error."""
    answered: bool = False
    """Whether the answer section has RRs of the type asked for, where its CNAMEs end."""


class Garbage(Exception):
    """Octets that are no reply to the question; the text says why."""


class Unusable(Garbage):
    """A reply to the question, by its ID and question, with which nothing can be done."""


def read(wire: bytes, ask: Query, ident: int | None) -> Response:
    """Return what an upstream's message says.  Raises Garbage, nothing else.

    `ident` is the ID of the query (0 over HTTPS), None takes any.

    `lifetime` (seconds) bounds how long the reply may be kept and is no more than any TTL in it:

    * answered (NOERROR with RRs of the type asked for, where CNAMEs end): the least TTL of all RRs;
    * NXDOMAIN, and NOERROR without such an RR (also behind a CNAME): the least of all TTLs and of the
      MINIMUM of the SOA in the authority section (RFC 2308 section 5); None without such an SOA, as in
      a referral;
    * truncated, or any other rcode: None.

    The SOA of a negative reply still has its own TTL in `wire`: whoever hands the reply on counts every
    TTL down from min(TTL, lifetime).  A TTL whose top bit is set is 0, in `wire` too (RFC 2181 section 8).
    """
    try:
        return _read(wire, ask, ident)
    except (IndexError, error):
        raise _worse(wire, ask, ident, "it runs over its end") from None
    except Garbage as wrong:
        raise _worse(wire, ask, ident, str(wrong)) from None


def _worse(wire: bytes, ask: Query, ident: int | None, text: str) -> Garbage:
    """Return the error for what can't be read: whether its beginning is that of a reply to the question."""
    name = ask.name or wire_of_key(ask.key)
    question = name.lower() + _TYPE_IN.pack(ask.rrtype, codes.IN)
    begins = wire[2:3] >= b"\x80" and wire[4:6] == b"\0\1" and wire[12 : 12 + len(question)].lower()
    if begins == question.lower() and (ident is None or wire[:2] == ident.to_bytes(2)):
        return Unusable(text)
    return Garbage(text)


def _read(wire: bytes, ask: Query, ident: int | None) -> Response:
    got, flags, questions, *counts = _HEADER.unpack_from(wire)
    if flags & _QR_OPCODE != _QR:
        raise Garbage("no reply to a query")
    if ident is not None and got != ident:
        raise Garbage("the ID is another one")
    name = ask.name or wire_of_key(ask.key)
    end = 16 + len(name)
    if questions != 1 or not _is_same(wire[12:end], name + _TYPE_IN.pack(ask.rrtype, codes.IN)):
        raise Garbage("the question is another one")
    if flags & _TC:
        question = wire[:4] + _ONE_QUESTION + wire[12:end]
        return Response(question, end, flags & 15, True, (0, 0, 0), (), None)

    answers, authorities, additionals = counts
    others = answers + authorities
    every = others + additionals
    size = len(wire)
    at = end
    known = {12: len(name)}
    places = [(12, 12 + len(name))]
    ttls: list[int] = []
    ttl_at: list[int] = []
    not_ttls: list[int] = []
    answered = elsewhere = False
    opt_from = opt_to = soa_end = 0
    for number in range(every):
        owner = at
        if wire[at : at + 2] == _QUESTION:
            at += 2
        else:
            at = _skip_name(wire, at, known, places)
            elsewhere = elsewhere or number < answers
        rrtype, rrclass, ttl, octets = _read_rr(wire, at)
        start = at + 10
        at = start + octets
        if at > size:
            raise Garbage("RDATA runs over the end")
        if rrtype == codes.OPT:
            if opt_to or number < others or start != owner + 11:
                raise Garbage("an OPT where none may be")
            opt_from, opt_to = owner, at
            continue
        if rrclass != codes.IN:
            raise Garbage("an RR of another class")
        if ttl >= _NO_TTL:
            not_ttls.append(start - 6)
            ttl = 0
        ttls.append(ttl)
        ttl_at.append(start - 6)
        if number < answers:
            if rrtype == ask.rrtype:
                answered = True
            elif rrtype == codes.CNAME:
                elsewhere = True
        if rrtype == codes.A:
            if octets != 4:
                raise Garbage("an A that is no address")
        elif rrtype == codes.AAAA:
            if octets != 16:
                raise Garbage("an AAAA that is no address")
        elif rrtype in SHAPE:
            _check_rdata(wire, start, at, rrtype, known, places)
            if rrtype == codes.SOA and answers <= number < others:
                soa_end = at
        else:
            places.append((start, at))
    if at != size:
        raise Garbage("octets behind the last RR")

    if elsewhere:
        answered = _answered(wire, end, answers, name, ask.rrtype)
    elif ask.rrtype in _ANY_TYPES:
        answered = answers > 0
    rcode = flags & 15
    ede = None
    minimum = _MINIMUM.unpack_from(wire, soa_end - 4)[0] if soa_end else None
    if not_ttls:
        wire = _without_ttls(wire, not_ttls)
    if opt_to:
        rcode |= wire[opt_from + 5] << 4
        ede = _ede(wire, opt_from + 11, opt_to)
        if opt_to != size:
            return _repacked(wire, ask, rcode, ede)
        additionals -= 1
        wire = wire[:10] + additionals.to_bytes(2) + wire[12:opt_from]

    lifetime = _lifetime(rcode, answered, ttls, minimum)
    rrs = answers, authorities, additionals
    return Response(wire, end, rcode, False, rrs, tuple(ttl_at), lifetime, ede, answered)


def _is_same(asked: bytes, ours: bytes) -> bool:
    """Say whether two questions (name, type, class) are equal but for the letter case of the name."""
    # Octets of length are below "A" and pointers above "z", so that lower() changes letters only.
    return asked == ours or (asked[:-4].lower() == ours[:-4].lower() and asked[-4:] == ours[-4:])


def _lifetime(rcode: int, answered: bool, ttls: list[int], minimum: int | None) -> int | None:
    """Return how many seconds an answer may be kept; `minimum` is that of its SOA (RFC 2308 section 5)."""
    if rcode == codes.NOERROR and answered:
        return min(ttls)
    if rcode in (codes.NOERROR, codes.NXDOMAIN) and minimum is not None:
        return min(min(ttls), minimum if minimum < _NO_TTL else 0)
    return None


def _answered(wire: bytes, at: int, count: int, name: bytes, rrtype: int) -> bool:
    """Say whether an answer section has RRs of the type asked for, where its CNAMEs lead from the question.

    Raises Garbage for an RR of a name that they don't lead to.
    """
    rrs, aliases = answer_rrs(wire, at, count, {12: name})
    asked = name.lower()
    links, ends = follow(name, aliases if rrtype != codes.CNAME else {})
    last = links[-1][0].lower() if links else asked
    chain = {asked, *(target.lower() for target, _ in links)}
    above: set[bytes] | None = None
    for owner, _, covers in rrs:
        if owner not in chain:
            if covers == codes.DNAME and above is None:
                above = ancestors(chain)
            if covers != codes.DNAME or above is None or owner not in above:
                raise Garbage("an answer about another name")
    if rrtype in _ANY_TYPES:
        return any(owner == asked for owner, _, _ in rrs)
    return ends and any(owner == last and found == rrtype for owner, found, _ in rrs)


def _skip_name(wire: bytes, at: int, known: dict[int, int], places: list[tuple[int, int]]) -> int:
    """Return the end of the name at this offset.

    `known` holds the octets (uncompressed) of the names that stand at an offset, and learns: no octet
    is walked twice as a pointer's target, however many pointers there are.  `places` are where else names
    may stand that are pointed to, from which offset to which: the question's name and opaque RDATA.
    """
    end = octets = 0
    lowest = at
    limit = len(wire)
    passed = []
    while size := wire[at]:
        passed.append((at, octets))
        if size < 64:
            octets += size + 1
            at += size + 1
        elif size >= 192:
            target = (size & 63) << 8 | wire[at + 1]
            end = end or at + 2
            if at + 2 > limit or not 12 <= target < lowest:
                raise Garbage("a pointer that doesn't go back")
            if target in known:
                octets += known[target]
                break
            limit = places[bisect_right(places, (target, _LARGEST)) - 1][1]
            lowest = at = target
        else:
            raise Garbage("a label of an unknown kind")
        if at >= limit:
            raise Garbage("a pointer to what is no name")
    else:
        passed.append((at, octets))
        octets += 1
        end = end or at + 1
    if octets > 255:
        raise Garbage("a name over 255 octets")
    for start, before in passed:
        known[start] = octets - before
    return end


def _check_rdata(
    wire: bytes, at: int, end: int, rrtype: int, known: dict[int, int], places: list[tuple[int, int]]
) -> None:
    """Refuse RDATA that its fields don't fill."""
    before, names, behind = SHAPE[rrtype]
    if names == REFUSED:
        raise Garbage("an RR of a type that only questions have")
    if names == TEXTS:
        texts = 0
        while at < end:
            at += 1 + wire[at]
            texts += 1
        if at != end or texts == 0 or (rrtype == codes.HINFO and texts != 2):
            raise Garbage("texts that don't fill their RDATA")
        return
    at += before
    if names == NAPTR:
        for _ in range(3):
            at += 1 + wire[at]
        names = 1
    for _ in range(names):
        at = _skip_name(wire, at, known, places)
    if at + behind != end:
        raise Garbage("names that don't fill their RDATA")


def _without_ttls(wire: bytes, offsets: list[int]) -> bytes:
    """Return the message with these TTLs set to 0."""
    changed = bytearray(wire)
    for at in offsets:
        changed[at : at + 4] = bytes(4)
    return bytes(changed)


def _ede(wire: bytes, at: int, end: int) -> int | None:
    """Return the info code of the first Extended DNS Error among the options of an OPT."""
    if at == end:
        return None
    if not options_well_formed(wire, at, end):
        raise Garbage("an option runs over the end of the OPT")
    while at < end:
        octets = wire[at + 2] << 8 | wire[at + 3]
        if wire[at : at + 2] == b"\0\x0f" and octets >= 2:
            return wire[at + 4] << 8 | wire[at + 5]
        at += 4 + octets
    return None


def _repacked(wire: bytes, ask: Query, rcode: int, ede: int | None) -> Response:
    """Return the reply packed anew without its OPT, behind which RRs stand."""
    import dns.message  # rarely needed, and large

    try:
        message = dns.message.from_wire(wire, one_rr_per_rrset=True)
        message.use_edns(False)
        packed = message.to_wire(max_size=header.MAX_MESSAGE)
    except Exception as wrong:  # whatever a parser raises on octets from outside
        raise Garbage(f"it can't be packed without its OPT: {wrong}") from None
    found = _read(packed, ask, None)
    lifetime = found.lifetime if rcode == found.rcode else None
    return replace(found, rcode=rcode, lifetime=lifetime, ede=ede)
