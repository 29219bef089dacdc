"""Reading an upstream's reply: is it one to our question, is it whole, how long may it be kept.

What is accepted will be stored and handed to clients as it is, so `read` checks every octet that a client's
parser will follow:

* QR, opcode, ID, and one question that equals ours (RFC 5452 section 9.1);
* every name ends within the message, has at most 255 octets, and its pointers go strictly back to what
  can be a name (RFC 1035 sections 3.1 and 4.1.4): never to octets that change while a reply is kept;
* of the answer section what speaks of the question's name and of where its CNAMEs lead from there counts: the
  CNAMEs, RRs of the type asked for where these end, DNAMEs above, and with DO the RRSIGs of all these.  Other
  RRs are left out (RFC 2181 section 5.4.1), and the rest is put in the order in which it leads on, as stub
  resolvers expect it; RRs about none of these names, and CNAMEs without an end, are no answer;
* RDATA of the types in which names may be compressed (RFC 3597 section 4), of A, AAAA, TXT and HINFO is
  exactly filled; other RDATA is opaque;
* all RRs are of class IN, and none is of a type that only questions have; octets behind the last mean
  nothing, as to other resolvers, and are cut off.

The OPT (of several the first, as to other resolvers) is between us and the upstream and is taken out.  It is
nearly always the last RR; where it is not, pointers behind it would shift.  A message that has to change
elsewhere than at its end is written anew (`response_rebuild`).

A truncated reply is not read behind its question: it may end anywhere, and is asked for again over TCP.

Everything else raises Garbage.  One pass over the RRs: this runs once for each forwarded question.
Only an answer section with other owners than the question, or with aliases, is gone through again.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct, error

import msgspec
from msgspec.structs import replace

from . import codes, header
from .edns import EMPTY_OPT_OCTETS, OPTION, options_well_formed
from .garbage import Garbage, Unusable
from .name import BadName, check_name, read_name
from .query import Query, is_same_question
from .response_answer import arrange
from .response_rebuild import Places, rebuild, rr_places
from .rr_names import NAPTR, REFUSED, SHAPE, TEXTS

_read_header = Struct(">HHHHHH").unpack_from
"""As header.HEADER, with the ID as a number."""
_QR_OPCODE = header.QR | header.OPCODE
_COUNTS_OF_A_QUESTION = header.COUNTS.pack(1, 0, 0, 0)
_MINIMUM = Struct(">I")
_read_rr = header.RR.unpack_from

_A_OCTETS, _AAAA_OCTETS = 4, 16
_INFO_CODE_OCTETS = 2
_ROOT_NS = b"\0" + codes.NS.to_bytes(2)
"""How the NS set of the root begins: who knows no better says that (a lame server)."""
_OPT_RCODE_AT = 5
"""Where the upper bits of the rcode stand in an OPT."""


class Response(msgspec.Struct, frozen=True, gc=False):
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


def read(wire: bytes, query: Query, ident: int | None) -> Response:
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
        return _read(wire, query, ident)
    except (IndexError, error):
        raise _worse(wire, query, ident, "it runs over its end") from None
    except (Garbage, BadName) as wrong:
        raise _worse(wire, query, ident, str(wrong)) from None


def _worse(wire: bytes, query: Query, ident: int | None, text: str) -> Garbage:
    """Return the error for what can't be read: whether its beginning is that of a reply to the question."""
    question = query.question
    begins = wire[header.OCTETS : header.OCTETS + len(question)]
    is_reply = wire[2:3] >= b"\x80" and wire[4:6] == b"\0\1" and begins.lower() == question.lower()
    if is_reply and (ident is None or wire[:2] == ident.to_bytes(2)):
        return Unusable(text)
    return Garbage(text)


