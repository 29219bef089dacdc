"""The stored form of a forwarded reply, and the reply to a client made of it.

    stored = header | offset of each TTL u16 * RRs | body

The body is what stands behind the question of the upstream's reply, as it came: its compression
pointers stay right, because a client's question for the same name has the same size.  Owners that point
to the question so repeat the client's letter case.  Offsets count from the start of the body.

* TTLs are cut down to the answer's lifetime when it is stored, which is no more than any of them.  So all
  have one TTL, which counts down from there.
* Addresses are turned by a random offset in every reply; nothing else moves, and no boundary of an RR does.
* Octets that are left out stand at the end, so no pointer ever loses what it points to.

Pure: the time comes from the caller, in whole seconds since boot (svcdns.cache.store.now).  The form is
nobody's business but ours and this server's; when it changes, raise svcdns.cache.generations.LAYOUT.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from random import random
from struct import Struct
from typing import NamedTuple

from svcdns.config.sections import CacheConfig
from svcdns.wire import codes, edns, header
from svcdns.wire.reply import Frame, Sections, message, refusal
from svcdns.wire.response import Response

FAILURE_SECONDS = 5
"""A failure is kept for so long (RFC 2308 section 7.1 allows five minutes)."""
STALE_SECONDS = 5
"""So long no upstream is asked again once a stale answer has been given (RFC 8767 section 5: recheck)."""
STALE_TTL = 30
"""Of the records of a stale answer (RFC 8767 section 4)."""

_HEADER = Struct(">IIIHHHHHHHHHBB")
"""Stored at, fresh until, stale until; rcode; EDE; RRs of the three sections; octets up to the end of the
answer section and of the authority section; where addresses begin that are turned, how many octets they
have in all; octets of one of them, 0 for none; flags."""
_read = _HEADER.unpack_from
_message_header = header.HEADER.pack
_OCTETS = _HEADER.size
_FLAGS_AT = _OCTETS - 1
_FRESH_AT, _RCODE_AT, _EDE_AT = 4, 12, 14

_NODATA = 1
_HAS_ALIAS = 2
"""Its answer section has a CNAME."""
_STALE = 4
"""Its TTLs don't count down."""
_TRUNCATED = 8
"""It came incomplete."""
_SPARE_AUTHORITY = 16
"""Its authority section names the servers of what was found: nobody needs that."""

_FAILURE = 32
"""Its body is the text of its EDE."""

_NO_EDE = 0xFFFF
_OFFSETS = [Struct(f">{count}H") for count in range(64)]
_ADDRESS_OCTETS = {codes.A: 16, codes.AAAA: 28}
"""Of a whole RR whose owner is a pointer."""


def key(name_key: bytes, rrtype: int, do: bool, cd: bool) -> bytes:
    """Return the key of a question in the cache; `name_key` alone is the prefix of all at or below a name."""
    return name_key + rrtype.to_bytes(2) + bytes((do | cd << 1,))


def name_and_type(key: bytes) -> tuple[bytes, int]:
    """Return the name's key and the type of a question, of its key in the cache."""
    return key[:-3], int.from_bytes(key[-3:-1])


def pack(received: Response, now: int, config: CacheConfig) -> bytes:
    """Return the stored form of an upstream's reply.

    One that must not be kept (no lifetime, truncated) has it too, for those who wait for it, and is not
    fresh from the beginning; its TTLs are 0.
    """
    wire, end, ttl_at = received.wire, received.end, received.ttl_at
    rr_ends = [at + 6 + int.from_bytes(wire[at + 4 : at + 6]) for at in ttl_at]
    types = [int.from_bytes(wire[at - 4 : at - 2]) for at in ttl_at]
    answers, authority = received.counts[0], sum(received.counts[:2])
    flags = 0
    if received.truncated:
        flags |= _TRUNCATED
    if received.rcode == codes.NOERROR and not received.answered:
        flags |= _NODATA
    if codes.CNAME in types[:answers]:
        flags |= _HAS_ALIAS
    if received.answered and set(types[answers:authority]) == {codes.NS}:
        flags |= _SPARE_AUTHORITY

    is_negative = received.rcode == codes.NXDOMAIN or bool(flags & _NODATA)
    longest = config.max_negative_ttl if is_negative else config.max_ttl
    lifetime = 0 if received.truncated else min(received.lifetime or 0, longest)
    body = _aged(wire[end:], [at - end for at in ttl_at], lifetime)

    fresh_until = now + lifetime
    may_be_stale = lifetime and received.rcode in (codes.NOERROR, codes.NXDOMAIN)
    ends = [0, *(rr_end - end for rr_end in rr_ends)]
    head = _HEADER.pack(
        now,
        fresh_until,
        fresh_until + config.stale if may_be_stale else fresh_until,
        received.rcode,
        _NO_EDE if received.ede is None else received.ede,
        *received.counts,
        ends[answers],
        ends[authority],
        *_addresses(bytes(body), ends[: answers + 1]),
        flags,
    )
    offsets = struct.pack(f">{len(ttl_at)}H", *(at - end for at in ttl_at))
    return head + offsets + body


