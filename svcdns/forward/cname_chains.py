"""Aliases that cross a border: ours that lead outside, and upstreams' that lead back to us.

* Ours first, then what upstreams say about the last target: our CNAMEs, the target's answer section, and
  the authority section where it is needed.  Additional records give way.
* The target's RRs come from a message of another shape, so their names are spelt in full: in RDATA
  always, as owners where no pointer finds them.
* What has no room is cut as in other forwarded replies: TC over UDP, none over TCP, where there is nothing
  better to try.  No RR is unpacked that isn't sent, but for the one that has no room.
* A target that can't be resolved leaves the CNAMEs with SERVFAIL, never a half answer that looks whole.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from svcdns.cache.entry import CacheEntry
from svcdns.dns.draft import Draft, Name
from svcdns.dns.reply import unresolved, write
from svcdns.wire import codes, edns, header
from svcdns.wire.key import key_of_wire
from svcdns.wire.query import Query
from svcdns.wire.reply import Frame, Sections, message
from svcdns.wire.rr_names import RR, answer_rrs, follow, name_at, uncompressed


def continued(frame: Frame, draft: Draft, ask: Query, entry: CacheEntry, time: int) -> bytes:
    """Return the reply that says our chain and what a packed reply says about its last target.

    `draft` is one whose chain ends outside, `entry` belongs to `ask`, the question about that target;
    `time` is svcdns.cache.store.now().
    """
    rcode, why = entry.rcode, entry.ede
    if rcode not in (codes.NOERROR, codes.NXDOMAIN):
        if why is not None:
            return unresolved(frame, draft, why, entry.failure_text)
        draft.rcode = codes.SERVFAIL
        return write(frame, draft)
    assert draft.outside is not None
    found = entry.records(time)
    opt = frame.opt(rcode, b"" if why is None else edns.error(why))
    limit = frame.limit - len(opt)
    chain = _with_room(draft.chain, limit - frame.end)
    end = frame.end + sum(map(len, chain))
    wire, at = _upstreams_message(ask.name, found.body), header.OCTETS + len(ask.name) + 4
    missing = len(chain) < len(draft.chain)
    sections = _Sections(wire, at, draft.outside, end, 0 if missing else limit)
    answers = sections.take(found.answers, found.ttl)
    authority = sections.take(found.authority, found.ttl)
    missing = missing or answers + authority < found.answers + found.authority

    answer = b"".join((*chain, *sections.taken))
    is_truncated = found.truncated or (missing and not frame.tcp)
    whole = Sections(answer, len(chain) + answers, b"", authority, truncated=is_truncated)
    return message(frame, rcode | (header.AA if draft.authoritative else 0), whole, opt)


def lead_back(draft: Draft, here: Name, targets: list[bytes], ttl: bytes, question_end: int) -> None:
    """Put an upstream's CNAMEs behind our chain, from `here` up to the last of these targets.

    They are written anew: what else stands among them upstream says nothing about our names.
    """
    end = question_end + sum(map(len, draft.chain))
    for target in targets:
        fixed = codes.CNAME.to_bytes(2) + codes.IN.to_bytes(2) + ttl
        rr = here.pointer() + fixed + len(target).to_bytes(2) + target
        draft.chain.append(rr)
        end += len(rr)
        here = Name(target, end - len(target), key_of_wire(target))


def chain_targets(entry: CacheEntry, name: bytes) -> list[tuple[bytes, int]]:
    """Return where the CNAMEs of a packed reply lead from the question's name, in order.

    `name` is the question's on the wire.  Each target goes with the number of RRs of the answer section
    up to and including its CNAME.  No target comes twice, so a chain that leads in a circle ends.
    """
    if not entry.has_cname:
        return []
    found = entry.records(0)
    wire = _upstreams_message(name, found.body)
    _, aliases = answer_rrs(wire, header.OCTETS + len(name) + 4, found.answers, {})
    return follow(name, aliases)[0]


def _with_room(rrs: list[bytes], room: int) -> list[bytes]:
    """Return the RRs from the first on that have room."""
    ends = list(accumulate(map(len, rrs)))
    return rrs[: bisect_right(ends, room)]


def _upstreams_message(name: bytes, body: bytes) -> bytes:
    """Return a message in which the pointers of a body are right; nothing points to what is 0 here."""
    return b"".join((bytes(header.OCTETS), name, bytes(4), body))


class _Sections:
    """RRs of an upstream's message as they stand in another one."""

    def __init__(self, wire: bytes, at: int, outside: Name, end: int, limit: int) -> None:
        """`at` is where the RRs begin in `wire`, `end` where they will in a message of `limit` octets."""
        self._wire = wire
        self._at = at
        self._end = end
        self._limit = limit
        self._outside = outside.pointer()
        self._names: dict[int, bytes] = {}
        self._places = {outside.wire: outside.at}
        self._full = False
        self.taken: list[bytes] = []

    def take(self, count: int, ttl: bytes) -> int:
        """Take the next RRs, up to the first that has no room; return how many."""
        for number in range(count):
            if self._full or not self._take_one(ttl):
                self._full = True
                return number
        return count

    def _take_one(self, ttl: bytes) -> bool:
        wire, at = self._wire, self._at
        name = None
        if wire[at : at + 2] == header.QUESTION_NAME:
            owner, at = self._outside, at + 2
        else:
            name, at = name_at(wire, at, self._names)
            place = self._places.get(name)
            owner = name if place is None else header.pointer(place)
        rrtype, _, _, octets = RR.unpack_from(wire, at)
        start = at + RR.size
        rdata = uncompressed(wire, start, start + octets, rrtype, self._names)
        rr = b"".join((owner, wire[at : at + 4], ttl, len(rdata).to_bytes(2), rdata))
        rdata_at = self._end + len(owner) + RR.size
        end = rdata_at + len(rdata)
        if end > self._limit:
            return False
        if owner is name and self._end <= header.FARTHEST:
            self._places[name] = self._end
        if rrtype == codes.CNAME and rdata_at <= header.FARTHEST:
            self._places.setdefault(rdata, rdata_at)
        self.taken.append(rr)
        self._at, self._end = start + octets, end
        return True
