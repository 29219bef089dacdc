"""Zone transfer: AXFR and IXFR over TCP (RFC 5936, RFC 1995); `answer` has IXFR over UDP.

* Only clients that may transfer (svcdns.dns.access) are served, all others get REFUSED (EDE 18).
* A transfer shows one snapshot.  Its read transaction is the only one in this room that lives across
  an await, so at most two run at once over all processes (a lock file each, held with flock: it ends
  with its process), and one whose client takes nothing for 5 seconds is given up by closing the
  connection.  A third one gets SERVFAIL: secondaries try again on their own.
* IXFR from a client that has our serial gets the SOA alone; from one with an earlier serial the RRs that
  went and came since (`zone_changes`), or the whole zone where that is not known or takes long to find out.
* Where there are TSIG keys (svcdns.dns.signatures), a transfer takes a network that may and a signature.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from svcdns.store.snapshot import Begin, Snapshot, never_raising
from svcdns.wire import codes, header
from svcdns.wire.question import Malformed, Question, parse
from svcdns.wire.reply import Frame, refusal

from . import stats
from .access import FORWARD, TRANSFER
from .draft import Draft
from .refusals import Refusals
from .reply import write
from .stats import Stats
from .transfer_rows import messages, serial, soa, zone_rrs
from .view import STATS_ZONE, View, ZoneTable
from .zone_changes import incremental

if TYPE_CHECKING:
    from .signatures import Signatures, Signed  # loads dnspython: only who has keys pays for it

AT_ONCE = 2
STALL_SECONDS = 5.0
_FILE_MODE = 0o600
_NO_QUERY = header.QR | header.OPCODE
_MARKS = tuple(header.TYPE_CLASS.pack(rrtype, codes.IN) for rrtype in (codes.AXFR, codes.IXFR))


class Outlet(Protocol):
    """The connection that a transfer is sent on."""

    def send(self, message: bytes) -> None:
        """Queue one message."""

    async def drained(self, seconds: float) -> bool:
        """Wait until the client has taken what was queued; False if it takes longer than `seconds`."""


class _SignedOutlet:
    """Signs each message."""

    def __init__(self, outlet: Outlet, signed: Signed) -> None:
        self._outlet = outlet
        self._signed = signed
        self.drained = outlet.drained

    def send(self, message: bytes) -> None:
        self._outlet.send(self._signed.sign(message))


class Stalled(Exception):
    """The client took nothing for too long; the connection is to be closed."""


def transfer_question(packet: bytes) -> Question | None:
    """Return the question of a well-formed AXFR or IXFR, None for every other message."""
    if not any(mark in packet for mark in _MARKS) or header.flags_of(packet) & _NO_QUERY:
        return None
    try:
        question = parse(packet)
    except Malformed:
        return None
    if question.rrtype not in (codes.AXFR, codes.IXFR) or question.rrclass != codes.IN:
        return None
    return question if question.edns is None or question.edns.version == 0 else None


class Transfers:
    """Serves transfers in one worker."""

    def __init__(
        self,
        rights: Mapping[str, int],
        folder: Path,
        begin: Begin,
        counters: Stats,
        *,
        udp_size: int = 1232,
        refusals: Refusals | None = None,
        signatures: Signatures | None = None,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        """`rights` are those of a client's address; `folder` is the data folder, where the lock files are.

        `refusals` logs who may not.  With `signatures` a transfer has to be signed.
        """
        self._rights = rights
        self._folder = folder
        self._begin = never_raising(begin)
        self._counters = counters
        self._udp_size = udp_size
        self._refusals = refusals or Refusals()
        self._signatures = signatures
        self._stall_seconds = stall_seconds

    async def serve(self, packet: bytes, question: Question, client: str, outlet: Outlet) -> None:
        """Answer one transfer question; raise Stalled when the connection must be closed."""
        rights = self._rights[client]
        signed = self._signatures.check(packet, several=True) if self._signatures is not None else None
        if isinstance(signed, bytes):
            self._count(question, stats.OTHER_RCODE)
            outlet.send(signed)
            return
        frame = Frame(packet, question.end, question.edns, self._udp_size, True, bool(rights & FORWARD))
        if signed is not None:
            outlet = _SignedOutlet(outlet, signed)
        if not rights & TRANSFER or (self._signatures is not None and signed is None):
            self._count(question, stats.REFUSED)
            outlet.send(refusal(frame, codes.REFUSED, codes.EDE_PROHIBITED))
            self._refusals.log(client, TRANSFER)
            return
        with self._begin() as snapshot:
            await self._serve(frame, question, snapshot, outlet)

    async def _serve(
        self, frame: Frame, question: Question, snapshot: Snapshot | None, outlet: Outlet
    ) -> None:
        if snapshot is None or snapshot.serving is None:
            self._count(question, stats.SERVFAIL)
            outlet.send(refusal(frame, codes.SERVFAIL, codes.EDE_NOT_READY))
            return
        view = View(snapshot, ZoneTable(snapshot.serving))
        zone = view.table.registry_zone_at(question.key) or view.table.file_zone_at(question.key)
        if zone is None:
            self._count(question, stats.OTHER_RCODE)
            outlet.send(refusal(frame, codes.NOTAUTH, codes.EDE_NOT_AUTHORITATIVE))
            return
        kind = STATS_ZONE[zone.kind]
        if question.rrtype == codes.IXFR and question.serial is None:
            self._count(question, stats.FORMERR, kind)
            outlet.send(refusal(frame, codes.FORMERR))
            return
        apex = soa(view, zone)
        if question.serial is not None and not is_newer(serial(apex), question.serial):
            self._count(question, stats.OK, kind)
            outlet.send(write(frame, Draft(chain=[apex])))
            return
        with self._turn() as granted:
            if not granted:
                self._count(question, stats.SERVFAIL, kind)
                self._counters.slots[stats.TRANSFERS_FAILED] += 1
                text = f"{AT_ONCE} transfers are running"
                outlet.send(refusal(frame, codes.SERVFAIL, codes.EDE_OTHER, text))
                return
            self._count(question, stats.OK, kind)
            rrs = incremental(view, zone, question.serial) if question.serial is not None else None
            await self._send(messages(replace(frame, ra=False), rrs or zone_rrs(view, zone)), outlet)

    async def _send(self, stream: Iterator[bytes], outlet: Outlet) -> None:
        for message in stream:
            outlet.send(message)
            if not await outlet.drained(self._stall_seconds):
                self._counters.slots[stats.TRANSFERS_FAILED] += 1
                raise Stalled
            await asyncio.sleep(0)  # others have their turn between two messages
        self._counters.slots[stats.TRANSFERS] += 1

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Hold one of the lock files, if one is free."""
        with ExitStack() as opened:
            for number in range(AT_ONCE):
                path = self._folder / f"transfer-{number}.lock"
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
                opened.callback(os.close, handle)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield True
                return
            yield False

    def _count(self, question: Question, rcode: int, kind: int = stats.NO_ZONE) -> None:
        self._counters.slots[stats.slot(kind, stats.TCP, question.rrtype, rcode)] += 1


def is_newer(ours: int, theirs: int) -> bool:
    """Say whether our serial comes after theirs (RFC 1982 section 3.2)."""
    return 0 < (ours - theirs) % (1 << 32) < 1 << 31
