"""What is asked of an upstream: a `Query`, and the message that carries it.

A Query is also the identity of a question: two clients whose queries are equal share one exchange and one
cache entry.  So it holds what changes an answer (name, type, DO, CD) and nothing else.

The message: RD=1, CD as the client asked, AD=0 (we set none in our replies), and an OPT with our size and the
client's DO bit.  No option of the client goes along: a cookie or a client's network is between two neighbours
(RFC 6891 section 6.1.1).  Over TLS and HTTPS all messages have one of few sizes, and so the replies: what is
asked can't be told from how much is sent (RFC 7830, RFC 8467 section 4.1).
"""

from __future__ import annotations

from struct import Struct

import msgspec

from . import codes, header
from .edns import opt, padding
from .key import wire_of_key

UDP_SIZE = 1232
"""Octets that we take over UDP: what passes everywhere without fragments."""

_pack_header = Struct(">HHHHHH").pack
"""As header.HEADER, with the ID as a number."""
_type_class = header.TYPE_CLASS.pack
_OPT = (opt(UDP_SIZE, False), opt(UDP_SIZE, True))
_BLOCK = 128
"""Octets; a padded query has a multiple of it."""


class Query(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A question of class IN for an upstream; equal are those that ask the same, in any letter case."""

    key: bytes
    """Of the name asked for (svcdns.wire.key)."""
    rrtype: int
    do: bool = False
    cd: bool = False
    name: bytes = b""
    """The name on the wire, in the letter case of whoever asked first; empty: that of the key."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Query):
            return NotImplemented
        mine, others = (
            (self.key, self.rrtype, self.do, self.cd),
            (other.key, other.rrtype, other.do, other.cd),
        )
        return mine == others

    def __hash__(self) -> int:
        # Octets remember their hash; DO and CD make four of one at most.
        return hash(self.key) ^ self.rrtype

    @property
    def question(self) -> bytes:
        """The question as it stands in a message: name, type, class IN."""
        return (self.name or wire_of_key(self.key)) + _type_class(self.rrtype, codes.IN)


def encode_query(query: Query, ident: int, *, edns: bool = True, padded: bool = False) -> bytes:
    """Return the message that asks a query, with this ID; without `edns` no OPT, so no DO and no padding."""
    flags = header.RD | header.CD if query.cd else header.RD
    message = _pack_header(ident, flags, 1, 0, 0, edns) + query.question
    if not edns:
        return message
    if not padded:
        return message + _OPT[query.do]
    least = len(message) + len(_OPT[0]) + len(padding(0))
    return message + opt(UDP_SIZE, query.do, options=padding(-least % _BLOCK))


def is_same_question(asked: bytes, ours: bytes) -> bool:
    """Say whether two questions (name, type, class) are equal but for the letter case of the name."""
    # Octets of length are below "A" and pointers above "z", so that lower() changes letters only.
    tail = -header.TYPE_CLASS.size
    return asked == ours or (asked[:tail].lower() == ours[:tail].lower() and asked[tail:] == ours[tail:])
