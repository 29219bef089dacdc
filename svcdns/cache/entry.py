"""The stored form of a forwarded reply, and the reply to a client made of it.

    stored = header | offset of each TTL u16 * RRs | body

The body is what stands behind the question of the upstream's reply, as it came: its compression
pointers stay right, because a client's question for the same name has the same size.  Owners that point
to the question so repeat the client's letter case.  Offsets count from the start of the body.

* `decode` reads the header once and gives a CacheEntry, which answers whatever is asked about the reply.  The
  fast path makes no objects: `is_fresh`, `rcode`, `is_nodata` and `plain_reply` read the octets in place.
* TTLs are cut down to the answer's lifetime when it is stored, which is no more than any of them.  So all
  have one TTL, which counts down from there.
* Addresses are rotated by a random offset in every reply; nothing else moves, and no boundary of an RR does.
* Octets that are left out stand at the end, so no pointer ever loses what it points to.

Pure: the time comes from the caller, in whole seconds since boot (svcdns.cache.store.now).  The form is
nobody's business but ours and this server's; when it changes, raise svcdns.cache.generations.LAYOUT.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from itertools import groupby, pairwise
from random import random
from struct import Struct
from typing import NamedTuple

from svcdns.config.sections import CacheConfig
from svcdns.wire import codes, edns, header
from svcdns.wire.header import with_ttl
from svcdns.wire.reply import Frame, Sections, message, refusal
from svcdns.wire.response import Response

FAILURE_SECONDS = 5
"""A failure is kept for so long (RFC 2308 section 7.1 allows five minutes)."""
STALE_SECONDS = 5
"""So long no upstream is asked again once a stale answer has been given (RFC 8767 section 5: recheck)."""
STALE_TTL = 30
"""Of the records of a stale answer (RFC 8767 section 4)."""

_HEADER = Struct(">IIIHHHHHHHHHBB")
"""The fields of CacheEntry, in their order, but for the last one."""
_read = _HEADER.unpack_from
_message_header = header.HEADER.pack
_OCTETS = _HEADER.size
_FLAGS_AT = _OCTETS - 1
_FRESH_AT, _RCODE_AT = 4, 12

_NODATA = 1
_HAS_CNAME = 2
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
_TTL_TO_RDLENGTH = header.RDLENGTH_AT - header.TTL_AT
_ADDRESS_OCTETS = {codes.A: header.POINTED_RR + 4, codes.AAAA: header.POINTED_RR + 16}
"""Of a whole RR whose owner is a pointer."""


class CacheEntry(NamedTuple):
    """A stored reply whose header has been read."""

    stored_at: int
    fresh_until: int
    stale_until: int
    rcode: int
    """With its upper bits."""
    info_code: int
    """Of its Extended DNS Error, _NO_EDE for none; see `ede`."""
    answers: int
    authority: int
    additional: int
    """RRs of the three sections."""
    answer_end: int
    """Octets of the body up to the end of the answer section."""
    authority_end: int
    """The same for the authority section."""
    rotated_at: int
    """Where in the body the addresses begin that are rotated."""
    rotated_octets: int
    """Octets of them all."""
    stride: int
    """Octets of one of them, 0 where none are rotated."""
    flags: int
    stored: bytes
    """The whole stored form."""

    @property
    def ede(self) -> int | None:
        """The info code of the Extended DNS Error (RFC 8914) that goes with it."""
        return None if self.info_code == _NO_EDE else self.info_code

    @property
    def is_truncated(self) -> bool:
        """Whether it is a part of what there was to say, as the upstream did not answer over TCP."""
        return bool(self.flags & _TRUNCATED)

    @property
    def has_cname(self) -> bool:
        """Whether its answer section has a CNAME."""
        return bool(self.flags & _HAS_CNAME)

    @property
    def failure_text(self) -> str:
        """The text of a failure's EDE; empty for anything else."""
        return self.stored[_OCTETS:].decode() if self.flags & _FAILURE else ""

    def reply(self, now: int, frame: Frame) -> bytes:
        """Return the reply to any client, as much of it as fits.

        What gives way, in this order: the additional section; an authority section that nobody needs;
        answer RRs, and with them everything behind.  TC says that something else than the first two is
        missing.  Over TCP there is nothing better to try, so TC is never set for want of room.
        An rcode above 15 is SERVFAIL for a client without OPT.  TTLs of an answer that has run out are 0.
        """
        if self.flags & _FAILURE:
            return refusal(frame, self.rcode, self.info_code, self.failure_text)
        if self.rcode > header.RCODE and frame.edns is None:
            return refusal(frame, codes.SERVFAIL)
        opt = frame.opt(self.rcode, b"" if self.ede is None else edns.error(self.ede))
        sections = self._sections(now, frame.limit - frame.end - len(opt), frame.tcp)
        return message(frame, self.rcode & header.RCODE, sections, opt)

    @property
    def needed_authority(self) -> int:
        """RRs of the authority section, 0 for one that nobody needs."""
        return 0 if self.flags & _SPARE_AUTHORITY else self.authority

    def body(self) -> bytes:
        """Return what stood behind the upstream's question, addresses rotated; its TTLs are void."""
        body = self.stored[self._body_at :]
        if self.stride:
            body = bytes(_rotated(body, self.rotated_at, self.rotated_octets, self.stride))
        return body

    def ttl(self, now: int) -> int:
        """Return the TTL in seconds that all RRs have at this time; 0 where there are none."""
        if (ttl := self._new_ttl(now)) is not None or not self._count:
            return ttl or 0
        at = self._body_at + _ttl_offsets(self.stored, 1)[0]
        return int.from_bytes(self.stored[at : at + 4])

    def stale(self, now: int) -> bytes | None:
        """Return the stored form of an answer that has run out and stands in for a while (RFC 8767).

        None for a failure, and for an answer that ran out too long ago.  What it returns can be made stale
        again, until the time up to which the first could.
        """
        if now >= self.stale_until or self.rcode not in (codes.NOERROR, codes.NXDOMAIN):
            return None
        is_nxdomain = self.rcode == codes.NXDOMAIN
        head = self._replace(
            stored_at=now,
            fresh_until=min(now + STALE_SECONDS, self.stale_until),
            info_code=codes.EDE_STALE_NXDOMAIN if is_nxdomain else codes.EDE_STALE_ANSWER,
            flags=self.flags | _STALE,
        )
        start = self._body_at
        body = with_ttl(self.stored[start:], _ttl_offsets(self.stored, self._count), STALE_TTL)
        return _HEADER.pack(*head[:-1]) + self.stored[_OCTETS:start] + body

    @property
    def _count(self) -> int:
        return self.answers + self.authority + self.additional

    @property
    def _body_at(self) -> int:
        return _OCTETS + 2 * self._count

    def _sections(self, now: int, room: int, tcp: bool) -> Sections:
        """Return what is sent of the body in so many octets of room: its beginning, as RRs of one section."""
        start = self._body_at
        answers, authority, additional = self.answers, self.authority, self.additional
        truncated = self.is_truncated
        octets = len(self.stored) - start
        if octets > room:
            additional = 0
            if self.authority_end <= room:
                octets = self.authority_end
            elif self.answer_end <= room and self.flags & _SPARE_AUTHORITY:
                octets, authority = self.answer_end, 0
            else:
                answers, octets = _whole_rrs(self.stored, start, answers, room)
                authority = 0
                truncated = truncated or not tcp
        body: bytes | bytearray
        if self.stride and octets > self.rotated_at:
            rotated = _rotated(self.stored[start:], self.rotated_at, self.rotated_octets, self.stride)
            body = rotated[:octets]
        else:
            body = self.stored[start : start + octets]
        if (ttl := self._new_ttl(now)) is not None:
            body = with_ttl(body, _ttl_offsets(self.stored, answers + authority + additional), ttl)
        return Sections(bytes(body), answers, b"", authority, b"", additional, truncated)

    def _new_ttl(self, now: int) -> int | None:
        """Return the TTL, in seconds, that all RRs have at this time; None where it is the one they have."""
        keeps = now == self.stored_at or self.flags & _STALE
        return None if keeps else max(self.fresh_until - now, 0)


