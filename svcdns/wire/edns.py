"""EDNS(0): the OPT record of a question, and ours in the reply (RFC 6891).

* An OPT in the question gives exactly one in the reply: version 0, the DO bit copied, our own size;
  none in the question, none in the reply.
* Options that we don't know are ignored.  The one option that a client gets is an Extended DNS Error
  (RFC 8914).
"""

from __future__ import annotations

from struct import Struct

import msgspec

from . import codes

MIN_UDP = 512
"""Octets that every client takes over UDP (RFC 1035 section 4.2.1)."""

_FIXED = Struct(">HHBBHH")
"""Type, requestor's UDP size, upper bits of the rcode, version, flags, octets of options."""
OPTION = Struct(">HH")
"""Code, octets of data: what stands in front of the data of an option."""
EMPTY_OPT_OCTETS = 1 + _FIXED.size
"""Of an OPT without options; its owner is the root."""
_DO = 0x8000


class Edns(msgspec.Struct, frozen=True, gc=False):
    """What a question's OPT says: `size` in octets, `version` and the DO bit."""

    size: int
    version: int
    do: bool


def options_well_formed(packet: bytes, at: int, end: int) -> bool:
    """Say whether the octets from `at` to `end` are whole options (RFC 6891 section 6.1.2)."""
    while end - at >= OPTION.size:
        _, octets = OPTION.unpack_from(packet, at)
        at += OPTION.size + octets
    return at == end


def read_opt(packet: bytes, type_at: int) -> Edns:
    """Return what the OPT says whose type field stands at this offset."""
    _, size, _, version, flags, _ = _FIXED.unpack_from(packet, type_at)
    return Edns(size, version, bool(flags & _DO))


def opt(udp_size: int, do: bool, rcode: int = 0, options: bytes = b"") -> bytes:
    """Return our OPT record; `rcode` gives its upper eight bits to it."""
    return b"\0" + _FIXED.pack(codes.OPT, udp_size, rcode >> 4, 0, _DO if do else 0, len(options)) + options


def error(code: int, text: str = "") -> bytes:
    """Return an Extended DNS Error option (RFC 8914 section 2)."""
    data = code.to_bytes(2) + text.encode()
    return OPTION.pack(codes.EDE, len(data)) + data


def padding(octets: int) -> bytes:
    """Return a Padding option with so many octets of nothing (RFC 7830 section 3)."""
    return OPTION.pack(codes.PADDING, octets) + bytes(octets)