def _read(wire: bytes, query: Query, ident: int | None) -> Response:
    # 1. Whose reply it is.  Nothing behind the question of a truncated one is looked at.
    flags, end, answers, authorities, additionals = _check_question(wire, query, ident)
    if flags & header.TC:
        question = wire[: header.COUNTS_AT] + _COUNTS_OF_A_QUESTION + wire[header.OCTETS : end]
        return Response(question, end, flags & header.RCODE, True, (0, 0, 0), (), None)

    # 2. Every RR.
    answered, elsewhere, ttls, ttl_at, not_ttls, soa_end, opts, rrs_end = _walk(
        wire, end, (answers, authorities, additionals), query
    )
    wire = wire[:rrs_end]

    # 3. Whether it answers, and what of it.  Most replies speak of the question's name alone, without CNAME.
    order = None
    if elsewhere:
        answered, order, missing = arrange(wire, end, answers, query)
        if missing:
            return _completed(wire, end, answers, query, missing)
    elif not (answers or soa_end or flags & header.RCODE) and authorities and wire.startswith(_ROOT_NS, end):
        raise Garbage("a referral to the root")

    # 4. TTLs that are none become 0, in place: no offset moves.
    if not_ttls:
        wire = bytes(header.with_ttl(wire, not_ttls, 0))

    # 5. The OPT is taken out.  As the last RR it is cut off; elsewhere, offsets behind it would be wrong,
    # as they are where answer RRs move.
    rcode = flags & header.RCODE
    ede = None
    if opts:
        opt_from, opt_to = opts[0]
        rcode |= wire[opt_from + _OPT_RCODE_AT] << 4
        ede = _ede(wire, opt_from + EMPTY_OPT_OCTETS, opt_to)
    if order is not None or (opts and opt_to != rrs_end):
        places = rr_places(wire, end, (answers, authorities, additionals))
        if order is not None:
            places[0] = [places[0][number] for number in order]
        return _rebuilt(wire, end, places, query, rcode, ede)
    if opts:
        additionals -= 1
        counted = wire[: header.ADDITIONALS_AT] + additionals.to_bytes(2)
        wire = counted + wire[header.OCTETS : opt_from]

    # 6. For how long it may be kept.
    minimum = _MINIMUM.unpack_from(wire, soa_end - _MINIMUM.size)[0] if soa_end else None
    lifetime = _lifetime(rcode, answered, ttls, minimum)
    rrs = answers, authorities, additionals
    return Response(wire, end, rcode, False, rrs, tuple(ttl_at), lifetime, ede, answered)


def _check_question(wire: bytes, query: Query, ident: int | None) -> tuple[int, int, int, int, int]:
    """Refuse what is no reply to the question.

    Returns the flags, the end of the question, and the RRs of answer, authority and additional section.
    """
    got, flags, questions, answers, authorities, additionals = _read_header(wire)
    if flags & _QR_OPCODE != header.QR:
        raise Garbage("no reply to a query")
    if ident is not None and got != ident:
        raise Garbage("the ID is another one")
    question = query.question
    end = header.OCTETS + len(question)
    if questions != 1 or not is_same_question(wire[header.OCTETS : end], question):
        raise Garbage("the question is another one")
    return flags, end, answers, authorities, additionals


_Walked = tuple[bool, bool, list[int], list[int], list[int], int, list[tuple[int, int]], int]
"""What a walk over all RRs has found, in this order:

* whether the answer section has an RR of the type asked for, of whatever owner;
* whether it has another owner than the question's name, or another type: then the former says too little;
* the TTLs of all RRs but the OPT, their offsets, and those of them whose top bit is set;
* the end of the SOA in the authority section, 0 if there is none;
* where each OPT begins and ends, and where the last RR does.
"""


def _walk(wire: bytes, end: int, counts: tuple[int, int, int], query: Query) -> _Walked:
    """Go through all RRs, which begin at `end`.  Raises Garbage, BadName."""
    answers, authorities, additionals = counts
    asked = query.rrtype
    beside = codes.RRSIG if query.do else asked
    others = answers + authorities
    size = len(wire)
    at = end
    # Where names stand that pointers may lead to, see `check_name`.  The question's name is one of them.
    name_octets = end - header.OCTETS - header.TYPE_CLASS.size
    known = {header.OCTETS: name_octets}
    places = [(header.OCTETS, header.OCTETS + name_octets)]
    ttls: list[int] = []
    ttl_at: list[int] = []
    not_ttls: list[int] = []
    answered = elsewhere = False
    opts: list[tuple[int, int]] = []
    soa_end = 0
    for number in range(others + additionals):
        # The owner: nearly always a pointer to the question's name.
        owner = at
        if wire[at : at + 2] == header.QUESTION_NAME:
            at += 2
        else:
            at = check_name(wire, at, known, places)
            elsewhere = elsewhere or number < answers
        # The fixed part.  It raises struct.error where the message ends in it.
        rrtype, rrclass, ttl, octets = _read_rr(wire, at)
        start = at + header.RR.size
        at = start + octets
        if at > size:
            raise Garbage("RDATA runs over the end")
        # An OPT: in the additional section, owned by the root (RFC 6891 section 6.1.1).  Its class and TTL
        # are something else than that.
        if rrtype == codes.OPT:
            if number < others or start != owner + EMPTY_OPT_OCTETS:
                raise Garbage("an OPT where none may be")
            opts.append((owner, at))
            continue
        if rrclass != codes.IN:
            raise Garbage("an RR of another class")
        # TTL: its place is kept, as it is rewritten in the cache.
        if ttl > header.MAX_TTL:
            not_ttls.append(start - header.TTL_TO_RDATA)
            ttl = 0
        ttls.append(ttl)
        ttl_at.append(start - header.TTL_TO_RDATA)
        # What it means for the question.
        if number < answers:
            if rrtype == asked:
                answered = True
            elif rrtype != beside:
                elsewhere = True
        # RDATA: exactly filled where a parser looks into it.  All other is opaque: pointers may lead there.
        if rrtype == codes.A:
            if octets != _A_OCTETS:
                raise Garbage("an A that is no address")
        elif rrtype == codes.AAAA:
            if octets != _AAAA_OCTETS:
                raise Garbage("an AAAA that is no address")
        elif rrtype in SHAPE:
            _check_rdata(wire, start, at, rrtype, known, places)
            if rrtype == codes.SOA and answers <= number < others:
                soa_end = at
        else:
            places.append((start, at))
    return answered, elsewhere, ttls, ttl_at, not_ttls, soa_end, opts, at


