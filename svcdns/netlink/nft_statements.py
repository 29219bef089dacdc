"""Statements of nftables: each as the kernel's expressions and as `nft` writes it, made from the same words.

Rules: a statement is made by one function here, so its two forms can't part; registers are used anew by each
statement (nothing is carried from one to the next).
https://www.netfilter.org/projects/nftables/manpage.html
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from svcdns.netlink import nft_expressions as expressions
from svcdns.netlink.nft_expressions import Base, Conntrack, Verdict
from svcdns.netlink.nft_types import IPV4, IPV6, PORT, PROTOCOL, SLOT, Type

_LOCAL = struct.pack("=I", 2)
"""RTN_LOCAL: an address of this host."""
_STATES = {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
_DNAT_DONE = struct.pack("=I", 0x20)
_FULLY_RANDOM = 0x10
_PROTOCOL_NAMES = {6: "tcp", 17: "udp", 132: "sctp"}


class Statement(NamedTuple):
    """A part of a rule: as nft writes it, and as expressions."""

    text: str
    octets: bytes


Rule = tuple[Statement, ...]


def rule_text(rule: Rule) -> str:
    """Return a rule as nft writes it."""
    return " ".join(statement.text for statement in rule)


def rule_octets(rule: Rule) -> bytes:
    """Return a rule's expressions."""
    return b"".join(statement.octets for statement in rule)


class Field(NamedTuple):
    """Something that can be looked up: as nft writes it, its type, what loads it into a register."""

    text: str
    type: Type
    load: Callable[[int], bytes]


@dataclass(frozen=True)
class Family:
    """What differs between the tables of IPv4 and IPv6."""

    name: str
    """As nft says it: `ip`, `ip6`."""
    number: int
    """NFPROTO_IPV4, NFPROTO_IPV6."""
    address: Type
    source: Field
    destination: Field
    original_destination: Field
    """Where the client sent the connection."""
    port_unreachable: int
    """The code of ICMP."""


def _payload(base: Base, offset: int, octets: int) -> Callable[[int], bytes]:
    return lambda word: expressions.payload(word, base, offset, octets)


L4PROTO = Field("meta l4proto", PROTOCOL, lambda word: expressions.meta(word, expressions.META_L4PROTO))
SPORT = Field("th sport", PORT, _payload(Base.TRANSPORT, 0, 2))
DPORT = Field("th dport", PORT, _payload(Base.TRANSPORT, 2, 2))
ORIGINAL_DPORT = Field(
    "ct original proto-dst", PORT, lambda word: expressions.conntrack(word, Conntrack.PROTO_DST, True)
)

IP = Family(
    "ip",
    2,
    IPV4,
    Field("ip saddr", IPV4, _payload(Base.NETWORK, 12, 4)),
    Field("ip daddr", IPV4, _payload(Base.NETWORK, 16, 4)),
    Field("ct original ip daddr", IPV4, lambda word: expressions.conntrack(word, Conntrack.DST_IP, True)),
    3,
)
IP6 = Family(
    "ip6",
    10,
    IPV6,
    Field("ip6 saddr", IPV6, _payload(Base.NETWORK, 8, 16)),
    Field("ip6 daddr", IPV6, _payload(Base.NETWORK, 24, 16)),
    Field("ct original ip6 daddr", IPV6, lambda word: expressions.conntrack(word, Conntrack.DST_IP6, True)),
    4,
)

ARP = 3
"""The family of ARP (NFPROTO_ARP), whose packets have no other fields than these."""
ARP_TARGET = Field("arp daddr ip", IPV4, _payload(Base.NETWORK, 24, 4))
"""The address that is asked for (RFC 826, with addresses of Ethernet and IPv4)."""
SOLICITED = Field("@th,64,128", IPV6, _payload(Base.TRANSPORT, 8, 16))
"""The target of a neighbour solicitation (RFC 4861 section 4.3); behind `solicitation` only."""
_ICMPV6, _SOLICITATION = 58, 135


def solicitation() -> Statement:
    """Match neighbour solicitations."""
    octets = L4PROTO.load(0) + expressions.compare(0, bytes((_ICMPV6,)))
    octets += expressions.payload(0, Base.TRANSPORT, 0, 1)
    octets += expressions.compare(0, bytes((_SOLICITATION,)))
    return Statement("icmpv6 type nd-neighbor-solicit", octets)


def random_below(modulus: int) -> Field:
    """Return a random number as a field of a key."""
    return Field(f"numgen random mod {modulus}", SLOT, lambda word: expressions.random_number(word, modulus))


def _words(kind: Type) -> int:
    return (kind.octets + 3) // 4


def _loaded(fields: Sequence[Field], word: int = 0) -> tuple[str, bytes]:
    octets = b""
    for field in fields:
        octets += field.load(word)
        word += _words(field.type)
    return " . ".join(field.text for field in fields), octets


