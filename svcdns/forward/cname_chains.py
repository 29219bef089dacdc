"""CNAMEs that lead from one who speaks for a name to another: from our zones to upstreams, and back.

* Ours first, then what upstreams say about the last target: our CNAMEs, the target's answer section, and
  the authority section where it is needed.  Additional records give way.
* The target's RRs come from a message of another shape, so their names are spelt in full: in RDATA
  always, as owners where no pointer finds them.
* What has no room is cut as in other forwarded replies: TC over UDP, none over TCP, where there is nothing
  better to try.  No RR is unpacked that isn't sent, but for the one that has no room.
* A target that can't be resolved leaves the CNAMEs with SERVFAIL, never a half answer that looks whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from svcdns.cache.entry import CacheEntry
from svcdns.dns.draft import Draft, Name
from svcdns.dns.reply import unresolved, write
from svcdns.dns.truncation import first_rrs
from svcdns.wire import codes, edns, header
from svcdns.wire.key import key_of_wire
from svcdns.wire.name import read_name
from svcdns.wire.query import Query
from svcdns.wire.reply import Frame, Sections, message
from svcdns.wire.rr_names import answer_rrs, follow, uncompressed


def reply_after_chain(frame: Frame, draft: Draft, query: Query, entry: CacheEntry, time: int) -> bytes:
    """Return the reply that says our chain and what a cache entry says about its last target.

    The chain of `draft` ends outside our zones; `entry` answers `query`, which asks for that target.  `time`
    is svcdns.cache.store.now().
    """
    rcode, why = entry.rcode, entry.ede
    if rcode not in (codes.NOERROR, codes.NXDOMAIN):
        if why is not None:
            return unresolved(frame, draft, why, entry.failure_text)
        draft.rcode = codes.SERVFAIL
        return write(frame, draft)
    assert draft.outside is not None
    opt = frame.opt(rcode, b"" if why is None else edns.error(why))
    limit = frame.limit - len(opt)
    chain = first_rrs(draft.chain, limit - frame.end)
    end = frame.end + sum(map(len, chain))
    wire, at = _upstreams_message(query.name, entry.body())
    missing = len(chain) < len(draft.chain)
    sections = _Sections(wire, at, draft.outside, end, 0 if missing else limit)
    answers = sections.take(entry.answers, entry.ttl(time))
    has_all = answers == entry.answers
    authority = sections.take(entry.needed_authority, entry.ttl(time)) if has_all else 0
    missing = missing or not has_all or authority < entry.needed_authority

    answer = b"".join((*chain, *sections.taken))
    is_truncated = entry.is_truncated or (missing and not frame.tcp)
    whole = Sections(answer, len(chain) + answers, b"", authority, truncated=is_truncated)
    return message(frame, rcode | (header.AA if draft.authoritative else 0), whole, opt)


def append_cnames(draft: Draft, here: Name, targets: Sequence[bytes], ttl: int, question_end: int) -> None:
    """Put an upstream's CNAMEs behind our chain, from `here` up to the last of these targets.

    They are written anew: what else stands among them in the upstream's answer says nothing about our names.
    """
    end = question_end + sum(map(len, draft.chain))
    for target in targets:
        rr = here.pointer() + header.rr_head(codes.CNAME, ttl, len(target)) + target
        draft.chain.append(rr)
        end += len(rr)
        here = Name(target, end - len(target), key_of_wire(target))


def cname_targets(entry: CacheEntry, name: bytes) -> list[tuple[bytes, int]]:
    """Return where the CNAMEs of a cache entry lead from the question's name, in order.

    `name` is the question's on the wire.  Each target goes with the number of RRs of the answer section
    up to and including its CNAME.  No target comes twice, so a chain that comes back to itself ends.
    """
    if not entry.has_cname:
        return []
    wire, at = _upstreams_message(name, entry.body())
    return follow(name, answer_rrs(wire, at, entry.answers, {}).aliases)[0]


def _upstreams_message(name: bytes, body: bytes) -> tuple[bytes, int]:
    """Return a message in which the pointers of a body are right, and where that begins.

    Nothing points to what is 0 here.
    """
    before = bytes(header.OCTETS) + name + bytes(header.TYPE_CLASS.size)
    return before + body, len(before)


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
        self.taken: list[bytes] = []

    def take(self, count: int, ttl: int) -> int:
        """Take the next RRs, up to the first that has no room; return how many."""
        return next((number for number in range(count) if not self._take_one(ttl)), count)

    def _take_one(self, ttl: int) -> bool:
        wire, at = self._wire, self._at
        name = None
        if wire[at : at + 2] == header.QUESTION_NAME:
            owner, at = self._outside, at + 2
        else:
            name, at = read_name(wire, at, self._names)
            place = self._places.get(name)
            owner = name if place is None else header.pointer(place)
        rrtype, _, _, octets = header.RR.unpack_from(wire, at)
        start = at + header.RR.size
        rdata = uncompressed(wire, start, start + octets, rrtype, self._names)
        rr = owner + header.rr_head(rrtype, ttl, len(rdata)) + rdata
        end = self._end + len(rr)
        rdata_at = end - len(rdata)
        if end > self._limit:
            return False
        if owner is name and self._end <= header.FARTHEST:
            self._places[name] = self._end
        if rrtype == codes.CNAME and rdata_at <= header.FARTHEST:
            self._places.setdefault(rdata, rdata_at)
        self.taken.append(rr)
        self._at, self._end = start + octets, end
        return True
