"""Answering one message: octets and a snapshot in, octets, silence or a hand-over out.

No I/O but reading the snapshot, no clock, no await.  A plain question takes `fast_path`; every other one
is read exactly and decided here, in this order (the first that applies wins):

    shorter than a header, or a reply     silence
    opcode other than QUERY               NOTIMP
    malformed, or not one question        FORMERR     (RFC 9619)
    EDNS version other than 0             BADVERS     (RFC 6891)
    class CH, id.server TXT               the worker's identity (RFC 4892)
    class other than IN                   REFUSED
    a type that can't be asked for        FORMERR
    a signature, where there are keys     checked, and the reply is signed (RFC 8945); nothing is forwarded
    AXFR                                  REFUSED     (transfers are TCP's, see `transfer`)
    nothing loaded yet                    SERVFAIL    (EDE 14)
    IXFR over UDP                         the SOA, for who may transfer: ask again over TCP (RFC 1995)
    a client that may not ask for it      REFUSED     (EDE 18)
    a name that upstreams have to know    the cache, else a hand-over to the forwarder
    a name in none of our zones           REFUSED     (EDE 20)
    else                                  what the zone says

Upstreams have to know names in none of our zones, and the targets of our CNAMEs that are outside.
They are asked only for clients who want recursion and may have it.

An exception anywhere costs this one client a SERVFAIL, is counted and logged, and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from svcdns.cache import entry
from svcdns.cache.store import now
from svcdns.store.snapshot import Begin, Snapshot
from svcdns.wire import codes, header
from svcdns.wire.edns import Edns
from svcdns.wire.question import Malformed, Question, parse, question_end
from svcdns.wire.reply import Frame, Sections, message, refusal

from . import authority, stats
from .access import FORWARD, NAMES, TRANSFER
from .draft import Draft
from .empty_answers import why_empty
from .fast_path import FastPath, count_cached, no_cache
from .lookup import answer_name
from .no_reply import HAND_OVER, NOT_PLAIN, SILENCE, Answer
from .path_choice import plain_path
from .refusals import Refusals
from .reply import unresolved, write
from .stats import TCP, UDP, Stats
from .transfer_rows import soa
from .view import STATS_ZONE, Pace, View, ZoneTable

if TYPE_CHECKING:
    from .signatures import Signatures, Signed  # loads dnspython: only who has keys pays for it

log = logging.getLogger(__name__)

_ID_SERVER = b"server\0id\0"


class Answerer:
    """Answers messages; one a worker, used from one thread."""

    def __init__(
        self,
        counters: Stats,
        *,
        udp_size: int = 1232,
        identity: str = "",
        cache: Callable[[bytes], bytes | None] = no_cache,
        forwards: bool = False,
        elsewhere: Collection[bytes] = (),
        explains: bool = False,
        signatures: Signatures | None = None,
    ) -> None:
        """`udp_size` caps UDP replies (octets); `identity` answers CH TXT id.server (at most 255 octets).

        `cache` reads the cache of forwarded answers, `forwards` says whether anybody's questions are,
        `elsewhere` (keys) which zones have upstreams of their own.  `explains`: the NXDOMAIN of a Service's
        name says why.  `signatures` checks those of questions; without, they mean nothing.
        """
        self.counters = counters
        self.udp_size = udp_size
        self.refusals = Refusals()
        """What access lists refused, for who knows the clients to log."""
        self._identity = identity.encode()[:255]
        self._cache = cache
        self._forwards = forwards
        self._elsewhere = elsewhere
        self._pace = Pace() if explains else None
        self._signatures = signatures
        self._in_python = FastPath(counters, udp_size, cache).answer
        self._fast, self.compiled = plain_path(counters, udp_size, self._in_python, cache)
        self._snapshot: Snapshot | None = None
        self._view: View | None = None
        self._table: ZoneTable | None = None

    def answer(
        self,
        packet: bytes,
        snapshot: Snapshot | None,
        transport: int = UDP,
        rights: int = NAMES,
        left: bool = False,
    ) -> Answer:
        """Return the reply to a message, SILENCE, or HAND_OVER for a question to the forwarder.

        `snapshot` is None while there is no store to read; `transport` is stats.UDP or stats.TCP, `rights`
        are the client's (svcdns.dns.access).  `left`: the compiled path has left it, and is not asked again.
        Never raises.
        """
        try:
            view = self._view if snapshot is self._snapshot else self.look_at(snapshot)
            if view is not None:
                fast = self._in_python if left else self._fast
                reply = fast(packet, view, transport, rights)
                if reply is not NOT_PLAIN:
                    return reply
            return self._exact(packet, view, transport, rights)
        except Exception:
            return self._panic(packet, transport, rights)

    def look_at(self, snapshot: Snapshot | None) -> View | None:
        """Return what questions are answered from as long as this snapshot is; None: nothing loaded yet."""
        if snapshot is not self._snapshot:
            self._snapshot, self._view = snapshot, self._view_of(snapshot)
        return self._view

    def look_at_or_none(self, snapshot: Snapshot | None) -> View | None:
        """Return the same, or None where it can't be had: `answer` then says so to each client."""
        try:
            return self.look_at(snapshot)
        except Exception:
            return None

    def _view_of(self, snapshot: Snapshot | None) -> View | None:
        serving = snapshot.serving if snapshot is not None else None
        if snapshot is None or serving is None:
            return None
        if self._table is None or self._table.serving is not serving:
            self._table = ZoneTable(serving, self._elsewhere)
        return View(snapshot, self._table, self._pace)

    def _exact(self, packet: bytes, view: View | None, transport: int, rights: int) -> Answer:
        """Answer any message, step by step."""
        if len(packet) < header.OCTETS or packet[header.FLAGS_AT] & header.QR_OCTET:
            self.counters.slots[stats.SILENT] += 1
            return SILENCE
        if packet[header.FLAGS_AT] & header.OPCODE_OCTET:
            return self._not_query(packet, transport, rights)
        try:
            question = parse(packet)
        except Malformed as wrong:
            self._count(stats.NO_ZONE, transport, 0, stats.FORMERR)
            rcode = codes.BADVERS if wrong.edns is not None and wrong.edns.version else codes.FORMERR
            return refusal(self._frame(packet, wrong.end, wrong.edns, transport, rights), rcode)
        if self._signatures is not None and (signed := self._signatures.check(packet)) is not None:
            return self._signed(packet, question, view, transport, rights, signed)
        return self._of_question(packet, question, view, transport, rights)

    def _signed(
        self,
        packet: bytes,
        question: Question,
        view: View | None,
        transport: int,
        rights: int,
        signed: Signed | bytes,
    ) -> bytes:
        """Answer a question with a signature."""
        if isinstance(signed, bytes):
            self._count(stats.NO_ZONE, transport, question.rrtype, stats.OTHER_RCODE)
            return signed
        frame = self._frame(packet, question.end, question.edns, transport, rights & ~FORWARD)
        reply = self._of_question(packet, question, view, transport, rights & ~FORWARD)
        assert isinstance(reply, bytes), "nothing is handed over"
        if len(reply) + signed.octets > frame.limit:
            reply = message(frame, 0, Sections(truncated=True), frame.opt())
        return signed.sign(reply)

    def _of_question(
        self, packet: bytes, question: Question, view: View | None, transport: int, rights: int
    ) -> Answer:
        """Answer a well-formed question."""
        frame = self._frame(packet, question.end, question.edns, transport, rights)
        if question.edns is not None and question.edns.version != 0:
            return self._refuse(frame, question, codes.BADVERS)
        if question.rrclass != codes.IN:
            return self._other_class(frame, question)
        if question.rrtype in codes.UNASKABLE:
            return self._refuse(frame, question, codes.FORMERR, codes.EDE_INVALID_QUERY_TYPE)
        is_ixfr = question.rrtype == codes.IXFR and transport == UDP and rights & TRANSFER
        if question.rrtype in (codes.AXFR, codes.IXFR) and not is_ixfr:
            return self._refuse(frame, question, codes.REFUSED, codes.EDE_PROHIBITED)
        if view is None:
            return self._refuse(frame, question, codes.SERVFAIL, codes.EDE_NOT_READY)
        if is_ixfr:
            return self._soa_alone(frame, question, view)
        forwards = bool(rights & FORWARD and packet[header.FLAGS_AT] & header.RD_OCTET)
        asked = question.name, question.key, question.rrtype
        draft = answer_name(view, *asked, forwards, dnssec=question.do)
        if draft.zone is None and draft.outside is None:
            refused = self._forwards and not rights & FORWARD
            if refused:
                self.refusals.note(packet, FORWARD)
            why = codes.EDE_PROHIBITED if refused else codes.EDE_NOT_AUTHORITATIVE
            return self._refuse(frame, question, codes.REFUSED, why)
        if draft.zone is not None and not rights & NAMES:
            self.refusals.note(packet, NAMES)
            return self._refuse(frame, question, codes.REFUSED, codes.EDE_PROHIBITED)
        if draft.outside is not None:
            return self._outside(frame, draft, question, view)
        reply = write(frame, draft, self._why_empty(draft, question, view))
        self._count_draft(draft, question, transport)
        return reply

    def _why_empty(self, draft: Draft, question: Question, view: View) -> str:
        """Return why a Service's name has no answer, "" for other answers and names."""
        if question.edns is None or draft.rcode != codes.NXDOMAIN or draft.chain or not view.may_explain:
            return ""
        if draft.zone is None or draft.zone.kind != "cluster":
            return ""
        view.may_explain = False
        return why_empty(view, view.table.standard_key(question.key))

    def _soa_alone(self, frame: Frame, question: Question, view: View) -> bytes:
        """Answer an IXFR over UDP: no history is kept, and a whole zone has no room (RFC 1995 section 2)."""
        zone = view.table.registry_zone_at(question.key) or view.table.file_zone_at(question.key)
        if zone is None:
            return self._refuse(frame, question, codes.NOTAUTH, codes.EDE_NOT_AUTHORITATIVE)
        if question.serial is None:
            return self._refuse(frame, question, codes.FORMERR)
        self._count(STATS_ZONE[zone.kind], UDP, question.rrtype, stats.OK)
        return write(frame, Draft(chain=[soa(view, zone)]))

    def _outside(self, frame: Frame, draft: Draft, question: Question, view: View) -> Answer:
        """Answer from the cache what is fresh there; targets of CNAMEs are the forwarder's.

        So are CNAMEs among names that a Service may come to have as an alias: where they lead is ours then.
        """
        if draft.chain:
            return HAND_OVER
        cd = bool(header.flags_of(frame.packet) & header.CD)
        stored = self._cache(entry.key(question.key, question.rrtype, question.do, cd))
        time = now()
        if stored is None or not entry.is_fresh(stored, time):
            return HAND_OVER
        found = entry.decode(stored)
        if found.has_cname and view.table.alias_zone(question.key) is not None:
            return HAND_OVER
        protocol_and_type = stats.slot(0, int(frame.tcp), question.rrtype, 0) - stats.REPLIES
        count_cached(self.counters.slots, stored, protocol_and_type)
        return above_ours(found.reply(time, frame), view, question.key)

    def not_forwarded(self, packet: bytes, begin: Begin, transport: int) -> bytes:
        """Return the SERVFAIL for a question that could not be handed over (RFC 8914, EDE 23).

        A CNAME of ours keeps what our zones say.
        """
        self.counters.slots[stats.FORWARD_REFUSED] += 1
        question = parse(packet)
        frame = self._frame(packet, question.end, question.edns, transport, FORWARD)
        self._count(stats.FORWARD, transport, question.rrtype, stats.SERVFAIL)
        with begin() as snapshot:
            view = self._view_of(snapshot)
            if view is None:
                return refusal(frame, codes.SERVFAIL, codes.EDE_NOT_READY)
            asked = question.name, question.key, question.rrtype
            draft = answer_name(view, *asked, True, dnssec=question.do)
            return unresolved(frame, draft, codes.EDE_NETWORK_ERROR, "the forwarder does not answer")

    def _not_query(self, packet: bytes, transport: int, rights: int) -> bytes:
        """Other opcodes lay their sections out in other ways; only the question may be repeated."""
        self._count(stats.NO_ZONE, transport, 0, stats.NOTIMP)
        try:
            question = parse(packet)
        except Malformed:
            frame = self._frame(packet, question_end(packet), None, transport, rights)
        else:
            frame = self._frame(packet, question.end, question.edns, transport, rights)
        return refusal(frame, codes.NOTIMP)

    def _other_class(self, frame: Frame, question: Question) -> bytes:
        wanted = (codes.CH, codes.TXT, _ID_SERVER)
        if not self._identity or (question.rrclass, question.rrtype, question.key) != wanted:
            return self._refuse(frame, question, codes.REFUSED)
        text = bytes((len(self._identity),)) + self._identity
        rr = header.QUESTION_NAME + header.rr_head(codes.TXT, 0, len(text), codes.CH) + text
        self._count(stats.NO_ZONE, int(frame.tcp), question.rrtype, stats.OK)
        return write(frame, Draft(chain=[rr]))

    def _panic(self, packet: bytes, transport: int, rights: int) -> Answer:
        log.exception("no answer to a message of %d octets: %s", len(packet), packet[:64].hex())
        self.counters.slots[stats.PANICS] += 1
        if len(packet) < header.OCTETS or packet[header.FLAGS_AT] & header.QR_OCTET:
            return SILENCE
        self._count(stats.NO_ZONE, transport, 0, stats.SERVFAIL)
        return refusal(self._frame(packet, question_end(packet), None, transport, rights), codes.SERVFAIL)

    def _frame(self, packet: bytes, end: int, edns: Edns | None, transport: int, rights: int) -> Frame:
        return Frame(packet, end, edns, self.udp_size, transport == TCP, bool(rights & FORWARD))

    def _refuse(self, frame: Frame, question: Question, rcode: int, ede: int | None = None) -> bytes:
        self._count(
            stats.NO_ZONE, int(frame.tcp), question.rrtype, stats.RCODE_SLOT.get(rcode, stats.OTHER_RCODE)
        )
        return refusal(frame, rcode, ede)

    def _count_draft(self, draft: Draft, question: Question, transport: int) -> None:
        zone = stats.NO_ZONE if draft.zone is None else STATS_ZONE[draft.zone.kind]
        rcode = stats.NODATA if draft.is_nodata else stats.RCODE_SLOT.get(draft.rcode, stats.OTHER_RCODE)
        self._count(zone, transport, question.rrtype, rcode)

    def _count(self, zone: int, transport: int, rrtype: int, rcode: int) -> None:
        self.counters.slots[stats.slot(zone, transport, rrtype, rcode)] += 1


def above_ours(reply: bytes, view: View, key: bytes) -> bytes:
    """Return an upstream's reply without a NXDOMAIN for a name above one of ours (RFC 8020): it exists."""
    flags = header.flags_of(reply)
    if flags & header.RCODE == codes.NXDOMAIN and authority.is_above_ours(view, key):
        noerror = (flags & ~header.RCODE).to_bytes(2)
        return reply[: header.FLAGS_AT] + noerror + reply[header.COUNTS_AT :]
    return reply
