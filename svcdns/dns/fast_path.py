"""The path of a plain question: walk its labels, one lookup, concatenate.

A name in none of our zones is looked up in the cache of forwarded answers; one that is not there is
handed over.

Plain is: opcode QUERY, one question of class IN for one of the usual types, at most an OPT (whose options
nobody heeds), and a name whose answer stands in one row: its own, or that of the wildcard in its place.
`FastPath.answer` returns NOT_PLAIN for everything else and for everything that is wrong; then the exact path
decides.  It must never answer what the exact path would answer differently (a test asks both).

The stored row is read in place here (see svcdns.names.packed for its layout); no objects are made.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random

from svcdns.cache import entry
from svcdns.cache.store import now
from svcdns.names.packed import ENTRY, PARTS, TYPES_AT, Section, section
from svcdns.wire import codes, header
from svcdns.wire.edns import EMPTY_OPT_OCTETS, MIN_UDP, opt, options_well_formed, read_opt
from svcdns.wire.name import MAX_LABEL_OCTETS, MAX_NAME_OCTETS

from . import stats
from .access import FORWARD, NAMES
from .aliases import aliased_row
from .empty_answers import may_have_reason
from .file_zone import wildcard_row
from .no_reply import HAND_OVER, NOT_PLAIN, FastReply
from .stats import Stats
from .truncation import additionals_that_fit, rotated
from .view import STATS_ZONE, View

# What is looked up for each question are integers and octets of this module: attributes cost more.

_HEADER_OCTETS = header.OCTETS
_MAX_LABEL = MAX_LABEL_OCTETS
_MAX_ROOT_AT = header.OCTETS + MAX_NAME_OCTETS - 1
"""Where the root of the longest name stands."""
_ROOT_TYPE_CLASS = 1 + header.TYPE_CLASS.size
_ONE_QUESTION = b"\0\1\0\0\0\0\0"
"""One question, no answer, no authority, at most 255 additional RRs."""
_ADDITIONALS_LOW_AT = header.ADDITIONALS_AT + 1
"""Where the number of additional RRs stands, up to 255."""
_CLASS_IN = codes.IN.to_bytes(2)
_OPT_BEGINS = b"\0" + codes.OPT.to_bytes(2)
"""The root as owner, and the type."""
_OPTIONS_SIZE_AT = EMPTY_OPT_OCTETS - 2
_CNAME = codes.CNAME.to_bytes(2)
_MAX_TAILS = 256

_QR_AA = header.QR | header.AA
_QR_RA = header.QR | header.RA
_RD_OCTET = header.RD_OCTET
_CD = header.CD
_NXDOMAIN = codes.NXDOMAIN
_NXDOMAIN_SLOT = stats.NXDOMAIN
_RA_SHIFT = header.RA.bit_length() - FORWARD.bit_length()
"""How far the right to forward stands from the RA bit."""

_TYPES_AT = TYPES_AT
_ENTRY_PER_OCTET = ENTRY.size // 2
"""Octets of entries for each octet of types: a type has two octets."""
_OFFSET_OCTETS = 4
"""Octets of an offset in a row's table of offsets."""
_POINTER_OCTETS = header.POINTER_OCTETS
_POINTER_BEHIND = header.POINTER + 1
"""A pointer to the octet behind an offset."""

_unpack_entry = ENTRY.unpack_from
_pack_header = header.HEADER.pack

_FORWARD_ZONE = stats.FORWARD * stats.ZONE_STRIDE

_USUAL = {number.to_bytes(2): slot for number, slot in stats.TYPE_SLOT.items() if number != codes.ANY}
"""Slots of the types that take this path, by their two octets on the wire."""


PlainAnswer = Callable[[bytes, View, int, int], FastReply]
"""Answers a packet from a view: for a transport (stats.UDP, stats.TCP) and a client's rights."""


Cached = Callable[[bytes], bytes | None]
"""Reads the cache of forwarded answers: a key of svcdns.cache.entry in, an entry out."""


def no_cache(_: bytes) -> None:
    """Return what is in a cache that holds nothing."""
    return