def inside(fields: Sequence[Field], name: str) -> Statement:
    """Match where a key is in a set."""
    key, octets = _loaded(fields)
    return Statement(f"{key} @{name}", octets + expressions.lookup(0, name))


def outside(fields: Sequence[Field], name: str) -> Statement:
    """Match where a key isn't in a set."""
    key, octets = _loaded(fields)
    return Statement(f"{key} != @{name}", octets + expressions.lookup(0, name, negate=True))


def verdict_of(fields: Sequence[Field], name: str) -> Statement:
    """Do what a map says for a key."""
    key, octets = _loaded(fields)
    return Statement(f"{key} vmap @{name}", octets + expressions.lookup_verdict(0, name))


def protocol(number: int) -> Statement:
    """Match a transport protocol."""
    octets = L4PROTO.load(0) + expressions.compare(0, bytes((number,)))
    return Statement(f"meta l4proto {_PROTOCOL_NAMES[number]}", octets)


def source_not_local() -> Statement:
    """Match packets that this host didn't send."""
    octets = expressions.address_type(0, expressions.FIB_SOURCE) + expressions.compare(0, _LOCAL, equal=False)
    return Statement("fib saddr type != local", octets)


def destination_local() -> Statement:
    """Match packets to an address of this host."""
    octets = expressions.address_type(0, expressions.FIB_DESTINATION) + expressions.compare(0, _LOCAL)
    return Statement("fib daddr type local", octets)


def state(name: str) -> Statement:
    """Match the state of a connection: new, invalid, untracked, ..."""
    bits = struct.pack("=I", _STATES[name])
    octets = expressions.conntrack(0, Conntrack.STATE) + expressions.mask(0, bits)
    return Statement(f"ct state {name}", octets + expressions.compare(0, bytes(4), equal=False))


def _status(equal: bool) -> bytes:
    loaded = expressions.conntrack(0, Conntrack.STATUS) + expressions.mask(0, _DNAT_DONE)
    return loaded + expressions.compare(0, bytes(4), equal=equal)


def destination_changed() -> Statement:
    """Match connections that were sent elsewhere."""
    return Statement("ct status dnat", _status(equal=False))


def destination_unchanged() -> Statement:
    """Match connections that go where the client sent them."""
    return Statement("ct status & dnat == 0", _status(equal=True))


def jump(chain: str) -> Statement:
    """Go through a chain and come back."""
    return Statement(f"jump {chain}", expressions.verdict(Verdict.JUMP, chain))


def goto(chain: str) -> Statement:
    """Go to a chain for good."""
    return Statement(f"goto {chain}", expressions.verdict(Verdict.GOTO, chain))


def back() -> Statement:
    """Leave the chain."""
    return Statement("return", expressions.verdict(Verdict.RETURN))


def drop() -> Statement:
    """Say nothing."""
    return Statement("drop", expressions.verdict(Verdict.DROP))


def to_value(family: Family, fields: Sequence[Field], name: str) -> Statement:
    """Send the connection to the address and port that a map gives; without an element the rule ends."""
    key, octets = _loaded(fields)
    octets += expressions.lookup_value(0, name, 0)
    octets += expressions.destination_nat(family.number, 0, _words(family.address))
    return Statement(f"dnat {family.name} to {key} map @{name}", octets)


def to_value_at(family: Family, fields: Sequence[Field], name: str, port: int) -> Statement:
    """Send the connection to the address that a map gives, at a port; behind `protocol` only."""
    key, octets = _loaded(fields)
    octets += expressions.lookup_value(0, name, 0)
    octets += expressions.immediate(_words(family.address), port.to_bytes(2))
    octets += expressions.destination_nat(family.number, 0, _words(family.address))
    return Statement(f"dnat {family.name} to {key} map @{name} : {port}", octets)


def remember(key: Field, value: Field, name: str, seconds: int) -> Statement:
    """Keep a value for a key in a map, so long since the last packet that came here."""
    word = _words(key.type)
    octets = key.load(0) + value.load(word) + expressions.update(name, 0, word, seconds)
    return Statement(f"update @{name} {{ {key.text} timeout {seconds}s : {value.text} }}", octets)


def from_destination(family: Family) -> Statement:
    """Let the connection come from the very address that it goes to."""
    octets = family.destination.load(0) + expressions.source_nat(family.number, 0)
    return Statement(f"snat {family.name} to {family.destination.text}", octets)


def masquerade() -> Statement:
    """Let the connection come from this host."""
    return Statement("masquerade fully-random", expressions.masquerade(_FULLY_RANDOM))


def reset() -> Statement:
    """Answer a TCP reset; behind `protocol` only."""
    return Statement("reject with tcp reset", expressions.reject(expressions.TCP_RESET))


def unreachable(family: Family) -> Statement:
    """Answer ICMP port unreachable."""
    return Statement("reject", expressions.reject(expressions.ICMP_UNREACHABLE, family.port_unreachable))
