"""The path of a plain question: walk its labels, one lookup, concatenate.

A name in none of our zones is looked up in the cache of forwarded answers; one that is not there is
handed over.

Plain is: opcode QUERY, one question of class IN for one of the usual types, at most an OPT without
options, and a name whose answer stands in one row.  `FastPath.answer` returns NOT_PLAIN for everything
else and for everything that is wrong; then the exact path decides.  It must never answer what the
exact path would answer differently (a test asks both).

The stored row is read in place here (see svcdns.names.packed for its layout); no objects are made.
"""

from __future__ import annotations

from collections.abc import Callable
from random import random
from struct import Struct

from svcdns.cache import entry
from svcdns.cache.store import now
from svcdns.names.packed import ENTRY
from svcdns.wire import codes, header
from svcdns.wire.edns import MIN_UDP, opt

from . import stats
from .access import FORWARD, NAMES
from .no_reply import HAND_OVER, NOT_PLAIN, FastReply
from .stats import Stats
from .view import STATS_ZONE, View

_ONE_QUESTION = b"\0\1\0\0\0\0\0"
_CLASS_IN = b"\0\1"
_OPT_TYPE = b"\0\0\x29"
_OPT_TAIL_OCTETS = 11
_CNAME = b"\0\5"
_MAX_NAME_END = 12 + 254
_MAX_TAILS = 256

_unpack_entry = ENTRY.unpack_from
_pack_header = header.HEADER.pack
_POINTER = Struct(">H")
_AUTHORITATIVE = 0x8400
_RECURSION_AVAILABLE = 6
"""How far the right to forward stands from the RA bit."""
_FORWARDED = 0x8080
_NXDOMAIN = 3

_FORWARD_ZONE = stats.FORWARD * stats.ZONE_STRIDE

_USUAL = {number.to_bytes(2): slot for number, slot in stats.TYPE_SLOT.items() if number != 255}
"""Slots of the types that take this path, by their two octets on the wire."""


def no_cache(_: bytes) -> None:
    """Return what is in a cache that holds nothing."""
    return