def failure(ede: int, now: int, text: str = "") -> bytes:
    """Return the stored form of a SERVFAIL with an Extended DNS Error that says why; its text is the body."""
    fresh_until = now + FAILURE_SECONDS
    head = _HEADER.pack(now, fresh_until, fresh_until, codes.SERVFAIL, ede, 0, 0, 0, 0, 0, 0, 0, 0, _FAILURE)
    return head + text.encode()


def stale(stored: bytes, now: int) -> bytes | None:
    """Return an answer as one that has run out and stands in for a while (RFC 8767).

    None for a failure, and for an answer that ran out too long ago.  What it returns can be made stale
    again, until the time up to which the first could.
    """
    head = list(_read(stored))
    stale_until, code = head[2], head[3]
    if now >= stale_until or code not in (codes.NOERROR, codes.NXDOMAIN):
        return None
    head[:2] = now, min(now + STALE_SECONDS, stale_until)
    head[4] = codes.EDE_STALE_NXDOMAIN if code == codes.NXDOMAIN else codes.EDE_STALE_ANSWER
    head[-1] |= _STALE
    count = sum(head[5:8])
    start = _OCTETS + 2 * count
    body = _aged(stored[start:], _ttl_offsets(stored, count), STALE_TTL)
    return _HEADER.pack(*head) + stored[_OCTETS:start] + body


def is_fresh(stored: bytes, now: int) -> bool:
    """Say whether an answer may still be given as it is."""
    return now < int.from_bytes(stored[_FRESH_AT : _FRESH_AT + 4])


def rcode(stored: bytes) -> int:
    """Return the rcode, its upper bits included."""
    return stored[_RCODE_AT] << 8 | stored[_RCODE_AT + 1]


def ede(stored: bytes) -> int | None:
    """Return the Extended DNS Error (RFC 8914) that goes with it."""
    code = int.from_bytes(stored[_EDE_AT : _EDE_AT + 2])
    return None if code == _NO_EDE else code


def is_nodata(stored: bytes) -> bool:
    """Say whether it is NOERROR without an RR of the type asked for."""
    return bool(stored[_FLAGS_AT] & _NODATA)


def is_truncated(stored: bytes) -> bool:
    """Say whether it is a part of what there was to say, as the upstream did not answer over TCP."""
    return bool(stored[_FLAGS_AT] & _TRUNCATED)


def plain_reply(
    stored: bytes, now: int, packet: bytes, end: int, flags: int, limit: int, our_opt: bytes
) -> bytes | None:
    """Return the reply to a plain question whose question ends at `end`; None where it takes more.

    `flags` are those of the reply, without the rcode; `limit` in octets; `our_opt` is b"" for a client
    without.  It says what `reply` says, and is None for what isn't fresh, for what has no room, and for
    what needs an OPT of its own.
    """
    at, fresh_until, _, code, why, answers, others, more, _, _, turn_at, turned, stride, marks = _read(stored)
    count = answers + others + more
    start = _OCTETS + 2 * count
    if end + len(stored) - start + len(our_opt) > limit or now >= fresh_until:
        return None
    if code > 15 or marks & _TRUNCATED or (our_opt and why != _NO_EDE):
        return None
    body: bytes | bytearray = b"" if marks & _FAILURE else stored[start:]
    if now != at and not marks & (_STALE | _FAILURE):
        body = _aged(body, _ttl_offsets(stored, count), fresh_until - now)
    if stride:
        body = _turned(body, turn_at, turned, stride)
    if our_opt:
        more += 1
    head = _message_header(packet[:2], flags | code, 1, answers, others, more)
    return head + packet[12:end] + body + our_opt


def reply(stored: bytes, now: int, frame: Frame) -> bytes:
    """Return the reply to any client, as much of it as fits.

    What gives way, in this order: the additional section; an authority section that nobody needs;
    answer RRs, and with them everything behind.  TC says that something else than the first two is
    missing.  Over TCP there is nothing better to try, so TC is never set for want of room.
    An rcode above 15 is SERVFAIL for a client without OPT.  TTLs of an answer that has run out are 0.
    """
    _, _, _, code, why, answers, others, more, answer_end, others_end, *turn, marks = _read(stored)
    if marks & _FAILURE:
        return refusal(frame, code, why, stored[_OCTETS:].decode())
    if code > 15 and frame.edns is None:
        return refusal(frame, codes.SERVFAIL)
    opt = frame.opt(code, b"" if why == _NO_EDE else edns.error(why))
    room = frame.limit - frame.end - len(opt)
    truncated = bool(marks & _TRUNCATED)
    start = _OCTETS + 2 * (answers + others + more)
    octets = len(stored) - start
    if octets > room:
        more = 0
        if others_end <= room:
            octets = others_end
        elif answer_end <= room and marks & _SPARE_AUTHORITY:
            octets, others = answer_end, 0
        else:
            answers, octets = _whole_rrs(stored, start, answers, room)
            others = 0
            truncated = truncated or not frame.tcp
    body: bytes | bytearray
    if turn[2] and octets > turn[0]:
        body = _turned(stored[start:], *turn)[:octets]
    else:
        body = stored[start : start + octets]
    if (ttl := _new_ttl(stored, now)) is not None:
        body = _aged(body, _ttl_offsets(stored, answers + others + more), ttl)
    sections = Sections(bytes(body), answers, b"", others, b"", more, truncated)
    return message(frame, code & header.RCODE, sections, opt)


