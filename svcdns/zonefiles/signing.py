"""What is to be known of a zone that was signed elsewhere: how it proves what is not there, and until when.

A zone is signed if its SOA has an RRSIG.  Where its NSEC3PARAM has a chain that begins at the apex, that is
served (RFC 5155 section 7.1), else its NSEC records are.  Signatures are not checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import Struct

import dns.rdatatype

from svcdns.names import nsec3
from svcdns.store.snapshot import Nsec3Parameters
from svcdns.wire import codes
from svcdns.wire.key import text_of_key, wire_of_key

from .nodes import Node, RRs, covered_type
from .signature_times import is_before

_NSEC3 = Struct(">BBHB")
"""Algorithm, flags, iterations, octets of salt: how NSEC3 and NSEC3PARAM begin (RFC 5155 section 3.2)."""
_RRSIG = Struct(">HBBII")
"""Type covered, algorithm, labels, original TTL, expiration: how an RRSIG begins (RFC 4034 section 3.1)."""


class TooManyIterations(ValueError):
    """Hashing the names of a zone would cost every question too much."""


@dataclass(frozen=True, slots=True)
class Signing:
    """How a zone is signed."""

    signed: bool = False
    nsec3: Nsec3Parameters | None = None
    expires: int = 0
    """When the first RRset is without a valid signature: unix time modulo 2**32; 0 for an unsigned zone."""
    expiring: str = ""
    """Which one that is: owner and type."""
    remarks: tuple[str, ...] = ()


def signing_of(nodes: Mapping[bytes, Node], apex: bytes) -> Signing:
    """Return how a zone is signed.  Raises TooManyIterations."""
    top = nodes[apex]
    if not any(covered_type(rdata) == codes.SOA for rdata in _rdatas(top, codes.RRSIG)):
        return Signing()
    parameters = _served_chain(nodes, apex)
    remarks = []
    if parameters is None and codes.NSEC not in top.sets:
        remarks.append("it is signed without NSEC or NSEC3 at its apex: nothing proves what is not there")
    expires, expiring = _first_to_expire(nodes)
    return Signing(True, parameters, expires, expiring, tuple(remarks))


def split_off_nsec3(
    nodes: dict[bytes, Node], apex: bytes, parameters: Nsec3Parameters | None
) -> dict[bytes, Node]:
    """Take NSEC3 records and their RRSIGs out of the nodes; return them by the keys of their rows."""
    apart: dict[bytes, Node] = {}
    for key in [key for key, node in nodes.items() if codes.NSEC3 in node.sets]:
        node = nodes[key]
        in_chain = parameters in [_parameters(rdata) for rdata in _rdatas(node, codes.NSEC3)]
        moved = apart[(nsec3.CHAIN if in_chain else nsec3.OTHERS) + key] = Node(node.source, node.line)
        moved.sets[codes.NSEC3] = node.sets.pop(codes.NSEC3)
        if codes.RRSIG in node.sets:
            _split_signatures(node, moved)
        if not node.sets:
            del nodes[key]
    return apart


def _split_signatures(node: Node, moved: Node) -> None:
    rrsigs = node.sets.pop(codes.RRSIG)
    for to, is_nsec3 in ((moved, True), (node, False)):
        rdatas = {
            canonical: rdata
            for canonical, rdata in rrsigs.rdatas.items()
            if (covered_type(rdata) == codes.NSEC3) is is_nsec3
        }
        if rdatas:
            to.sets[codes.RRSIG] = RRs(rrsigs.ttl, rdatas)


def _served_chain(nodes: Mapping[bytes, Node], apex: bytes) -> Nsec3Parameters | None:
    """Return the first parameters at the apex whose chain has the apex.  Raises TooManyIterations."""
    for rdata in _rdatas(nodes[apex], codes.NSEC3PARAM):
        algorithm, flags, *_ = _NSEC3.unpack_from(rdata)
        if algorithm != nsec3.SHA1 or flags:  # RFC 5155 sections 4.1.2 and 8.1
            continue
        found = _parameters(rdata)
        if found.iterations > nsec3.MAX_ITERATIONS:
            raise TooManyIterations(
                f"NSEC3PARAM has {found.iterations} iterations, and at most {nsec3.MAX_ITERATIONS} "
                "are served; sign the zone with 0 (RFC 9276)"
            )
        label = nsec3.hashed_label(wire_of_key(apex), found.salt, found.iterations)
        node = nodes.get(apex + label + b"\0")
        if node is not None and found in [_parameters(each) for each in _rdatas(node, codes.NSEC3)]:
            return found
    return None


def _parameters(rdata: bytes) -> Nsec3Parameters:
    _, _, iterations, octets = _NSEC3.unpack_from(rdata)
    return Nsec3Parameters(rdata[_NSEC3.size : _NSEC3.size + octets], iterations)


def _first_to_expire(nodes: Mapping[bytes, Node]) -> tuple[int, str]:
    """Return when the first RRset loses its last valid signature, and which one."""
    last: dict[tuple[bytes, int], int] = {}
    for key, node in nodes.items():
        for rdata in _rdatas(node, codes.RRSIG):
            covered, _, _, _, expiration = _RRSIG.unpack_from(rdata)
            known = last.get((key, covered), expiration)
            last[key, covered] = known if is_before(expiration, known) else expiration
    first, when = next(iter(last.items()))
    for place, expiration in last.items():
        if is_before(expiration, when):
            first, when = place, expiration
    key, covered = first
    return when, f"{text_of_key(key)} {dns.rdatatype.to_text(dns.rdatatype.RdataType.make(covered))}"


def _rdatas(node: Node, rrtype: int) -> Iterator[bytes]:
    if (rrs := node.sets.get(rrtype)) is not None:
        yield from rrs.rdatas.values()