class FastPath:
    """Answers plain questions; one a worker."""

    def __init__(
        self, counters: Stats, udp_size: int, cache: Callable[[bytes], bytes | None] = no_cache
    ) -> None:
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
        # RA, Z, AD and the rcode of a question mean nothing; QR, opcode, AA and TC must be 0.
        if packet[4:11] != _ONE_QUESTION or packet[2] > 1 or not rights & NAMES:
            return NOT_PLAIN
        labels = [b""]
        at = 12
        try:
            while size := packet[at]:
                if size > 63:
                    return NOT_PLAIN
                start = at + 1
                at = start + size
                labels.append(packet[start:at])
        except IndexError:
            return NOT_PLAIN
        end = at + 5
        type_slot = _USUAL.get(packet[at + 1 : at + 3])
        if type_slot is None or packet[at + 3 : end] != _CLASS_IN or at > _MAX_NAME_END:
            return NOT_PLAIN
        limit, our_opt, do = self._no_opt
        if packet[11] or len(packet) != end:
            known = self._tails.get(packet[end:]) or self._learn(packet[end:])
            if known is None or packet[11] != 1:
                return NOT_PLAIN
            limit, our_opt, do = known
        if transport:
            limit = header.MAX_MESSAGE

        labels.reverse()
        key = b"\0".join(labels)
        if key.count(0) != len(labels) - 1 or 1 in key:
            return NOT_PLAIN
        key = key.lower()

        table = view.table
        snapshot = view.snapshot
        cluster = table.cluster_key
        if key.startswith(cluster):
            zone = table.cluster
            stored = table.standard_key(key)
            row: bytes | None = snapshot.txn.get(stored, db=snapshot.answers)  # type: ignore[assignment]
        else:
            if table.is_outside(key):
                if not rights & FORWARD or not packet[2]:
                    return NOT_PLAIN
                asked = packet[2] << 8 | packet[3] & 0x10 | _FORWARDED
                stored_at = entry.key(key, int.from_bytes(packet[at + 1 : at + 3]), do, bool(asked & 0x10))
                place_slot = transport * stats.PROTOCOL_STRIDE + type_slot
                return self._outside(packet, end, stored_at, asked, limit, our_opt, place_slot)
            place = table.place(key)
            zone = place.zone
            # Zones that lie over each other and names that a delegation may hide take the exact path.
            if zone is None or zone.cuts or (place.registry and place.file) or table.is_elsewhere(zone, key):
                return NOT_PLAIN
            stored = key
            row = view.row(zone, key)
        if zone is None:
            return NOT_PLAIN

        asked = (
            packet[2] << 8 | packet[3] & 0x10 | _AUTHORITATIVE | (rights & FORWARD) << _RECURSION_AVAILABLE
        )
        place_slot = transport * stats.PROTOCOL_STRIDE + STATS_ZONE[zone.kind] * stats.ZONE_STRIDE
        if row is not None:
            count = row[1]
            entries = 2 + 2 * count
            found = row.find(packet[at + 1 : at + 3], 2, entries)
            if found > 0 and not found & 1:
                rrs, stride, more, start, octets, more_octets = _unpack_entry(row, entries + 10 * (found - 2))
                if end + octets + more_octets + len(our_opt) > limit:
                    return NOT_PLAIN
                finish = start + octets
                if rrs == 1:
                    body = row[start : finish + more_octets]
                elif stride:
                    turn = start + int(random() * rrs) * stride
                    body = row[turn:finish] + row[start:turn] + row[finish : finish + more_octets]
                else:
                    turn_at = finish + 4 * int(random() * rrs)
                    turn = start + int.from_bytes(row[turn_at : turn_at + 4])
                    more_at = finish + 4 * rrs
                    body = row[turn:finish] + row[start:turn] + row[more_at : more_at + more_octets]
                self._slots[place_slot + type_slot] += 1
                if our_opt:
                    more += 1
                head = _pack_header(packet[:2], asked, 1, rrs, 0, more)
                return head + packet[12:end] + body + our_opt
            if found > 0 or row.find(_CNAME, 2, entries) > 0:
                return NOT_PLAIN
            rcode = stats.NODATA
        elif view.has_below(zone, stored):
            rcode = stats.NODATA
        else:
            if zone.kind == "cluster":
                if zone.fallthrough or (table.pods_insecure and stored.startswith(table.pod_key)):
                    return NOT_PLAIN
            elif zone.wildcards or (zone.fallthrough and rights & FORWARD) or table.has_origin_below(key):
                return NOT_PLAIN
            rcode = stats.NXDOMAIN
            asked |= _NXDOMAIN

        soa, origin_octets = view.negative_soa(zone)
        if end + 2 + len(soa) + len(our_opt) > limit:
            return NOT_PLAIN
        self._slots[place_slot + type_slot + rcode] += 1
        head = _pack_header(packet[:2], asked, 1, 0, 1, 1 if our_opt else 0)
        owner = _POINTER.pack(0xC001 + at - origin_octets)
        return head + packet[12:end] + owner + soa + our_opt

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
        """Remember what an OPT without options asks for: few different ones come."""
        if len(tail) != _OPT_TAIL_OCTETS or tail[:3] != _OPT_TYPE or tail[6] or tail[9:] != b"\0\0":
            return None
        size = min(max(int.from_bytes(tail[3:5]), MIN_UDP), self._udp_size)
        if len(self._tails) >= _MAX_TAILS:
            self._tails.clear()
        do = bool(tail[7] & 0x80)
        known = self._tails[tail] = (size, opt(self._udp_size, do), do)
        return known


def count_cached(slots: list[int], stored: bytes, slot: int) -> None:
    """Count a reply from the cache; `slot` is that of its protocol and type."""
    rcode = entry.rcode(stored)
    if rcode == codes.NOERROR and entry.is_nodata(stored):
        slots[_FORWARD_ZONE + slot + stats.NODATA] += 1
    else:
        slots[_FORWARD_ZONE + slot + stats.RCODE_SLOT.get(rcode, stats.OTHER_RCODE)] += 1
    slots[stats.CACHE_HITS] += 1
