"""What the names of one Service answer: its own name, its ports' names and its endpoints' names.

Input are facts that stand in the store: the Service as `ServiceFacts`, and one `EndpointRow` a ready
endpoint address, whose RRs were packed once, when the endpoint came.  Making an RRset is joining them.
Row numbers in comments refer to the tables of the documented DNS behaviour (docs/dns.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from svcdns.objects.syntax import address_of, domain_errors, parse_address
from svcdns.wire import codes, header
from svcdns.wire.key import wire_of

from .cluster_names import ClusterNames, port_suffix
from .packed import RRset, pack_row
from .records import Address, address_rr, cname_rr, ptr_rr, rrsets_by_type, srv_rr, weighted


class EndpointRow(msgspec.Struct, array_like=True, frozen=True):
    """One ready endpoint address of one Service, as stored."""

    address: bytes
    """Its A or AAAA."""
    glue: bytes
    """The same with the endpoint's own owner name spelt in full."""
    ports: list[tuple[bytes, bytes]]
    """For each port: its key suffix (empty where the port has no name) and its SRV, weight unset."""


class Port(msgspec.Struct, frozen=True):
    """A port of a Service or of an EndpointSlice; `name` may be empty."""

    name: str
    protocol: str
    number: int


class ServiceFacts(msgspec.Struct, frozen=True):
    """What a Service contributes to its names."""

    namespace: str
    name: str
    ttl: int
    addresses: tuple[str, ...] = ()
    """Cluster IPs; none for a headless Service."""
    headless: bool = False
    external_name: str = ""
    ports: tuple[Port, ...] = ()


def endpoint_row(
    names: ClusterNames,
    service: tuple[str, str],
    label: str,
    address: Address,
    ports: Iterable[Port],
    ttl: int,
) -> EndpointRow:
    """Pack the RRs of one endpoint address of `service` (namespace, name).

    Raises BadName where the endpoint's name is too long for DNS.
    """
    target = names.endpoint_text(*service, label)
    owner = wire_of(target)
    rr = address_rr(address, ttl)
    srvs = [
        (port_suffix(port.name, port.protocol), srv_rr(target, port.number, ttl))
        for port in ports
        if port.number
    ]
    return EndpointRow(rr, owner + rr[header.POINTER_OCTETS :], srvs)


def endpoint_ptr(names: ClusterNames, service: tuple[str, str], label: str, ttl: int) -> bytes:
    """Pack the PTR that leads from an endpoint's address to its name (F2)."""
    return ptr_rr(names.endpoint_text(*service, label), ttl)


_Pairs = Sequence[tuple[EndpointRow, bytes]]
"""Endpoints, each with one SRV that leads to it."""


def service_rows(
    names: ClusterNames, facts: ServiceFacts, endpoints: Sequence[EndpointRow]
) -> dict[bytes, bytes]:
    """Return the rows of SVC and of each `_port._proto` below it, by key suffix ("" is SVC itself).

    `endpoints` are all ready ones; only a headless Service looks at them.  No row = NXDOMAIN (C2, D7).
    """
    if facts.external_name:
        return _external_name_rows(facts)
    if facts.headless:
        return _endpoint_set_rows(endpoints)
    return _cluster_ip_rows(names, facts)


def endpoint_name_row(endpoints: Sequence[EndpointRow]) -> bytes | None:
    """Return the row of LABEL.SVC from all endpoints of that label (C5, C8, B11), or None."""
    if not endpoints:
        return None
    everything = [(endpoint, srv) for endpoint in endpoints for _, srv in endpoint.ports]
    sets = rrsets_by_type([endpoint.address for endpoint in endpoints])
    return pack_row([*sets, _endpoint_srv_set(everything)] if everything else sets)


def part_rows(endpoints: Sequence[EndpointRow]) -> dict[bytes, bytes]:
    """Return the same of a part of a headless Service's endpoints (svcdns.names.row_parts)."""
    return _endpoint_set_rows(endpoints, _srv_part)