def decode(stored: bytes) -> CacheEntry:
    """Read the header of a stored reply."""
    return CacheEntry._make((*_read(stored), stored))


def is_fresh(stored: bytes, now: int) -> bool:
    """Say whether a stored answer may still be given as it is."""
    return now < int.from_bytes(stored[_FRESH_AT : _FRESH_AT + 4])


def rcode(stored: bytes) -> int:
    """Return the rcode of a stored answer, its upper bits included."""
    return stored[_RCODE_AT] << 8 | stored[_RCODE_AT + 1]


def is_nodata(stored: bytes) -> bool:
    """Say whether a stored answer is NOERROR without an RR of the type asked for."""
    return bool(stored[_FLAGS_AT] & _NODATA)


def plain_reply(
    stored: bytes, now: int, packet: bytes, end: int, flags: int, limit: int, our_opt: bytes
) -> bytes | None:
    """Return the reply to a plain question whose question ends at `end`; None where it takes more.

    `flags` are those of the reply, without the rcode; `limit` in octets; `our_opt` is b"" for a client
    without.  It says what CacheEntry.reply says, and is None for what isn't fresh, for what has no room, and
    for what needs an OPT of its own.
    """
    at, fresh_until, _, code, why, answers, others, more, _, _, start_at, octets, stride, marks = _read(
        stored
    )
    count = answers + others + more
    start = _OCTETS + 2 * count
    if end + len(stored) - start + len(our_opt) > limit or now >= fresh_until:
        return None
    if code > header.RCODE or marks & _TRUNCATED or (our_opt and why != _NO_EDE):
        return None
    body: bytes | bytearray = b"" if marks & _FAILURE else stored[start:]
    if now != at and not marks & (_STALE | _FAILURE):
        body = with_ttl(body, _ttl_offsets(stored, count), fresh_until - now)
    if stride:
        body = _rotated(body, start_at, octets, stride)
    if our_opt:
        more += 1
    head = _message_header(packet[:2], flags | code, 1, answers, others, more)
    return head + packet[header.OCTETS : end] + body + our_opt


