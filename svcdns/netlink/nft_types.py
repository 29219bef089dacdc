"""Types, sets and maps of nf_tables: how keys and values stand in octets, and how people write them.

Rules:

* a key of several fields is their octets, each padded to 4 (what the kernel's registers hold);
* a declaration carries what `nft list ruleset` needs to print elements as people write them (user data);
* `show` is the exact opposite of what a person would type: text that `nft -f` reads again.

https://wiki.nftables.org/wiki-nftables/index.php/Concatenations
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from svcdns.netlink.wire import Malformed

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp"}


class Type(NamedTuple):
    """A data type: its name and number in nft, the octets of a value, how it is written."""

    name: str
    number: int
    octets: int
    show: Callable[[bytes], str]
    expression: tuple[int, tuple[int, ...]]
    """An expression of this type as nft notes it: which, and its parameters."""


def _number(octets: bytes) -> str:
    return str(int.from_bytes(octets))


def _slot(octets: bytes) -> str:
    return str(struct.unpack("=I", octets)[0])


def _protocol(octets: bytes) -> str:
    return _PROTOCOLS.get(octets[0], str(octets[0]))


_PAYLOAD, _META, _CONCATENATION, _NUMGEN = 7, 9, 13, 23
IPV4 = Type("ipv4_addr", 7, 4, lambda octets: str(IPv4Address(octets)), (_PAYLOAD, (12, 12)))
IPV6 = Type("ipv6_addr", 8, 16, lambda octets: str(IPv6Address(octets)), (_PAYLOAD, (13, 9)))
PROTOCOL = Type("inet_proto", 12, 1, _protocol, (_META, (16,)))
PORT = Type("inet_service", 13, 2, _number, (_PAYLOAD, (11, 2)))
SLOT = Type("integer", 4, 4, _slot, (_NUMGEN, (1, 65536, 0)))
"""A random number below some modulus, in the machine's order."""
_TYPEOF = {
    "ipv4_addr": "ip daddr",
    "ipv6_addr": "ip6 daddr",
    "inet_proto": "meta l4proto",
    "inet_service": "th dport",
    "integer": "numgen random mod 65536",
}


class Holds(Enum):
    """What a set gives for a key, where it isn't a value."""

    KEYS = "keys"
    """Nothing: it is a set."""
    VERDICTS = "verdicts"


@dataclass(frozen=True)
class Set:
    """A set or a map: its name, the types of its key, and of its values."""

    name: str
    key: tuple[Type, ...]
    data: tuple[Type, ...] | Holds = Holds.KEYS
    interval: bool = False
    """Elements are ranges."""
    size: int = 0
    """Packets add elements, up to so many, each with a timeout; 0: elements are ours alone."""
    timed: bool = False
    """Elements of ours may have a timeout."""

    @cached_property
    def key_octets(self) -> int:
        """How many octets a key has in a register."""
        return padded(self.key)

    @property
    def is_map(self) -> bool:
        """Whether it gives something for a key."""
        return self.data is not Holds.KEYS

    @cached_property
    def is_typeof(self) -> bool:
        """Whether a key has a number without a type of its own: nft knows it by an expression."""
        return SLOT in self.key

    def declaration(self) -> str:
        """Return its declaration in a table of `nft -f`, without elements."""
        parts = [" . ".join(_written(kind, self.is_typeof) for kind in self.key)]
        if self.data is Holds.VERDICTS:
            parts.append("verdict")
        elif isinstance(self.data, tuple):
            parts.append(" . ".join(_written(kind, self.is_typeof) for kind in self.data))
        lines = [("typeof " if self.is_typeof else "type ") + " : ".join(parts)]
        if self.interval:
            lines.append("flags interval")
        if self.size:
            lines += [f"size {self.size}", "flags dynamic,timeout"]
        if self.timed:
            lines.append("flags timeout")
        return "; ".join(lines)

    def user_data(self) -> bytes:
        """Return what nft remembers of it: orders of octets, expressions for types without a name."""
        found = _noted(0, struct.pack("=I", _order(self.key)))
        if self.data is Holds.KEYS:
            return found + (_noted(3, _expressions(self.key)) if self.is_typeof else b"")
        order = 0 if self.data is Holds.VERDICTS else _order(self.data)
        found += _noted(1, struct.pack("=I", order))
        if self.is_typeof and isinstance(self.data, tuple):
            found += _noted(3, _expressions(self.key)) + _noted(4, _expressions(self.data))
        return found


def padded(types: tuple[Type, ...]) -> int:
    """Return how many octets values of these types have in registers."""
    return sum((kind.octets + 3) & ~3 for kind in types)


def type_number(types: tuple[Type, ...]) -> int:
    """Return the number of a type or of a concatenation."""
    number = 0
    for kind in types:
        number = number << 6 | kind.number
    return number


def fields(types: tuple[Type, ...], octets: bytes) -> list[bytes]:
    """Return the values in a key, without padding.  Raises Malformed."""
    if len(octets) != padded(types):
        raise Malformed(f"{len(octets)} octets where {padded(types)} make a key")
    found, at = [], 0
    for kind in types:
        found.append(octets[at : at + kind.octets])
        at += (kind.octets + 3) & ~3
    return found


def show(types: tuple[Type, ...], octets: bytes) -> str:
    """Return a key or a value as people write it.  Raises Malformed."""
    return " . ".join(kind.show(value) for kind, value in zip(types, fields(types, octets), strict=True))


def _written(kind: Type, as_expression: bool) -> str:
    return _TYPEOF[kind.name] if as_expression else kind.name


def _order(types: tuple[Type, ...]) -> int:
    """Return nft's number for the order of octets: 2 is big-endian; a concatenation has none."""
    return 2 if len(types) == 1 and types[0].octets > 1 else 0


def _noted(kind: int, value: bytes) -> bytes:
    return bytes((kind, len(value))) + value


def _expressions(types: tuple[Type, ...]) -> bytes:
    """Return a concatenation of expressions as nft notes it in user data."""
    inner = b"".join(_noted(place, _expression(kind)) for place, kind in enumerate(types))
    return _noted(0, struct.pack("=I", _CONCATENATION)) + _noted(1, inner)


def _expression(kind: Type) -> bytes:
    which, numbers = kind.expression
    values = b"".join(_noted(place, struct.pack("=I", number)) for place, number in enumerate(numbers))
    return _noted(0, struct.pack("=I", which)) + _noted(1, values)