class FastPath:
    """Answers plain questions; one a worker."""

    def __init__(self, counters: Stats, udp_size: int, cache: Cached = no_cache) -> None:
        """`udp_size` caps UDP replies, in octets, and is what our OPT says; `cache` reads the cache."""
        self._slots = counters.slots
        self._udp_size = udp_size
        self._cache = cache
        self._no_opt = (min(MIN_UDP, udp_size), b"", False)
        self._tails: dict[bytes, tuple[int, bytes, bool]] = {}

    def answer(self, packet: bytes, view: View, transport: int, rights: int = NAMES) -> FastReply:
        """Return the reply to a plain question, HAND_OVER, or NOT_PLAIN if this isn't one.

        `rights` are the client's (svcdns.dns.access).
        """
        # 1. The header.  QR, opcode, AA and TC must be 0; RA, Z, AD and the rcode of a question mean nothing.
        if packet[4:11] != _ONE_QUESTION or packet[2] > _RD_OCTET or not rights & NAMES:
            return NOT_PLAIN

        # 2. The name: labels up to the root, at `at`.  Pointers and longer labels are somebody else's.
        labels = [b""]
        at = _HEADER_OCTETS
        try:
            while size := packet[at]:
                if size > _MAX_LABEL:
                    return NOT_PLAIN
                start = at + 1
                at = start + size
                labels.append(packet[start:at])
        except IndexError:
            return NOT_PLAIN

        # 3. Type and class, and behind them nothing, or an OPT; most are like one that was seen before.
        end = at + _ROOT_TYPE_CLASS
        type_slot = _USUAL.get(packet[at + 1 : at + 3])
        if type_slot is None or packet[at + 3 : end] != _CLASS_IN or at > _MAX_ROOT_AT:
            return NOT_PLAIN
        limit, our_opt, do = self._no_opt
        if packet[_ADDITIONALS_LOW_AT] or len(packet) != end:
            known = self._tails.get(packet[end:]) or self._learn(packet[end:])
            if known is None or packet[_ADDITIONALS_LOW_AT] != 1:
                return NOT_PLAIN
            limit, our_opt, do = known
        if transport:
            limit = header.MAX_MESSAGE

        # 4. The key (svcdns.wire.key).  A label that holds an octet which keys escape is not plain.
        labels.reverse()
        key = b"\0".join(labels)
        if key.count(0) != len(labels) - 1 or 1 in key:
            return NOT_PLAIN
        key = key.lower()

        # 5. The zone, and the row of the name.
        table = view.table
        snapshot = view.snapshot
        cluster = table.cluster_key
        if key.startswith(cluster):
            zone = table.cluster
            stored = table.standard_key(key)
            row: bytes | None = snapshot.txn.get(stored, db=snapshot.answers)  # type: ignore[assignment]
        elif table.is_outside(key):
            if not rights & FORWARD or not packet[2]:
                return NOT_PLAIN
            asked = packet[2] << 8 | packet[3] & _CD | _QR_RA
            stored_at = entry.key(key, int.from_bytes(packet[at + 1 : at + 3]), do, bool(asked & _CD))
            place_slot = transport * stats.PROTOCOL_STRIDE + type_slot
            return self._outside(packet, end, stored_at, asked, limit, our_opt, place_slot)
        elif key.startswith(table.alias_zones):
            # An alias that is asked for a type that its Service has; all else there takes the exact path.
            zone = table.cluster
            row, stored = aliased_row(view, key), key
            if row is None or row.find(packet[at + 1 : at + 3], _TYPES_AT, _TYPES_AT + 2 * row[1]) < 0:
                return NOT_PLAIN
        else:
            place = table.place(key)
            zone = place.zone
            # Zones that lie over each other, names that a delegation may hide, and what goes with RRSIGs
            # take the exact path.
            if zone is None or zone.cuts or (place.registry and place.file) or table.is_elsewhere(zone, key):
                return NOT_PLAIN
            if do and zone.signed:
                return NOT_PLAIN
            stored = key
            row = view.row(zone, key)
            if row is None and zone.wildcards:
                row = wildcard_row(view, zone, key)
        if zone is None:
            return NOT_PLAIN

        # The flags of the reply: RD and CD as asked (the opcode is 0), RA as the client's rights say.
        asked = packet[2] << 8 | packet[3] & _CD | _QR_AA | (rights & FORWARD) << _RA_SHIFT
        place_slot = transport * stats.PROTOCOL_STRIDE + STATS_ZONE[zone.kind] * stats.ZONE_STRIDE
        if row is not None:
            # 6. The RRset: where its type stands among the row's types says which entry is its own.  Types
            # begin at even offsets: at an odd one stand the end of one type and the beginning of the next.
            entries = _TYPES_AT + 2 * row[1]
            found = row.find(packet[at + 1 : at + 3], _TYPES_AT, entries)
            if found > 0 and not found & 1:
                entry_at = entries + _ENTRY_PER_OCTET * (found - _TYPES_AT)
                rrs, stride, more, start, octets, more_octets = _unpack_entry(row, entry_at)
                if end + octets + more_octets + len(our_opt) > limit:
                    if transport or row[0] & PARTS:
                        return NOT_PLAIN
                    self._slots[place_slot + type_slot] += 1
                    rrset = section(row, 0, entry_at)
                    return _cut(rrset, packet, end, asked, limit - end - len(our_opt), our_opt)
                # Rotated at the boundary of a random RR: by their common size, or by the table of offsets.
                finish = start + octets
                if rrs == 1:
                    body = row[start : finish + more_octets]
                elif stride:
                    turn = start + int(random() * rrs) * stride
                    body = row[turn:finish] + row[start:turn] + row[finish : finish + more_octets]
                else:
                    turn_at = finish + _OFFSET_OCTETS * int(random() * rrs)
                    turn = start + int.from_bytes(row[turn_at : turn_at + _OFFSET_OCTETS])
                    more_at = finish + _OFFSET_OCTETS * rrs
                    body = row[turn:finish] + row[start:turn] + row[more_at : more_at + more_octets]
                self._slots[place_slot + type_slot] += 1
                if our_opt:
                    more += 1
                head = _pack_header(packet[:2], asked, 1, rrs, 0, more)
                return head + packet[_HEADER_OCTETS:end] + body + our_opt
            # 7. No such RRset (or an odd offset, behind which it may be).  Where a CNAME leads is not plain.
            if found > 0 or row.find(_CNAME, _TYPES_AT, entries) > 0:
                return NOT_PLAIN
            rcode = stats.NODATA
        elif view.has_below(zone, stored):
            rcode = stats.NODATA
        else:
            # 8. No such name, unless it is made at question time, or somebody else may know it.
            if zone.kind == "cluster":
                if zone.fallthrough or (table.pods_insecure and stored.startswith(table.pod_key)):
                    return NOT_PLAIN
            elif zone.wildcards or (zone.fallthrough and rights & FORWARD) or table.has_origin_below(key):
                return NOT_PLAIN
            rcode = stats.NXDOMAIN
            asked |= _NXDOMAIN

        # 9. The zone's SOA; its owner is a pointer to where the origin begins within the question's name.
        soa, origin_octets = view.negative_soa(zone)
        if end + _POINTER_OCTETS + len(soa) + len(our_opt) > limit:
            return NOT_PLAIN
        additional = 0
        if our_opt:
            if rcode == _NXDOMAIN_SLOT and view.may_hand_on and zone.kind == "cluster":
                view.may_hand_on = False
                if may_have_reason(view, stored):
                    return NOT_PLAIN
            additional = 1
        self._slots[place_slot + type_slot + rcode] += 1
        head = _pack_header(packet[:2], asked, 1, 0, 1, additional)
        owner = (_POINTER_BEHIND + at - origin_octets).to_bytes(2)
        return head + packet[_HEADER_OCTETS:end] + owner + soa + our_opt

    def _outside(
        self, packet: bytes, end: int, key: bytes, flags: int, limit: int, our_opt: bytes, slot: int
    ) -> FastReply:
        """Answer from the cache or hand over; NOT_PLAIN for what takes more than copying."""
        stored, time = self._cache(key), now()
        if stored is None or not entry.is_fresh(stored, time):
            return HAND_OVER
        reply = entry.plain_reply(stored, time, packet, end, flags, limit, our_opt)
        if reply is None:
            return NOT_PLAIN
        count_cached(self._slots, stored, slot)
        return reply

    def _learn(self, tail: bytes) -> tuple[int, bytes, bool] | None:
        """Remember what an OPT asks for, without its options, which nobody heeds: few different ones come."""
        if len(tail) < EMPTY_OPT_OCTETS or tail[:3] != _OPT_BEGINS:
            return None
        if int.from_bytes(tail[_OPTIONS_SIZE_AT:EMPTY_OPT_OCTETS]) != len(tail) - EMPTY_OPT_OCTETS:
            return None
        if len(tail) > EMPTY_OPT_OCTETS:
            bare = tail[:_OPTIONS_SIZE_AT] + b"\0\0"
            well_formed = options_well_formed(tail, EMPTY_OPT_OCTETS, len(tail))
            return (self._tails.get(bare) or self._learn(bare)) if well_formed else None
        asked = read_opt(tail, 1)
        if asked.version:
            return None
        size = min(max(asked.size, MIN_UDP), self._udp_size)
        if len(self._tails) >= _MAX_TAILS:
            self._tails.clear()
        known = self._tails[tail] = (size, opt(self._udp_size, asked.do), asked.do)
        return known


def _cut(rrset: Section, packet: bytes, end: int, flags: int, room: int, our_opt: bytes) -> bytes:
    """Return the reply that has `room` octets for an RRset that needs more: as svcdns.dns.truncation says."""
    taken, answers = rotated(rrset, room)
    more, additionals = 0, b""
    if taken < rrset.count:
        flags |= header.TC
    else:
        additionals, more = additionals_that_fit(answers, rrset.additionals, end, room - len(answers))
    head = _pack_header(packet[:2], flags, 1, taken, 0, more + 1 if our_opt else more)
    return head + packet[_HEADER_OCTETS:end] + answers + additionals + our_opt


def count_cached(slots: list[int], stored: bytes, slot: int) -> None:
    """Count a reply from the cache; `slot` is that of its protocol and type."""
    rcode = entry.rcode(stored)
    if rcode == codes.NOERROR and entry.is_nodata(stored):
        slots[_FORWARD_ZONE + slot + stats.NODATA] += 1
    else:
        slots[_FORWARD_ZONE + slot + stats.RCODE_SLOT.get(rcode, stats.OTHER_RCODE)] += 1
    slots[stats.CACHE_HITS] += 1