class Records(NamedTuple):
    """What a stored reply says, for a message of another shape than the upstream's."""

    answers: int
    """RRs of the answer section."""
    authority: int
    """RRs of the authority section behind it, 0 for one that nobody needs."""
    ttl: bytes
    """Of each of them at this time; those in `body` are void."""
    truncated: bool
    """Whether it came incomplete."""
    body: bytes
    """What stood behind the upstream's question, as it came, addresses turned."""


def records(stored: bytes, now: int) -> Records:
    """Return the records of a stored reply that is no failure."""
    _, _, _, _, _, answers, others, more, _, _, *turn, marks = _read(stored)
    start = _OCTETS + 2 * (answers + others + more)
    body = stored[start:]
    if turn[2]:
        body = bytes(_turned(body, *turn))
    if (ttl := _new_ttl(stored, now)) is not None:
        octets = ttl.to_bytes(4)
    elif answers + others:
        at = _ttl_offsets(stored, 1)[0]
        octets = body[at : at + 4]
    else:
        octets = bytes(4)
    spare = marks & _SPARE_AUTHORITY
    return Records(answers, 0 if spare else others, octets, bool(marks & _TRUNCATED), body)


def has_alias(stored: bytes) -> bool:
    """Say whether its answer section has a CNAME."""
    return bool(stored[_FLAGS_AT] & _HAS_ALIAS)


def failure_text(stored: bytes) -> str:
    """Return the text of a failure's EDE; empty for anything else."""
    return stored[_OCTETS:].decode() if stored[_FLAGS_AT] & _FAILURE else ""


def _addresses(body: bytes, ends: list[int]) -> tuple[int, int, int]:
    """Find the first run of addresses of one owner in the answer section.

    Returns where it begins, its octets, and the octets of one RR; zeros where there are no two.
    """
    first = rrs = 0
    for number, (start, end) in enumerate(pairwise(ends)):
        owner_and_type = body[start : start + 4]
        is_address = end - start == _ADDRESS_OCTETS.get(int.from_bytes(owner_and_type[2:]))
        if is_address and rrs and owner_and_type == body[ends[first] : ends[first] + 4]:
            rrs += 1
        elif rrs > 1:
            break
        else:
            first, rrs = number, int(is_address)
    if rrs < 2:
        return 0, 0, 0
    stride = ends[first + 1] - ends[first]
    return ends[first], rrs * stride, stride


def _ttl_offsets(stored: bytes, count: int) -> tuple[int, ...]:
    if count < len(_OFFSETS):
        return _OFFSETS[count].unpack_from(stored, _OCTETS)
    return struct.unpack_from(f">{count}H", stored, _OCTETS)


def _new_ttl(stored: bytes, now: int) -> int | None:
    """Return the TTL, in seconds, that all RRs have at this time; None where it is the one they have."""
    at, fresh_until = _read(stored)[:2]
    return None if now == at or stored[_FLAGS_AT] & _STALE else max(fresh_until - now, 0)


def _aged(body: bytes | bytearray, offsets: Sequence[int], ttl: int) -> bytearray:
    """Return the body with this TTL at these offsets."""
    aged = bytearray(body)
    octets = ttl.to_bytes(4)
    for offset in offsets:
        aged[offset : offset + 4] = octets
    return aged


def _turned(body: bytes | bytearray, start: int, octets: int, stride: int) -> bytes | bytearray:
    """Return the body with its addresses in the same order, from a random one on."""
    end = start + octets
    turn = start + int(random() * (octets // stride)) * stride
    return body[:start] + body[turn:end] + body[start:turn] + body[end:]


def _whole_rrs(stored: bytes, start: int, count: int, room: int) -> tuple[int, int]:
    """Return how many of the first RRs, of so many, have room, and their octets.

    Addresses that are turned have one size, so it is the same for all turns.
    """

    def end(number: int) -> int:
        at = _OCTETS + 2 * number
        ttl_at = stored[at] << 8 | stored[at + 1]
        return ttl_at + 6 + int.from_bytes(stored[start + ttl_at + 4 : start + ttl_at + 6])

    taken = bisect_right(range(count), room, key=end)
    return taken, end(taken - 1) if taken else 0
