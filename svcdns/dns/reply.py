"""Writing a reply: header, the question as it was asked, the sections, one OPT if one was asked.

AA, TC and the rcode are ours, opcode, RD and CD are the question's, RA says whether the client's
questions are forwarded.  Over TCP a set that has no room in 65,535 octets is a random part of it, without TC
(there is nothing better to try), and the OPT says "n of m" (RFC 8914).
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from . import codes, edns
from .draft import Draft
from .edns import Edns
from .fit import Fitted, fit

_HEADER = Struct(">2sHHHHH")
_EDE_ROOM = 32

_QR, _AA, _TC, _RA = 0x8000, 0x0400, 0x0200, 0x0080
_OPCODE_AND_RD, _CD = 0x7900, 0x0010


@dataclass(frozen=True, slots=True)
class Frame:
    """What a reply is written around: the message asked, the end of its question, and its limits."""

    packet: bytes
    end: int
    """End of the question; 0 to leave the question out."""
    edns: Edns | None
    udp_size: int
    """What our OPT says, in octets."""
    tcp: bool
    ra: bool = False
    """Whether the client's questions are forwarded."""

    @property
    def limit(self) -> int:
        """Octets that the whole reply may have."""
        if self.tcp:
            return codes.MAX_MESSAGE
        client = max(self.edns.size, edns.MIN_UDP) if self.edns is not None else edns.MIN_UDP
        return min(client, self.udp_size)

    def opt(self, rcode: int = 0, options: bytes = b"") -> bytes:
        """Return our OPT, nothing if the question had none."""
        return b"" if self.edns is None else edns.opt(self.udp_size, self.edns.do, rcode, options)


def write(frame: Frame, draft: Draft, options: bytes = b"") -> bytes:
    """Return the reply that says a draft, as much of it as fits; `options` are those of our OPT."""
    opt = frame.opt(draft.rcode, options)
    room = frame.limit - frame.end - len(opt)
    fitted = fit(draft, frame.end, room)
    if fitted.truncated and frame.tcp and draft.section is not None:
        if opt:
            fitted = fit(draft, frame.end, room - _EDE_ROOM)
            sent = f"{fitted.answer_count} of {len(draft.chain) + draft.section.count}"
            opt = frame.opt(draft.rcode, edns.error(codes.EDE_OTHER, sent))
        fitted.truncated = False
    flags = (_AA if draft.authoritative else 0) | (_TC if fitted.truncated else 0)
    return _message(frame, flags | draft.rcode, fitted, opt)


def refusal(frame: Frame, rcode: int, ede: int | None = None, text: str = "") -> bytes:
    """Return a reply without records; `ede` is the Extended DNS Error that says why."""
    options = b"" if ede is None else edns.error(ede, text)
    return _message(frame, rcode & 0xF, Fitted(), frame.opt(rcode, options))


def unresolved(frame: Frame, draft: Draft, ede: int, text: str = "") -> bytes:
    """Return a draft whose outside name can't be resolved: its chain with SERVFAIL, never a half answer."""
    draft.rcode = codes.SERVFAIL
    draft.authoritative = draft.authoritative and bool(draft.chain)
    return write(frame, draft, edns.error(ede, text))


def _message(frame: Frame, flags: int, fitted: Fitted, opt: bytes) -> bytes:
    packet, end = frame.packet, frame.end
    asked = packet[2] << 8 & _OPCODE_AND_RD | packet[3] & _CD | (_RA if frame.ra else 0)
    counts = (1 if end else 0, fitted.answer_count, fitted.authority_count)
    additionals = fitted.additional_count + (1 if opt else 0)
    header = _HEADER.pack(packet[:2], _QR | asked | flags, *counts, additionals)
    body = (fitted.answers, fitted.authority, fitted.additionals, opt)
    return b"".join((header, packet[codes.HEADER_OCTETS : end], *body))
