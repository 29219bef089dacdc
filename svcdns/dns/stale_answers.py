"""Own answers that are older than they should be say so: EDE 3, of an NXDOMAIN 19 (RFC 8914 4.4, 4.20).

Where the registry is on etcd, and etcd has been away for longer than store.stale_after.  The compiled path is
left out meanwhile, so that no other time pays for this.  An answer that has no room for six more octets, or
says another error already, stays as it is.
"""

from __future__ import annotations

from svcdns.wire import codes, edns, header
from svcdns.wire.question import Malformed, parse
from svcdns.wire.reply import Frame

from .view import View

_PLAIN_OPT = b"\0" + codes.OPT.to_bytes(2)
_STALE, _STALE_NXDOMAIN = edns.error(codes.EDE_STALE_ANSWER), edns.error(codes.EDE_STALE_NXDOMAIN)


def marked(reply: bytes, frame: Frame) -> bytes:
    """Return an own answer that says how old it is."""
    at = len(reply) - edns.EMPTY_OPT_OCTETS
    is_plain = reply[at : at + len(_PLAIN_OPT)] == _PLAIN_OPT and reply[-2:] == b"\0\0"
    option = _STALE_NXDOMAIN if header.flags_of(reply) & header.RCODE == codes.NXDOMAIN else _STALE
    if frame.edns is None or not is_plain or len(reply) + len(option) > frame.limit:
        return reply
    return reply[:-2] + len(option).to_bytes(2) + option


def marked_if_own(reply: bytes, packet: bytes, view: View, udp_size: int, tcp: bool) -> bytes:
    """Return the same of an answer to a plain question, whosever it is."""
    if not header.flags_of(reply) & header.AA:
        return reply
    try:
        question = parse(packet)
    except Malformed:
        return reply
    zone = view.table.place(question.key).zone
    if zone is not None and zone.kind == "file":
        return reply
    return marked(reply, Frame(packet, question.end, question.edns, udp_size, tcp))
