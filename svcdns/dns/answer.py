"""Answering one message: octets and a snapshot in, octets or silence out.

No I/O but reading the snapshot, no clock, no await.  A plain question takes `plain`; every other one
is read exactly and decided here, in this order (the first that applies wins):

    shorter than a header, or a reply     silence
    opcode other than QUERY               NOTIMP
    malformed, or not one question        FORMERR     (RFC 9619)
    EDNS version other than 0             BADVERS     (RFC 6891)
    class CH, id.server TXT               the worker's identity (RFC 4892)
    class other than IN                   REFUSED
    a type that can't be asked for        FORMERR
    AXFR, IXFR                            REFUSED     (transfers are TCP's, see `transfer`)
    nothing loaded yet                    SERVFAIL    (EDE 14)
    a name in none of our zones           REFUSED     (EDE 20)
    else                                  what the zone says

An exception anywhere costs this one client a SERVFAIL, is counted and logged, and nothing else.
"""

from __future__ import annotations

import logging

from svcdns.store.snapshot import Snapshot

from . import codes, tally
from .draft import Draft, answer_name
from .edns import Edns
from .plain import PlainPath
from .question import Malformed, Question, parse, question_end
from .reply import Frame, refusal, write
from .tally import TCP, UDP, Tally
from .view import TALLY_ZONE, View, ZoneTable

log = logging.getLogger(__name__)

_ID_SERVER = b"server\0id\0"
_RCODE_SLOT = {
    codes.NOERROR: tally.OK,
    codes.FORMERR: tally.FORMERR,
    codes.SERVFAIL: tally.SERVFAIL,
    codes.NXDOMAIN: tally.NXDOMAIN,
    codes.NOTIMP: tally.NOTIMP,
    codes.REFUSED: tally.REFUSED,
    codes.BADVERS: tally.BADVERS,
}


class Answerer:
    """Answers messages; one a worker, used from one thread."""

    def __init__(self, counters: Tally, *, udp_size: int = 1232, identity: str = "") -> None:
        """`udp_size` caps UDP replies (octets); `identity` answers CH TXT id.server (at most 255 octets)."""
        self.counters = counters
        self.udp_size = udp_size
        self._identity = identity.encode()[:255]
        self._plain = PlainPath(counters, udp_size).answer
        self._snapshot: Snapshot | None = None
        self._view: View | None = None
        self._table: ZoneTable | None = None

    def answer(self, packet: bytes, snapshot: Snapshot | None, transport: int = UDP) -> bytes | None:
        """Return the reply to a message, None for silence; `transport` is tally.UDP or tally.TCP.

        `snapshot` is None while there is no store to read.  Never raises.
        """
        try:
            if snapshot is not self._snapshot:
                self._look_at(snapshot)
            view = self._view
            if view is not None:
                reply = self._plain(packet, view, transport)
                if reply is not None:
                    return reply
            return self._exact(packet, view, transport)
        except Exception:
            return self._panic(packet, transport)

    def forget(self) -> None:
        """Let go of the last snapshot; to be called when its transaction has ended and none follows soon."""
        self._look_at(None)

    def _look_at(self, snapshot: Snapshot | None) -> None:
        self._snapshot = snapshot
        serving = snapshot.serving if snapshot is not None else None
        if snapshot is None or serving is None:
            self._view = None
            return
        if self._table is None or self._table.serving is not serving:
            self._table = ZoneTable(serving)
        self._view = View(snapshot, self._table)

    def _exact(self, packet: bytes, view: View | None, transport: int) -> bytes | None:
        """Answer any message, step by step."""
        if len(packet) < codes.HEADER_OCTETS or packet[2] & 0x80:
            self.counters.slots[tally.SILENT] += 1
            return None
        if packet[2] & 0x78:
            return self._not_query(packet, transport)
        try:
            question = parse(packet)
        except Malformed as wrong:
            self._count(tally.NO_ZONE, transport, 0, tally.FORMERR)
            return refusal(self._frame(packet, wrong.end, None, transport), codes.FORMERR)
        frame = self._frame(packet, question.end, question.edns, transport)
        if question.edns is not None and question.edns.version != 0:
            return self._refuse(frame, question, codes.BADVERS)
        if question.rrclass != codes.IN:
            return self._other_class(frame, question)
        if question.rrtype in codes.UNASKABLE:
            return self._refuse(frame, question, codes.FORMERR, codes.EDE_INVALID_QUERY_TYPE)
        if question.rrtype in (codes.AXFR, codes.IXFR):
            return self._refuse(frame, question, codes.REFUSED, codes.EDE_PROHIBITED)
        if view is None:
            return self._refuse(frame, question, codes.SERVFAIL, codes.EDE_NOT_READY)
        draft = answer_name(view, question.name, question.key, question.rrtype)
        if draft.zone is None:
            return self._refuse(frame, question, codes.REFUSED, codes.EDE_NOT_AUTHORITATIVE)
        self._count_draft(draft, question, transport)
        return write(frame, draft)

    def _not_query(self, packet: bytes, transport: int) -> bytes:
        """Other opcodes lay their sections out in other ways; only the question may be repeated."""
        self._count(tally.NO_ZONE, transport, 0, tally.NOTIMP)
        try:
            question = parse(packet)
        except Malformed:
            frame = self._frame(packet, question_end(packet), None, transport)
        else:
            frame = self._frame(packet, question.end, question.edns, transport)
        return refusal(frame, codes.NOTIMP)

    def _other_class(self, frame: Frame, question: Question) -> bytes:
        wanted = (codes.CH, codes.TXT, _ID_SERVER)
        if not self._identity or (question.rrclass, question.rrtype, question.key) != wanted:
            return self._refuse(frame, question, codes.REFUSED)
        text = bytes((len(self._identity),)) + self._identity
        fixed = codes.TXT.to_bytes(2) + codes.CH.to_bytes(2) + bytes(4) + len(text).to_bytes(2)
        self._count(tally.NO_ZONE, int(frame.tcp), question.rrtype, tally.OK)
        return write(frame, Draft(chain=[b"\xc0\x0c" + fixed + text]))

    def _panic(self, packet: bytes, transport: int) -> bytes | None:
        log.exception("no answer to a message of %d octets: %s", len(packet), packet[:64].hex())
        self.counters.slots[tally.PANICS] += 1
        if len(packet) < codes.HEADER_OCTETS or packet[2] & 0x80:
            return None
        self._count(tally.NO_ZONE, transport, 0, tally.SERVFAIL)
        return refusal(self._frame(packet, question_end(packet), None, transport), codes.SERVFAIL)

    def _frame(self, packet: bytes, end: int, edns: Edns | None, transport: int) -> Frame:
        return Frame(packet, end, edns, self.udp_size, transport == TCP)

    def _refuse(self, frame: Frame, question: Question, rcode: int, ede: int | None = None) -> bytes:
        self._count(tally.NO_ZONE, int(frame.tcp), question.rrtype, _RCODE_SLOT[rcode])
        return refusal(frame, rcode, ede)

    def _count_draft(self, draft: Draft, question: Question, transport: int) -> None:
        zone = tally.NO_ZONE if draft.zone is None else TALLY_ZONE[draft.zone.kind]
        rcode = tally.NODATA if draft.is_nodata else _RCODE_SLOT.get(draft.rcode, tally.OTHER_RCODE)
        self._count(zone, transport, question.rrtype, rcode)

    def _count(self, zone: int, transport: int, rrtype: int, rcode: int) -> None:
        self.counters.slots[tally.slot(zone, transport, rrtype, rcode)] += 1
