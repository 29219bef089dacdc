"""The query that goes to an upstream.

RD=1, CD as the client asked, AD=0 (we set none in our replies), and an OPT with our size and the
client's DO bit.  No option of the client goes along: a cookie or a client's network is between two
neighbours (RFC 6891 section 6.1.1).
"""

from __future__ import annotations

from struct import Struct

from svcdns.dns.edns import opt
from svcdns.names.key import wire_of_key

from .ask import Ask

UDP_SIZE = 1232
"""Octets that we take over UDP: what passes everywhere without fragments."""

_HEADER = Struct(">HHHHHH")
_TYPE_IN = Struct(">HH")
_RD = 0x0100
_CD = 0x0010
_OPT = (opt(UDP_SIZE, False), opt(UDP_SIZE, True))


def message(ask: Ask, ident: int, *, edns: bool = True) -> bytes:
    """Return the query for a question, with this ID; `edns` False leaves the OPT out (and so DO)."""
    return (
        _HEADER.pack(ident, _RD | _CD if ask.cd else _RD, 1, 0, 0, edns)
        + (ask.name or wire_of_key(ask.key))
        + _TYPE_IN.pack(ask.rrtype, 1)
        + (_OPT[ask.do] if edns else b"")
    )