def _external_name_rows(facts: ServiceFacts) -> dict[bytes, bytes]:
    target = facts.external_name.removesuffix(".")
    if parse_address(target) is not None or domain_errors(target):  # D7: no name, or none that DNS can carry
        return {}
    return {b"": pack_row([RRset(codes.CNAME, [cname_rr(target, facts.ttl)])])}


def _cluster_ip_rows(names: ClusterNames, facts: ServiceFacts) -> dict[bytes, bytes]:
    target = names.service_text(facts.namespace, facts.name)
    owner = wire_of(target)
    addresses = [address_rr(address_of(text), facts.ttl) for text in facts.addresses]
    glue = [owner + rr[header.POINTER_OCTETS :] for rr in addresses]
    sets = rrsets_by_type(addresses)
    ports = [(port, srv_rr(target, port.number, facts.ttl)) for port in facts.ports]
    rows = {}
    if ports:  # B5: every port, unnamed ones too, at the bare name
        srvs = [rr for _, rr in ports]
        rows[b""] = pack_row([*sets, _srv_set(srvs, len(ports) * len(addresses), glue)])
    else:
        rows[b""] = pack_row(sets)
    for port, rr in ports:
        suffix = port_suffix(port.name, port.protocol)
        if suffix and len(ports) == 1:
            rows[suffix] = rows[b""]
        elif suffix:  # B4, B7, B8
            rows[suffix] = pack_row([*sets, _srv_set([rr], len(addresses), glue)])
    return rows


def _endpoint_set_rows(
    endpoints: Sequence[EndpointRow], srv_set: Callable[[_Pairs], RRset] | None = None
) -> dict[bytes, bytes]:
    """Rows of some endpoints: all of a headless Service, or a part of them."""
    srv_set = srv_set or _endpoint_srv_set
    if not endpoints:
        return {}
    matching: dict[bytes, list[tuple[EndpointRow, bytes]]] = {}
    everything: list[tuple[EndpointRow, bytes]] = []
    for endpoint in endpoints:
        for suffix, srv in endpoint.ports:
            everything.append((endpoint, srv))
            if suffix:
                matching.setdefault(suffix, []).append((endpoint, srv))
    sets = rrsets_by_type([endpoint.address for endpoint in endpoints])
    rows = {b"": pack_row([*sets, srv_set(everything)] if everything else sets)}
    for suffix, pairs in matching.items():
        if len(pairs) == len(everything) == len(endpoints):  # it is the only port of all
            rows[suffix] = rows[b""]
            continue
        here = sets if len(pairs) == len(endpoints) else rrsets_by_type([e.address for e, _ in pairs])
        rows[suffix] = pack_row([*here, srv_set(pairs)])
    return rows


def _endpoint_srv_set(pairs: _Pairs) -> RRset:
    return _srv_set([srv for _, srv in pairs], len(pairs), [endpoint.glue for endpoint, _ in pairs])


def _srv_part(pairs: _Pairs) -> RRset:
    """Return the SRVs of a part as they are: their weight follows from all parts."""
    glue = dict.fromkeys(endpoint.glue for endpoint, _ in pairs)
    return RRset(codes.SRV, [srv for _, srv in pairs], list(glue))


def _srv_set(srvs: list[bytes], pairs: int, glue: Iterable[bytes]) -> RRset:
    """Fold equal SRVs, weigh them (C9), and add the glue as long as all of it could ever be sent.

    Past 65,535 octets no message has room for an additional section, so none is stored.
    """
    rrs = weighted(list(dict.fromkeys(srvs)), pairs)
    additionals = list(dict.fromkeys(glue))
    if sum(map(len, rrs)) + sum(map(len, additionals)) > header.MAX_MESSAGE:
        additionals = []
    return RRset(codes.SRV, rrs, additionals)