def key(name_key: bytes, rrtype: int, do: bool, cd: bool) -> bytes:
    """Return the key of a question in the cache; `name_key` alone is the prefix of all at or below a name."""
    return name_key + rrtype.to_bytes(2) + bytes((do | cd << 1,))


def pack(response: Response, now: int, config: CacheConfig) -> bytes:
    """Return the stored form of an upstream's reply.

    One that must not be kept (no lifetime, truncated) has it too, for those who wait for it, and is not
    fresh from the beginning; its TTLs are 0.
    """
    wire, end, ttl_at = response.wire, response.end, response.ttl_at
    types, offsets, ends = [], [], [0]
    for at in ttl_at:
        type_at, octets_at = at - header.TTL_AT, at + _TTL_TO_RDLENGTH
        types.append(wire[type_at] << 8 | wire[type_at + 1])
        offsets.append(at - end)
        ends.append(octets_at + 2 + (wire[octets_at] << 8 | wire[octets_at + 1]) - end)
    answers, authority, _ = response.counts
    authority += answers
    flags = 0
    if response.truncated:
        flags |= _TRUNCATED
    if response.rcode == codes.NOERROR and not response.answered:
        flags |= _NODATA
    if codes.CNAME in types[:answers]:
        flags |= _HAS_CNAME
    if response.answered and answers < authority and set(types[answers:authority]) == {codes.NS}:
        flags |= _SPARE_AUTHORITY

    is_negative = response.rcode == codes.NXDOMAIN or bool(flags & _NODATA)
    longest = config.max_negative_ttl if is_negative else config.max_ttl
    lifetime = 0 if response.truncated else min(response.lifetime or 0, longest)
    body = with_ttl(wire[end:], offsets, lifetime)

    fresh_until = now + lifetime
    may_be_stale = lifetime and response.rcode in (codes.NOERROR, codes.NXDOMAIN)
    head = _HEADER.pack(
        now,
        fresh_until,
        fresh_until + config.stale if may_be_stale else fresh_until,
        response.rcode,
        _NO_EDE if response.ede is None else response.ede,
        *response.counts,
        ends[answers],
        ends[authority],
        *(_addresses(bytes(body), ends[: answers + 1]) if answers > 1 else (0, 0, 0)),
        flags,
    )
    return head + struct.pack(f">{len(offsets)}H", *offsets) + body


def failure(ede: int, now: int, text: str = "") -> bytes:
    """Return the stored form of a SERVFAIL with an Extended DNS Error that says why; its text is the body."""
    fresh_until = now + FAILURE_SECONDS
    head = _HEADER.pack(now, fresh_until, fresh_until, codes.SERVFAIL, ede, 0, 0, 0, 0, 0, 0, 0, 0, _FAILURE)
    return head + text.encode()


def _addresses(body: bytes, ends: list[int]) -> tuple[int, int, int]:
    """Find the first run of addresses of one owner in the answer section.

    Returns where it begins, its octets, and the octets of one RR; zeros where there are no two.
    """

    def owner_of_address(rr: tuple[int, int]) -> bytes:
        """Return the owner and the type of an address, b"" for another RR."""
        start, end = rr
        owner_and_type = body[start : start + 4]
        is_address = end - start == _ADDRESS_OCTETS.get(int.from_bytes(owner_and_type[2:]))
        return owner_and_type if is_address else b""

    for is_address, run in groupby(pairwise(ends), owner_of_address):
        (start, end), *others = run
        if is_address and others:
            return start, others[-1][1] - start, end - start
    return 0, 0, 0


def _ttl_offsets(stored: bytes, count: int) -> tuple[int, ...]:
    if count < len(_OFFSETS):
        return _OFFSETS[count].unpack_from(stored, _OCTETS)
    return struct.unpack_from(f">{count}H", stored, _OCTETS)


def _rr_end(octets: bytes, ttl_at: int) -> int:
    """Return the end of the RR whose TTL stands at this offset."""
    rdata_at = ttl_at + header.TTL_TO_RDATA
    return rdata_at + int.from_bytes(octets[rdata_at - 2 : rdata_at])


def _rotated(body: bytes | bytearray, start: int, octets: int, stride: int) -> bytes | bytearray:
    """Return the body with its addresses in the same order, from a random one on."""
    end = start + octets
    turn = start + int(random() * (octets // stride)) * stride
    return body[:start] + body[turn:end] + body[start:turn] + body[end:]


def _whole_rrs(stored: bytes, start: int, count: int, room: int) -> tuple[int, int]:
    """Return how many of the first RRs, of so many, have room, and their octets.

    Addresses that are rotated have one size, so it is the same for all rotations.
    """

    def end(number: int) -> int:
        at = _OCTETS + 2 * number
        ttl_at = stored[at] << 8 | stored[at + 1]
        return _rr_end(stored, start + ttl_at) - start

    taken = bisect_right(range(count), room, key=end)
    return taken, end(taken - 1) if taken else 0
