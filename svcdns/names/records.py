"""Single RRs in their stored form (see `packed`); RDATA of the rarer types is made by dnslib.

Each function returns the octets of one RR whose owner is a pointer to the question, and whose RDATA spells
every name in full.  TTLs are seconds.  dnslib is loaded with the first RR that it makes: most processes, and
most registries, have none.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import TYPE_CHECKING

from svcdns.wire import codes, header
from svcdns.wire.key import wire_of

from .packed import RRset

if TYPE_CHECKING:
    from dnslib import RD

Address = IPv4Address | IPv6Address

SOA_REFRESH, SOA_RETRY, SOA_EXPIRE = 7200, 1800, 86400
SOA_TTL_LIMIT = 300

_WEIGHT_AT = header.POINTED_RR + 2
"""Where the weight stands in a stored SRV: behind the fixed part of the RR and the priority."""


_SOA_NUMBERS = Struct(">5I")
"""Serial, refresh, retry, expire and minimum, after both names."""

_SRV = Struct(">3H")
"""Priority, weight and port, before the target."""


def _with_rdata(rrtype: int, ttl: int, octets: bytes) -> bytes:
    return header.QUESTION_NAME + header.rr_head(rrtype, ttl, len(octets)) + octets


def _rr(rrtype: int, ttl: int, rdata: RD) -> bytes:
    from dnslib.label import DNSBuffer

    buffer = DNSBuffer()
    buffer.encode_name = buffer.encode_name_nocompress  # a pointer would mean another message
    rdata.pack(buffer)
    return _with_rdata(rrtype, ttl, bytes(buffer.data))


def address_type(address: Address) -> int:
    """Return the type of an address's RR: A or AAAA."""
    return codes.A if address.version == 4 else codes.AAAA


def address_rr(address: Address, ttl: int) -> bytes:
    """Return the A (RFC 1035) or AAAA (RFC 3596) of an address."""
    return _with_rdata(address_type(address), ttl, address.packed)


def srv_rr(target: str, port: int, ttl: int) -> bytes:
    """Return an SRV (RFC 2782) of priority 0; its weight is set with `weighted` once the RRset is known."""
    return _with_rdata(codes.SRV, ttl, _SRV.pack(0, 0, port) + wire_of(target))


def weighted(rrs: list[bytes], pairs: int) -> list[bytes]:
    """Return SRVs with the weight floor(100 / pairs), at least 1.

    `pairs` counts the (endpoint, port) pairs that match before equal RRs were folded.
    """
    weight = max(100 // max(pairs, 1), 1).to_bytes(2)
    return [rr[:_WEIGHT_AT] + weight + rr[_WEIGHT_AT + 2 :] for rr in rrs]


def ptr_rr(target: str, ttl: int) -> bytes:
    """Return a PTR (RFC 1035)."""
    return _with_rdata(codes.PTR, ttl, wire_of(target))


def cname_rr(target: str, ttl: int) -> bytes:
    """Return a CNAME (RFC 1035)."""
    from dnslib import CNAME

    return _rr(codes.CNAME, ttl, CNAME(target))


def ns_rr(target: str, ttl: int) -> bytes:
    """Return an NS (RFC 1035)."""
    return _with_rdata(codes.NS, ttl, wire_of(target))


def txt_rr(text: str, ttl: int) -> bytes:
    """Return a TXT of one character-string (RFC 1035): 255 octets of UTF-8 at most, else dnslib.DNSError."""
    from dnslib import TXT

    return _rr(codes.TXT, ttl, TXT(text))


def soa_rr(mname: str, rname: str, serial: int, minimum: int, ttl: int) -> bytes:
    """Return an SOA (RFC 1035) with our fixed timers."""
    numbers = _SOA_NUMBERS.pack(serial, SOA_REFRESH, SOA_RETRY, SOA_EXPIRE, minimum)
    return _with_rdata(codes.SOA, ttl, wire_of(mname) + wire_of(rname) + numbers)


def rrsets_by_type(rrs: list[bytes]) -> list[RRset]:
    """Return stored RRs grouped into RRsets by their type, equal RRs folded, order kept."""
    groups: dict[int, dict[bytes, None]] = {}
    for rr in rrs:
        groups.setdefault(int.from_bytes(rr[2:4]), {})[rr] = None
    return [RRset(rrtype, list(group)) for rrtype, group in groups.items()]


def dashed(address: Address) -> str:
    """Return an address as a label: 10-0-0-1, 2001-db8--1; a trailing `::` becomes `--0`."""
    if address.version == 4:
        return "{}-{}-{}-{}".format(*address.packed)
    text = str(address).replace(":", "-")
    return text + "0" if text.endswith("-") else text
