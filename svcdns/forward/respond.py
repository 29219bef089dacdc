"""The reply to a forwarded question: from a cache entry, or from where its CNAMEs lead out of bailiwick.

* Where an upstream's CNAMEs lead out of its bailiwick (`bailiwick`), whoever speaks for the target goes on:
  our zones, or other upstreams.  A chain that does so more than MOST_DEPARTURES times ends in SERVFAIL.
* A name above a zone of ours exists, whatever upstreams say (RFC 8020).
* Over TCP nothing is left to try: a truncated answer would be taken for the whole, so it is SERVFAIL.
"""

from __future__ import annotations

from msgspec.structs import replace

from svcdns.cache.entry import CacheEntry, is_nodata, plain_reply
from svcdns.cache.store import now
from svcdns.dns import aliases, stats
from svcdns.dns.answer import above_ours
from svcdns.dns.draft import Draft
from svcdns.dns.lookup import go_on
from svcdns.dns.reply import unresolved, write
from svcdns.dns.view import View
from svcdns.wire import codes, header
from svcdns.wire.key import key_of_wire
from svcdns.wire.reply import Frame

from .bailiwick import Bailiwick
from .clients import Clients, ForwardedQuestion
from .cname_chains import append_cnames, reply_after_chain
from .single_flight import LooksUp, Resolution
from .special_use_names import answer_special_use, special_use_zone

MOST_DEPARTURES = 4
_STALE = (codes.EDE_STALE_ANSWER, codes.EDE_STALE_NXDOMAIN)


class Responder:
    """Answers clients once their question has been looked up."""

    def __init__(self, clients: Clients, bailiwick: Bailiwick, lookups: LooksUp) -> None:
        self._clients = clients
        self._bailiwick = bailiwick
        self._lookups = lookups

    def respond(self, question: ForwardedQuestion, resolution: Resolution) -> None:
        """Answer a client with what the cache or upstreams say, or go on where that leads."""
        frame, draft, entry = question.frame, question.draft, resolution.entry
        if entry.ede in _STALE:
            self._clients.count(stats.STALE_ANSWERS)
        if frame.tcp and entry.is_truncated:
            text = "the answer is too long for UDP, and no upstream gave it over TCP"
            reply = unresolved(frame, draft, codes.EDE_NO_REACHABLE_UPSTREAM, text)
            self._send(question, reply)
        elif resolution.departure:
            self._go_on(question, resolution)
        elif draft.chain:
            reply = reply_after_chain(frame, draft, question.query, entry, now())
            self._send(question, self._above_ours(reply, question))
        else:
            reply = self._above_ours(_reply(entry, frame), question)
            self._send(question, reply, is_nodata=is_nodata(entry.stored))

    def _above_ours(self, reply: bytes, question: ForwardedQuestion) -> bytes:
        if reply[3] & header.RCODE != codes.NXDOMAIN:
            return reply
        with self._bailiwick.view() as view:
            return reply if view is None else above_ours(reply, view, question.query.key)

    def _go_on(self, question: ForwardedQuestion, resolution: Resolution) -> None:
        """Go on at the name to which upstreams' CNAMEs have led out of bailiwick."""
        frame, draft, rrtype = question.frame, question.draft, question.question.rrtype
        target = resolution.departure[-1]
        assert draft.outside is not None

        # The CNAMEs up to that name, then what our zones say about it.
        ours_first = draft.authoritative and bool(draft.chain)
        ttl = resolution.entry.ttl(now())
        append_cnames(draft, draft.outside, resolution.departure, ttl, frame.end)
        draft.outside = None
        with self._bailiwick.view() as view:
            if view is not None and (
                question.may_ask_names or not _is_ours(view, key_of_wire(target), rrtype)
            ):
                go_on(view, draft, target, frame.end, rrtype)
            draft.authoritative = ours_first  # AA speaks of the first owner name (RFC 1035 section 4.1.1)
            is_said = view is not None and draft.outside is not None and _is_special(view, draft, rrtype)

        # Where they leave it to others, those are asked.
        outside = draft.outside
        if outside is None or is_said:
            self._send(question, write(frame, draft))
        elif question.departures == MOST_DEPARTURES:
            text = "the CNAMEs lead to and fro between zones"
            self._send(question, unresolved(frame, draft, codes.EDE_OTHER, text))
        elif not self._lookups.has_pool(outside.key, rrtype):
            text = "no upstreams: none is configured for where the CNAMEs lead"
            self._send(question, unresolved(frame, draft, codes.EDE_NO_REACHABLE_UPSTREAM, text))
        else:
            question.departures += 1
            question.query = replace(question.query, key=outside.key, name=outside.wire)
            self._lookups.look_up(question, self.respond)

    def _send(self, question: ForwardedQuestion, reply: bytes, *, is_nodata: bool = False) -> None:
        """Count and send a reply; `is_nodata` says of NOERROR that it has no RR of the type asked for."""
        rcode = reply[3] & header.RCODE
        slot = stats.RCODE_SLOT.get(rcode, stats.OTHER_RCODE)
        self._clients.count_reply(question, stats.NODATA if is_nodata and rcode == codes.NOERROR else slot)
        self._clients.send(question, reply)


def _reply(entry: CacheEntry, frame: Frame) -> bytes:
    """Return the reply that says an entry, on the short way where that is enough."""
    time, packet = now(), frame.packet
    flags = header.QR | header.flags_of(packet) & header.REPEATED | (header.RA if frame.ra else 0)
    plain = plain_reply(entry.stored, time, packet, frame.end, flags, frame.limit, frame.opt())
    return entry.reply(time, frame) if plain is None else plain


def _is_ours(view: View, key: bytes, rrtype: int) -> bool:
    """Say whether a name is in a zone of ours, or an alias."""
    return view.table.place(key).zone is not None or aliases.look_up(view, key, rrtype) is not None


def _is_special(view: View, draft: Draft, rrtype: int) -> bool:
    """Say into the draft what is said of its outside name if no upstream is asked for it; whether it was."""
    assert draft.outside is not None
    special = special_use_zone(view.table, draft.outside.key, rrtype)
    if special is not None:
        answer_special_use(draft, special, rrtype, view)
    return special is not None
