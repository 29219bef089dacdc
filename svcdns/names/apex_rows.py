"""Rows of zones, not of objects: apexes, `svc.Z`, `pod.Z`, `ns.dns.Z` and the schema version."""

from __future__ import annotations

from collections.abc import Sequence

from svcdns.wire import codes, header
from svcdns.wire.key import wire_of

from .cluster_names import ClusterNames
from .packed import APEX, NEGATIVE_SOA, RRset, pack_row
from .records import SOA_TTL_LIMIT, Address, address_rr, ns_rr, rrsets_by_type, soa_rr, txt_rr

SCHEMA_VERSION = "1.1.0"
SCHEMA_VERSION_TTL = 28800

EMPTY = pack_row([])
"""A name that exists and has no data."""


def apex_row(
    names: ClusterNames, serial: int, ttl: int, negative_ttl: int, servers: Sequence[Address]
) -> bytes:
    """Return the row of an apex (A2, A3, A4): of the cluster domain or of a reverse zone.

    The SOA in a negative answer has the TTL min(ttl, negative_ttl, 300) (RFC 2308 section 3).
    """
    server = f"ns.dns.{names.domain}"
    fields = (server, f"hostmaster.{names.domain}", serial, negative_ttl)
    glue = [wire_of(server) + address_rr(address, ttl)[header.POINTER_OCTETS :] for address in servers]
    rrsets = [
        RRset(NEGATIVE_SOA, [soa_rr(*fields, min(ttl, negative_ttl, SOA_TTL_LIMIT))]),
        RRset(codes.NS, [ns_rr(server, ttl)], glue),
        RRset(codes.SOA, [soa_rr(*fields, min(ttl, SOA_TTL_LIMIT))]),
    ]
    return pack_row(rrsets, APEX)


def fixed_rows(names: ClusterNames, ttl: int, servers: Sequence[Address]) -> dict[bytes, bytes]:
    """Return the rows that every cluster domain has whatever is registered (A5, A7, A14)."""
    version = RRset(codes.TXT, [txt_rr(SCHEMA_VERSION, SCHEMA_VERSION_TTL)])
    return {
        names.services: EMPTY,
        names.pods: EMPTY,
        names.server: pack_row(rrsets_by_type([address_rr(address, ttl) for address in servers])),
        names.version: pack_row([version]),
    }
