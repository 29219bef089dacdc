"""Writing a draft as a reply: as much of it as fits.

Over TCP a set that has no room in 65,535 octets is a random part of it, without TC (there is nothing better
to try), and the OPT says "n of m" (RFC 8914).
"""

from __future__ import annotations

from svcdns.wire import codes, edns, header
from svcdns.wire.reply import Frame, message

from .draft import Draft
from .truncation import fit

_EDE_ROOM = 32


def write(frame: Frame, draft: Draft, why_empty: str = "") -> bytes:
    """Return the reply that says a draft, as much of it as fits; `why_empty` only where all of it fits."""
    if draft.endless and header.flags_of(frame.packet) & header.RD:
        return unresolved(frame, draft, codes.EDE_OTHER, draft.endless)
    if why_empty and frame.edns is not None:
        reply = _write(frame, draft, edns.error(codes.EDE_OTHER, why_empty))
        if not header.flags_of(reply) & header.TC:
            return reply
    return _write(frame, draft)


def unresolved(frame: Frame, draft: Draft, ede: int, text: str = "") -> bytes:
    """Return a draft whose outside name can't be resolved: its chain with SERVFAIL, never a half answer."""
    draft.rcode = codes.SERVFAIL
    draft.authoritative = draft.authoritative and bool(draft.chain)
    return _write(frame, draft, edns.error(ede, text))


def _write(frame: Frame, draft: Draft, options: bytes = b"") -> bytes:
    """Return the reply; `options` are those of our OPT."""
    opt = frame.opt(draft.rcode, options)
    room = frame.limit - frame.end - len(opt)
    if draft.parts is not None:
        draft.take(draft.parts.read(room))
    sections = fit(draft, frame.end, room)
    if sections.truncated and frame.tcp and draft.section is not None:
        if opt:
            sections = fit(draft, frame.end, room - _EDE_ROOM)
            there = draft.parts.count if draft.parts is not None else draft.section.count
            sent = f"{sections.answer_count} of {len(draft.chain) + there + len(draft.signatures)}"
            opt = frame.opt(draft.rcode, edns.error(codes.EDE_OTHER, sent))
        sections.truncated = False
    aa = header.AA if draft.authoritative else 0
    return message(frame, aa | draft.rcode, sections, opt)