def _lifetime(rcode: int, answered: bool, ttls: list[int], minimum: int | None) -> int | None:
    """Return how many seconds an answer may be kept; `minimum` is that of its SOA (RFC 2308 section 5)."""
    if rcode == codes.NOERROR and answered:
        return min(ttls)
    if rcode in (codes.NOERROR, codes.NXDOMAIN) and minimum is not None:
        return min(min(ttls), minimum if minimum <= header.MAX_TTL else 0)
    return None


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
        at = check_name(wire, at, known, places)
    if at + behind != end:
        raise Garbage("names that don't fill their RDATA")


def _ede(wire: bytes, at: int, end: int) -> int | None:
    """Return the info code of the first Extended DNS Error among the options of an OPT."""
    if at == end:
        return None
    if not options_well_formed(wire, at, end):
        raise Garbage("an option runs over the end of the OPT")
    while at < end:
        code, octets = OPTION.unpack_from(wire, at)
        at += OPTION.size
        if code == codes.EDE and octets >= _INFO_CODE_OCTETS:
            return int.from_bytes(wire[at : at + _INFO_CODE_OCTETS])
        at += octets
    return None


def without(response: Response, query: Query, is_unwanted: Callable[[bytes, int], bool]) -> Response:
    """Return a response without some RRs of its authority and additional section.

    `is_unwanted` says of an owner, on the wire, and a type whether such RRs are left out.
    """
    wire = response.wire
    places = rr_places(wire, response.end, response.counts)
    names: dict[int, bytes] = {}

    def is_wanted(place: int) -> bool:
        owner, at = read_name(wire, place, names)
        return not is_unwanted(owner, header.TYPE_CLASS.unpack_from(wire, at)[0])

    kept = [places[0], *(list(filter(is_wanted, section)) for section in places[1:])]
    if kept == places:
        return response
    return _rebuilt(wire, response.end, kept, query, response.rcode, response.ede)


def _completed(wire: bytes, end: int, answers: int, query: Query, missing: list[bytes]) -> Response:
    """Return the answer with the CNAMEs that follow from its DNAMEs; what stands beside it is left out."""
    rebuilt = rebuild(wire, end, [*rr_places(wire, end, (answers,)), [], []])
    counts = header.COUNTS.pack(1, answers + len(missing), 0, 0)
    whole = rebuilt[: header.COUNTS_AT] + counts + rebuilt[header.OCTETS :] + b"".join(missing)
    if len(whole) > header.MAX_MESSAGE:
        raise Garbage("too long once its names are spelt in full")
    return _read(whole, query, None)


def _rebuilt(wire: bytes, end: int, places: Places, query: Query, rcode: int, ede: int | None) -> Response:
    """Return the reply with these RRs alone, in this order."""
    rebuilt = rebuild(wire, end, places)
    if len(rebuilt) > header.MAX_MESSAGE:
        raise Garbage("too long once its names are spelt in full")
    found = _read(rebuilt, query, None)
    lifetime = found.lifetime if rcode == found.rcode else None
    return replace(found, rcode=rcode, lifetime=lifetime, ede=ede)
