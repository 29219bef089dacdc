"""Writing a reply: header, the question as it was asked, the sections, one OPT if one was asked.

AA, TC and the rcode are ours; opcode, RD and CD are the question's; RA says whether the client's questions
are forwarded.  Every reply but those of the fast paths gets its header here.
"""

from __future__ import annotations

import msgspec

from . import edns, header
from .edns import Edns


class Frame(msgspec.Struct, frozen=True, gc=False):
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
            return header.MAX_MESSAGE
        client = max(self.edns.size, edns.MIN_UDP) if self.edns is not None else edns.MIN_UDP
        return min(client, self.udp_size)

    def opt(self, rcode: int = 0, options: bytes = b"") -> bytes:
        """Return our OPT, nothing if the question had none."""
        return b"" if self.edns is None else edns.opt(self.udp_size, self.edns.do, rcode, options)


class Sections(msgspec.Struct):
    """Sections as they are sent, and how many RRs each has."""

    answers: bytes = b""
    answer_count: int = 0
    authority: bytes = b""
    authority_count: int = 0
    additionals: bytes = b""
    additional_count: int = 0
    truncated: bool = False


def message(frame: Frame, flags: int, sections: Sections, opt: bytes) -> bytes:
    """Return a whole reply; `flags` are AA and the lower bits of the rcode, `opt` is `frame.opt(...)`."""
    packet, end = frame.packet, frame.end
    flags |= header.QR | header.flags_of(packet) & header.REPEATED
    flags |= (header.RA if frame.ra else 0) | (header.TC if sections.truncated else 0)
    counts = (1 if end else 0, sections.answer_count, sections.authority_count)
    head = header.HEADER.pack(packet[:2], flags, *counts, sections.additional_count + (1 if opt else 0))
    body = (sections.answers, sections.authority, sections.additionals, opt)
    return b"".join((head, packet[header.OCTETS : end], *body))


def refusal(frame: Frame, rcode: int, ede: int | None = None, text: str = "") -> bytes:
    """Return a reply without records; `ede` is the Extended DNS Error that says why (RFC 8914)."""
    options = b"" if ede is None else edns.error(ede, text)
    return message(frame, rcode & header.RCODE, Sections(), frame.opt(rcode, options))
