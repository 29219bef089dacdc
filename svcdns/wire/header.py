"""The header of a message (RFC 1035 section 4.1.1): its layout and the masks of its flags."""

from __future__ import annotations

from struct import Struct

OCTETS = 12
RR_FIXED = 10
"""Octets of an RR between its owner and its RDATA: type, class, TTL, size of the RDATA."""
POINTED_RR = 2 + RR_FIXED
"""Octets before the RDATA of an RR whose owner is a pointer."""
MAX_MESSAGE = 65535
"""Octets of the largest message over TCP."""

HEADER = Struct(">2sHHHHH")
"""ID (as it came), flags and rcode, and the RRs of the four sections."""

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

POINTER = 0xC000
"""The two upper bits that make a pointer of two octets (RFC 1035 section 4.1.4)."""
FARTHEST = 0x3FFF
"""The last offset that a pointer reaches."""
QUESTION_NAME = b"\xc0\x0c"
"""A pointer to the question's name, which always stands behind the header."""


def flags_of(packet: bytes) -> int:
    """Return the flags and the rcode of a message of at least four octets."""
    return packet[2] << 8 | packet[3]


def pointer(at: int) -> bytes:
    """Return a pointer to the name at this offset, of at most FARTHEST."""
    return (POINTER | at).to_bytes(2)
