"""Making a draft fit into the octets that there are.

What gives way, in this order:

1. RRSIGs of additional RRs are left out (RFC 4035 section 3.1.1);
2. the owners of additional RRs become pointers to the same name further up;
3. additional RRsets are left out, each as a whole (RFC 2181 section 9);
4. answer RRs are left out, and with them everything behind the answer.

TC says that something is missing which the client needs: an answer or its RRSIGs, the authority section,
or the glue of a referral (RFC 9471); never that additionals are missing.  RRsets are rotated before
anything is left out, so what is sent of a set is a random part of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate, groupby
from random import random
from typing import TypeVar

from svcdns.names.packed import Section
from svcdns.wire import codes, header
from svcdns.wire.name import POINTER_FROM, name_end
from svcdns.wire.reply import Sections

from .draft import Draft

_NAME_IN_RDATA = {codes.NS: 0, codes.SRV: 6, **dict.fromkeys((codes.MX, codes.AFSDB, codes.RT, codes.KX), 2)}
"""Where the name stands in the RDATA of the types that bring additional RRs."""
_RR_OCTETS = header.RR.size
_SMALLEST_RR = header.POINTED_RR + 4
"""Octets of an A whose owner is a pointer."""
_RDATA_AT = header.POINTED_RR
_LENGTH_AT = _RDATA_AT - 2
"""Where the size of the RDATA stands in an RR whose owner is a pointer."""
_DATAGRAM, _MOST_REMEMBERED = 4096, 1024
"""Octets of RRs that are worth remembering, and how many such sequences are."""
_T = TypeVar("_T")


def fit(draft: Draft, at: int, room: int) -> Sections:
    """Choose what of a draft is sent in `room` octets that begin at octet `at` of the message."""
    sections = Sections()
    _answers(draft, sections, room)
    room -= len(sections.answers)
    if sections.truncated:
        return sections
    authority = first_rrs(draft.authority, room)
    sections.authority, sections.authority_count = b"".join(authority), len(authority)
    if len(authority) < len(draft.authority):
        sections.truncated = True
        return sections
    room -= len(sections.authority)
    if len(draft.additionals) <= room:
        sections.additionals, sections.additional_count = draft.additionals, draft.additional_count
    else:
        _additionals(draft, sections, at, room)
    if draft.additional_signatures and sections.additional_count == draft.additional_count:
        signed = first_rrs(draft.additional_signatures, room - len(sections.additionals))
        sections.additionals += b"".join(signed)
        sections.additional_count += len(signed)
    return sections


def _answers(draft: Draft, sections: Sections, room: int) -> None:
    chain = first_rrs(draft.chain, room)
    sections.answers, sections.answer_count = b"".join(chain), len(chain)
    if len(chain) < len(draft.chain):
        sections.truncated = True
    elif draft.section is not None:
        count, octets = rotated(draft.section, room - len(sections.answers))
        if draft.owner != header.QUESTION_NAME:
            octets = b"".join(draft.owner + rr[header.POINTER_OCTETS :] for rr in short_owner_rrs(octets))
        sections.answers += octets
        sections.answer_count += count
        sections.truncated = count < draft.section.count
    if draft.signatures and not sections.truncated:
        signed = first_rrs(draft.signatures, room - len(sections.answers))
        sections.answers += b"".join(signed)
        sections.answer_count += len(signed)
        sections.truncated = len(signed) < len(draft.signatures)


def first_rrs(rrs: list[bytes], room: int) -> list[bytes]:
    """Return the RRs from the first on that have room."""
    return rrs[: bisect_right(list(accumulate(map(len, rrs))), room)]


def rotated(section: Section, room: int) -> tuple[int, bytes]:
    """Return how many RRs of a set have room, and these, from a random one on."""
    answers = section.answers
    first = int(random() * section.count)
    start = first * section.stride if section.stride else section.offsets[first]
    if len(answers) <= room:
        taken, octets = section.count, len(answers)
    elif section.stride:
        taken = room // section.stride
        octets = taken * section.stride
    else:
        taken, octets = _taken(section, first, room)
    return taken, (answers[start:] + answers[:start])[:octets]


def _taken(section: Section, first: int, room: int) -> tuple[int, int]:
    """Return how many RRs of different sizes have room, from one of them on, and their octets."""
    offsets = [*section.offsets, len(section.answers)]
    octets = 0
    for taken in range(section.count):
        index = (first + taken) % section.count
        size = offsets[index + 1] - offsets[index]
        if octets + size > room:
            break
        octets += size
    return taken, octets


def short_owner_rrs(octets: bytes) -> Iterator[bytes]:
    """Split RRs whose owners are pointers."""
    at = 0
    while at < len(octets):
        end = at + _RDATA_AT + int.from_bytes(octets[at + _LENGTH_AT : at + _RDATA_AT])
        yield octets[at:end]
        at = end


def _owner_end(octets: bytes, at: int) -> int:
    """Return the end of a name, which ends in a pointer or in the root."""
    while 0 < (size := octets[at]) < POINTER_FROM:
        at += 1 + size
    return at + (header.POINTER_OCTETS if size else 1)


def full_owner_rrs(octets: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Split RRs whose owners are spelt in full; yield each owner and what follows it."""
    at = 0
    while at < len(octets):
        start, at = at, name_end(octets, at)
        end = at + _RR_OCTETS + int.from_bytes(octets[at + header.RDLENGTH_AT : at + _RR_OCTETS])
        yield octets[start:at], octets[at:end]
        at = end


