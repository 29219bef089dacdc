"""The fixed parts of a message: its header, the fields of a question and of an RR, pointers.

RFC 1035 sections 4.1.1 to 4.1.4.  Layouts, sizes and masks stand here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from . import codes

OCTETS = 12
MAX_MESSAGE = 65535
"""Octets of the largest message over TCP."""

HEADER = Struct(">2sHHHHH")
"""ID (as it came), flags and rcode, and the entries of the four sections."""
COUNTS = Struct(">HHHH")
"""The entries of the four sections."""
COUNTS_AT = 4
ADDITIONALS_AT = 10
"""Where the number of additional RRs stands."""

QR = 0x8000
OPCODE = 0x7800
AA = 0x0400
TC = 0x0200
RD = 0x0100
RA = 0x0080
CD = 0x0010
RCODE = 0x000F

REPEATED = OPCODE | RD | CD
"""What a reply repeats of the question's flags."""

QR_OCTET = QR >> 8
OPCODE_OCTET = OPCODE >> 8
RD_OCTET = RD >> 8
"""Masks of the first octet of the flags, at FLAGS_AT."""
FLAGS_AT = 2

TYPE_CLASS = Struct(">HH")
"""What stands behind the name of a question."""
RR = Struct(">HHIH")
"""Type, class, TTL, octets of RDATA: what stands behind the owner of an RR."""
TTL_AT = 4
RDLENGTH_AT = 8
"""Where they stand in it."""
TTL_TO_RDATA = RR.size - TTL_AT
MAX_TTL = 0x7FFFFFFF
"""Seconds; a TTL above this one is 0 (RFC 2181 section 8)."""
SOA_NUMBERS = 20
"""Octets at the end of an SOA: serial, refresh, retry, expire, minimum."""

POINTER = 0xC000
"""The two upper bits that make a pointer of two octets."""
FARTHEST = 0x3FFF
"""The last offset that a pointer reaches."""
POINTER_OCTETS = 2
QUESTION_NAME = b"\xc0\x0c"
"""A pointer to the question's name, which always stands behind the header."""
POINTED_RR = POINTER_OCTETS + RR.size
"""Octets before the RDATA of an RR whose owner is a pointer."""


def flags_of(packet: bytes) -> int:
    """Return the flags and the rcode of a message of at least four octets."""
    return packet[2] << 8 | packet[3]


def with_flags(packet: bytes, flags: int) -> bytes:
    """Return a message of at least four octets in which these flags are set too."""
    return packet[:FLAGS_AT] + (flags_of(packet) | flags).to_bytes(2) + packet[COUNTS_AT:]


def pointer(at: int) -> bytes:
    """Return a pointer to the name at this offset, of at most FARTHEST."""
    return (POINTER | at).to_bytes(2)


def with_ttl(octets: bytes | bytearray, offsets: Iterable[int], ttl: int) -> bytearray:
    """Return octets of a message with this TTL (seconds) at these offsets."""
    changed = bytearray(octets)
    written = ttl.to_bytes(4)
    for at in offsets:
        changed[at : at + 4] = written
    return changed


def rr_head(rrtype: int, ttl: int, octets: int, rrclass: int = codes.IN) -> bytes:
    """Return what stands between the owner of an RR and so many octets of RDATA."""
    return RR.pack(rrtype, rrclass, ttl, octets)
