"""Expressions of nf_tables as octets: the instructions that a rule is made of.

Rules:

* registers are numbered in words of 4 octets: word 0 to 15 (the kernel's NFT_REG32_00 on);
* integers in attributes are in network order; values in registers have the order of what was loaded;
* each function returns one element of a rule's list of expressions.

include/uapi/linux/netfilter/nf_tables.h of Linux
"""

from __future__ import annotations

import struct
from enum import IntEnum

from svcdns.netlink.wire import attribute, nested, text

_VERDICT_REGISTER, _FIRST_WORD, WORDS = 0, 8, 16


class Verdict(IntEnum):
    """What becomes of a packet (enum nft_verdicts, NF_DROP)."""

    DROP = 0
    JUMP = -3
    GOTO = -4
    RETURN = -5


class Base(IntEnum):
    """The header that a payload is counted from."""

    NETWORK = 1
    TRANSPORT = 2


class Conntrack(IntEnum):
    """What is known of a packet's connection (enum nft_ct_keys)."""

    STATE = 0
    STATUS = 2
    PROTO_DST = 12
    DST_IP = 20
    DST_IP6 = 22


META_L4PROTO = 16
FIB_SOURCE, FIB_DESTINATION = 1, 2
ICMP_UNREACHABLE, TCP_RESET = 0, 1
_FIB_ADDRTYPE, _RANDOM, _DNAT, _UPDATE, _ORIGINAL, _INVERT = 3, 1, 1, 1, 0, 1


def u32(kind: int, value: int) -> bytes:
    """Return an attribute that is a number of 32 bits."""
    return attribute(kind, struct.pack("!I", value))


def value_data(octets: bytes) -> bytes:
    """Return what a NFTA_DATA of a value holds."""
    return attribute(1, octets)


def verdict_data(verdict: Verdict, chain: str = "") -> bytes:
    """Return what a NFTA_DATA of a verdict holds."""
    target = text(2, chain) if chain else b""
    return nested(2, attribute(1, struct.pack("!i", verdict)), target)


def _register(kind: int, word: int) -> bytes:
    if not 0 <= word < WORDS:
        raise ValueError(f"there are {WORDS} words in registers, no word {word}")
    return u32(kind, _FIRST_WORD + word)


def _expression(name: str, *parts: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *parts))


def immediate(word: int, octets: bytes) -> bytes:
    """Put octets into a register."""
    return _expression("immediate", _register(1, word), nested(2, value_data(octets)))


def verdict(code: Verdict, chain: str = "") -> bytes:
    """End the rule: drop, return, or go to a chain."""
    return _expression("immediate", u32(1, _VERDICT_REGISTER), nested(2, verdict_data(code, chain)))


def payload(word: int, base: Base, offset: int, octets: int) -> bytes:
    """Load octets of the packet."""
    return _expression("payload", _register(1, word), u32(2, base), u32(3, offset), u32(4, octets))


def meta(word: int, key: int) -> bytes:
    """Load what is known of the packet besides its octets."""
    return _expression("meta", u32(2, key), _register(1, word))


def conntrack(word: int, key: Conntrack, original: bool = False) -> bytes:
    """Load something of the packet's connection; `original`: as the client sent it."""
    direction = attribute(3, bytes((_ORIGINAL,))) if original else b""
    return _expression("ct", u32(2, key), _register(1, word), direction)


def address_type(word: int, flags: int) -> bytes:
    """Load the type that the routing table gives the source's or the destination's address (RTN_*)."""
    return _expression("fib", _register(1, word), u32(2, _FIB_ADDRTYPE), u32(3, flags))


def random_number(word: int, modulus: int) -> bytes:
    """Load a random number below a modulus."""
    return _expression("numgen", _register(1, word), u32(2, modulus), u32(3, _RANDOM), u32(4, 0))


def compare(word: int, octets: bytes, equal: bool = True) -> bytes:
    """Go on only where a register equals octets, or doesn't."""
    return _expression("cmp", _register(1, word), u32(2, 0 if equal else 1), nested(3, value_data(octets)))


def mask(word: int, octets: bytes) -> bytes:
    """Leave only these bits of a register."""
    return _expression(
        "bitwise",
        _register(1, word),
        _register(2, word),
        u32(3, len(octets)),
        nested(4, value_data(octets)),
        nested(5, value_data(bytes(len(octets)))),
    )


def lookup(word: int, name: str, negate: bool = False) -> bytes:
    """Go on only where the key in registers is in a set, or isn't."""
    return _expression("lookup", text(1, name), _register(2, word), u32(5, _INVERT) if negate else b"")


def lookup_value(word: int, name: str, into: int) -> bytes:
    """Load what a map gives for the key in registers; without an element the rule ends."""
    return _expression("lookup", text(1, name), _register(2, word), _register(3, into))


def lookup_verdict(word: int, name: str) -> bytes:
    """Do what a map says for the key in registers."""
    return _expression("lookup", text(1, name), _register(2, word), u32(3, _VERDICT_REGISTER))


def destination_nat(family: int, address: int, port: int) -> bytes:
    """Send the connection to the address and the port in these registers (family: NFPROTO_*)."""
    return _expression(
        "nat",
        u32(1, _DNAT),
        u32(2, family),
        _register(3, address),
        _register(4, address),
        _register(5, port),
        _register(6, port),
    )


def masquerade(flags: int) -> bytes:
    """Let the connection have the address that this host has towards its destination."""
    return _expression("masq", u32(1, flags))


def reject(kind: int, code: int = 0) -> bytes:
    """Refuse the packet: a TCP reset, or ICMP unreachable with a code."""
    return _expression("reject", u32(1, kind), attribute(2, bytes((code,))))


def update(name: str, word: int, value: int, seconds: int) -> bytes:
    """Add an element of a map, key and value from registers, or begin its time anew."""
    timeout = attribute(6, struct.pack("!Q", seconds * 1000))
    return _expression(
        "dynset", text(1, name), u32(3, _UPDATE), _register(4, word), _register(5, value), timeout
    )