def _additionals(draft: Draft, sections: Sections, at: int, room: int) -> None:
    """Fill the room with additional RRsets, their owners compressed."""
    before = sections.answers + sections.authority
    sections.additionals, rrs = additionals_that_fit(before, draft.additionals, at, room)
    sections.additional_count = rrs
    sections.truncated = draft.is_referral and rrs < draft.additional_count


def additionals_that_fit(before: bytes, additionals: bytes, at: int, room: int) -> tuple[bytes, int]:
    """Return additional RRsets that fill so many octets of room, their owners compressed; and their RRs.

    `before` are the RRs in front of them, which begin at octet `at` of the message.
    """
    known = {name: at + inside for name, inside in _names(before) if at + inside <= header.FARTHEST}
    end = at + len(before)
    taken: list[bytes] = []
    octets = rrs = 0
    for owner, tails in _rrsets(additionals):
        place = known.get(owner)
        head = owner if place is None else header.pointer(place)
        if place is None and end + octets <= header.FARTHEST:
            place = end + octets
        again = owner if place is None else header.pointer(place)
        body = head + again.join(tails)
        if octets + len(body) <= room:
            taken.append(body)
            rrs += len(tails)
            octets += len(body)
            if place is not None:
                known[owner] = place
        if room - octets < _SMALLEST_RR:
            break
    return b"".join(taken), rrs


def _remembered(read: Callable[[bytes], _T]) -> Callable[[bytes], _T]:
    """Remember what was read of RRs that can be in a datagram: few Services' answers have too little room."""
    known = lru_cache(_MOST_REMEMBERED)(read)
    return lambda rrs: known(rrs) if len(rrs) <= _DATAGRAM else read(rrs)


@_remembered
def _rrsets(additionals: bytes) -> list[tuple[bytes, list[bytes]]]:
    """Group additional RRs that follow each other and have one owner and one type."""
    return [
        (owner, [tail for _, tail in rrs])
        for (owner, _), rrs in groupby(full_owner_rrs(additionals), key=lambda rr: (rr[0], rr[1][:2]))
    ]


@_remembered
def _names(rrs: bytes) -> list[tuple[bytes, int]]:
    """Return the names in the RDATA of these RRs and where in them each stands: the first place last."""
    places: list[tuple[bytes, int]] = []
    begin = 0
    while begin < len(rrs):
        owner_end = _owner_end(rrs, begin)
        rrtype, _, _, octets = header.RR.unpack_from(rrs, owner_end)
        rdata = owner_end + _RR_OCTETS
        begin = rdata + octets
        inside = _NAME_IN_RDATA.get(rrtype)
        if inside is not None:
            places.append((rrs[rdata + inside : begin], rdata + inside))
    return places[::-1]
