"""Facts: what names follow from, as rows of ready bytes, kept in line with objects.

    endpoints  namespace, service, hash+label, family+address, slice -> EndpointRow   (ready ones only)
    addresses  family+address, rank, namespace, service, label, slice -> PTR
    pod_ips    namespace, family+address, pod -> ""

`hash` is that of the label, in four hex digits: the order in which rows are kept in parts
(svcdns.names.row_parts).  An address has a rank: 0 for a cluster IP (it hides the others, F1), 1 for an
endpoint with a hostname of its own, 2 for one without, 3 for a Pod (no PTR: it only says that the address
is registered).  Rows exist only for what is visible: a Service that exists, a namespace that is served.
Whoever changes a fact adds the names that follow from it to `write.touched`.  Where all are to be made
anew (`write.with_facts` is False), changes of objects change none: `all_answers` makes them at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

import lmdb
import msgspec

from svcdns.cluster import event_messages
from svcdns.cluster.endpoints import SERVICE_NAME_LABEL, answers_with_all, as_if_ready, has_ready
from svcdns.cluster.readiness import addresses, has_pod_name
from svcdns.names.records import Address, dashed, ptr_rr
from svcdns.names.service_rows import Port, ServiceFacts, endpoint_ptr, endpoint_row
from svcdns.objects.kinds import ENDPOINTSLICE, SERVICE
from svcdns.objects.service_addresses import cluster_ips, is_headless
from svcdns.objects.service_aliases import PTR_ANNOTATION
from svcdns.objects.service_rules import TTL_ANNOTATION
from svcdns.objects.syntax import address_of
from svcdns.store.rows import has_any, last_of
from svcdns.store.snapshot import POD_RANK
from svcdns.wire.name import MAX_LABEL_OCTETS, MAX_NAME_OCTETS, BadName

from . import alias_claims
from .ready_endpoints import HASH_DIGITS, hashed
from .transaction import Object, WriteTransaction, encode, joined, present, put_or_delete, scan, scan_keys

VIP, NAMED, UNNAMED, POD = b"\0", b"\1", b"\2", POD_RANK

_encode_endpoint = msgspec.msgpack.Encoder().encode


class Rows(NamedTuple):
    """Rows of endpoints, and the rows of `addresses` that go with them."""

    endpoints: dict[bytes, bytes]
    addresses: dict[bytes, bytes]


def is_visible(write: WriteTransaction, namespace: str) -> bool:
    """Return whether a namespace exists and is served (G1)."""
    dns = write.settings.config.dns
    if dns.namespaces and namespace not in dns.namespaces:
        return False
    found = write.namespace(namespace)
    if found is None:
        return False
    selector = write.settings.namespace_selector
    return selector is None or selector.matches(found["metadata"].get("labels") or {})


def packed(address: Address) -> bytes:
    """Return an address as it stands in keys: its family (4 or 6) and its octets."""
    octets = address.packed
    return (b"\4" if len(octets) == 4 else b"\6") + octets


def unpacked(octets: bytes) -> Address:
    """Return the address of such octets."""
    return IPv4Address(octets[1:]) if octets[0] == 4 else IPv6Address(octets[1:])


def split_address(octets: bytes) -> tuple[bytes, bytes]:
    """Return the packed address with which a part of a key begins, and the rest."""
    size = 5 if octets[0] == 4 else 17
    return octets[:size], octets[size:]


def _ports(of: Mapping[str, Any]) -> list[Port]:
    """Return the ports of a Service's spec, or of a slice; one without a number is 0."""
    return [
        Port(p.get("name") or "", p.get("protocol") or "TCP", p.get("port") or 0)
        for p in of.get("ports") or []
    ]


def service_facts(write: WriteTransaction, service: Mapping[str, Any]) -> ServiceFacts:
    """Return what a Service contributes to its names."""
    metadata, spec = service["metadata"], service["spec"]
    external = spec.get("externalName", "") if spec.get("type") == "ExternalName" else ""
    ips = cluster_ips(spec)
    return ServiceFacts(
        namespace=metadata["namespace"],
        name=metadata["name"],
        ttl=_ttl(write, service),
        addresses=tuple(ips),
        headless=not ips and not external,
        external_name=external,
        ports=tuple(_ports(spec)),
    )


def _ttl(write: WriteTransaction, service: Mapping[str, Any]) -> int:
    """Return the TTL of a Service's records in seconds."""
    annotation = (service["metadata"].get("annotations") or {}).get(TTL_ANNOTATION)
    return write.settings.ttl if annotation is None else int(annotation)


def service_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Update the PTRs of the cluster IPs; and all endpoint rows where their bytes follow from the change."""
    if not write.with_facts:
        return
    metadata = present(old, new)["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    visible = is_visible(write, namespace)
    before = vip_rows(write, old) if old is not None else {}
    after = vip_rows(write, new) if new is not None and visible else {}
    _replace(write, Rows({}, before), Rows({}, after))
    is_new = old is None and not has_any(write.txn, write.tables.slices, joined(namespace, name))
    if not is_new and _endpoint_basis(write, old) != _endpoint_basis(write, new):
        refresh_endpoints(write, namespace, name)
    write.touched.services.add((namespace, name))
    if old is None and new is not None and not visible:
        write.messages.append(event_messages.not_served(new))


def _endpoint_basis(write: WriteTransaction, service: Object | None) -> tuple[Any, ...] | None:
    """Return what of a Service its endpoints' rows follow from; None where it has no endpoint names."""
    if service is None or service["spec"].get("type") == "ExternalName":
        return None
    annotations = alias_claims.written(write, service)
    leads_back = annotations if PTR_ANNOTATION in annotations else {}
    shows_all = answers_with_all(service)
    return _ttl(write, service), shows_all, is_headless(service["spec"]), leads_back


def refresh_pointers(write: WriteTransaction, service: Object) -> None:
    """Rebuild the PTRs of a Service that has gained or lost an alias, where they lead to one."""
    if not write.with_facts or PTR_ANNOTATION not in alias_claims.written(write, service):
        return
    _replace(write, Rows({}, {}), Rows({}, vip_rows(write, service)))
    refresh_endpoints(write, service["metadata"]["namespace"], service["metadata"]["name"])


def vip_rows(write: WriteTransaction, service: Object) -> dict[bytes, bytes]:
    """Return the rows of `addresses` of a visible Service's cluster IPs."""
    metadata = service["metadata"]
    target = write.settings.names.service_text(metadata["namespace"], metadata["name"])
    if len(target) >= MAX_NAME_OCTETS:
        return {}  # too long for DNS below this cluster domain
    target = alias_claims.pointer(write, service) or target
    rr = ptr_rr(target, _ttl(write, service))
    who = joined(metadata["namespace"], metadata["name"])
    return {packed(address_of(ip)) + VIP + who: rr for ip in cluster_ips(service["spec"])}


def refresh_endpoints(write: WriteTransaction, namespace: str, name: str, *, had_ready: bool = False) -> None:
    """Rebuild all endpoint rows of a Service as it is stored now; none where it has no names.

    Those that are not ready have rows where no other is, if the Service wants that; `had_ready`: that is new.
    """
    if not write.with_facts:
        return
    prefix = joined(namespace, name)
    before = dict(scan(write.txn, write.tables.endpoints, prefix))
    stale = {key: b"" for row in before for key in _address_keys(row)}
    names = slice_names(write, namespace, name)
    service = _service_of(write, namespace, name) if names else None
    after = rows_of(write, service, names, had_ready=had_ready) if service is not None else Rows({}, {})
    _replace(write, Rows(before, stale), after)
    write.touched.services.add((namespace, name))


def slice_names(write: WriteTransaction, namespace: str, name: str) -> list[str]:
    """Return the names of all slices of a Service."""
    return [last_of(key) for key in scan_keys(write.txn, write.tables.slices, joined(namespace, name))]


def rows_of(
    write: WriteTransaction, service: Object, names: Iterable[str], *, had_ready: bool = False
) -> Rows:
    """Return the rows of the endpoints in a Service's slices, which have these names.

    The Service is visible, and no ExternalName.
    """
    after = Rows({}, {})
    namespace = service["metadata"]["namespace"]
    loaded = (write.load(ENDPOINTSLICE, namespace, name) for name in names)
    found = [one for one in loaded if one is not None]
    if answers_with_all(service) and not any(map(has_ready, found)):
        found = [{**one, "endpoints": as_if_ready(one)} for one in found]
        if had_ready:
            write.messages.append(event_messages.none_is_ready(service))
    for one in found:
        _pack(write, service, one, one.get("endpoints") or [], after)
    return after


def slice_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Update endpoint rows to a changed slice; only endpoints that differ are packed."""
    namespace = present(old, new)["metadata"]["namespace"]
    if not write.with_facts or not any(one is not None and one.get("endpoints") for one in (old, new)):
        return
    if not (has_ready(old) and has_ready(new)) and _may_show_all(write, old, new):
        for name in {_service_name(state) for state in (old, new)} - {""}:
            refresh_endpoints(write, namespace, name, had_ready=has_ready(old))
        return
    same_basis = old is not None and new is not None and _slice_basis(old) == _slice_basis(new)
    gone, come = _endpoints_that_differ(old, new, same_basis=same_basis)
    before, after = Rows({}, {}), Rows({}, {})
    for which, endpoints, rows in ((old, gone, before), (new, come, after)):
        if which is None or not endpoints:
            continue
        service = _service_of(write, namespace, _service_name(which))
        if service is not None:
            _pack(write, service, which, endpoints, rows, collect_messages=which is new)
    if new is not None and same_basis:
        for key in _kept_keys(write, new, before.endpoints.keys() - after.endpoints.keys()):
            # two endpoints of one slice with one address and label: the other one still stands
            del before.endpoints[key]
            for pointer in _address_keys(key):
                before.addresses.pop(pointer, None)
    _replace(write, before, after)


def _may_show_all(write: WriteTransaction, *states: Object | None) -> bool:
    """Return whether what a slice shows may depend on the other slices of its Service."""
    for state in states:
        if state is not None and (name := _service_name(state)):
            service = write.load(SERVICE, state["metadata"]["namespace"], name)
            if service is not None and answers_with_all(service):
                return True
    return False


def pod_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Store which addresses a Pod has, for A-B-C-D.NS.pod (E3)."""
    if not write.with_facts:
        return
    before = pod_rows(old)
    after = pod_rows(new) if new is not None and is_visible(write, new["metadata"]["namespace"]) else {}
    for key in _bring(write, write.tables.pod_ips, before, after):
        namespace, address, _ = split_pod_key(key)
        write.touched.pods.add((namespace.decode(), address))
        put_or_delete(write.txn, write.tables.addresses, registered_key(key), after.get(key))


def split_pod_key(key: bytes) -> tuple[bytes, bytes, bytes]:
    """Return namespace, packed address and Pod of a key in `pod_ips`."""
    namespace, _, rest = key.partition(b"\0")
    return namespace, *split_address(rest)


def registered_key(key: bytes) -> bytes:
    """Return the key in `addresses` that goes with one in `pod_ips`."""
    namespace, address, pod = split_pod_key(key)
    return address + POD + namespace + b"\0" + pod


def pod_rows(pod: Object | None) -> dict[bytes, bytes]:
    """Return the rows of `pod_ips` of a Pod, where it is visible."""
    if pod is None or not has_pod_name(pod):
        return {}
    metadata = pod["metadata"]
    who = metadata["name"].encode()
    return {joined(metadata["namespace"]) + packed(ip) + who: b"" for ip in addresses(pod)}


def _service_name(endpoint_slice: Mapping[str, Any] | None) -> str:
    labels = (endpoint_slice["metadata"].get("labels") or {}) if endpoint_slice is not None else {}
    return str(labels.get(SERVICE_NAME_LABEL) or "")


def _service_of(write: WriteTransaction, namespace: str, name: str) -> Object | None:
    """Return the Service whose names slices feed; None where it is missing, hidden or an ExternalName."""
    service = write.load(SERVICE, namespace, name) if name else None
    if service is None or service["spec"].get("type") == "ExternalName" or not is_visible(write, namespace):
        return None
    return service


def _slice_basis(endpoint_slice: Mapping[str, Any]) -> tuple[Any, ...]:
    return _service_name(endpoint_slice), endpoint_slice["addressType"], endpoint_slice.get("ports") or []


def _endpoints_that_differ(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, *, same_basis: bool
) -> tuple[list[Object], list[Object]]:
    """Return the endpoints that only the old, and only the new state has; all, where the basis differs.

    Who changes a slice hands on the endpoints that stay: most are known to be equal without a look at them.
    """
    gone: list[Object] = (old or {}).get("endpoints") or []
    come: list[Object] = (new or {}).get("endpoints") or []
    there = {*map(id, gone)} & {*map(id, come)} if same_basis else set()
    was, now = ({encode(one): one for one in side if id(one) not in there} for side in (gone, come))
    if same_basis:
        for octets in was.keys() & now.keys():
            del was[octets], now[octets]
    return [*was.values()], [*now.values()]


def _pack(
    write: WriteTransaction,
    service: Mapping[str, Any],
    endpoint_slice: Mapping[str, Any],
    endpoints: Iterable[Object],
    rows: Rows,
    collect_messages: bool = True,
) -> None:
    """Add the rows of those of a slice's endpoints that are ready."""
    if endpoint_slice["addressType"] not in ("IPv4", "IPv6"):
        return
    metadata = endpoint_slice["metadata"]
    who = (metadata["namespace"], _service_name(endpoint_slice))
    names, ttl, ports = write.settings.names, _ttl(write, service), _ports(endpoint_slice)
    alias = alias_claims.pointer(write, service) if is_headless(service["spec"]) else ""
    for endpoint, label, address in _ready(write, endpoints):
        try:
            row = endpoint_row(names, who, label, address, ports, ttl)
        except BadName:  # too long for DNS below this cluster domain
            if collect_messages:
                name = names.endpoint_text(*who, label)
                write.messages.append(event_messages.name_too_long(service, name))
            continue
        rows.endpoints[_endpoint_key(endpoint_slice, label, address)] = _encode_endpoint(row)
        rank = NAMED if endpoint.get("hostname") else UNNAMED
        pointer = packed(address) + rank + joined(*who, label) + metadata["name"].encode()
        rows.addresses[pointer] = ptr_rr(alias, ttl) if alias else endpoint_ptr(names, who, label, ttl)


def _ready(
    write: WriteTransaction, endpoints: Iterable[Object]
) -> Iterator[tuple[Mapping[str, Any], str, Address]]:
    for endpoint in endpoints:
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue  # unknown (null) counts as ready (C3)
        for text in endpoint["addresses"]:
            address = address_of(text)
            yield endpoint, _endpoint_label(write, endpoint, address), address


def _endpoint_label(write: WriteTransaction, endpoint: Mapping[str, Any], address: Address) -> str:
    """Return the label of an endpoint: its hostname, its Pod's name if so configured, its dashed address."""
    if endpoint.get("hostname"):
        return str(endpoint["hostname"]).lower()
    if write.settings.config.dns.endpoint_pod_names:
        pod = (endpoint.get("targetRef") or {}).get("name") or ""
        if 0 < len(pod) <= MAX_LABEL_OCTETS and "." not in pod:
            return str(pod)
    return dashed(address)


def _endpoint_key(endpoint_slice: Mapping[str, Any], label: str, address: Address) -> bytes:
    namespace, name = endpoint_slice["metadata"]["namespace"], endpoint_slice["metadata"]["name"]
    who = joined(namespace, _service_name(endpoint_slice), hashed(label))
    return who + packed(address) + str(name).encode()


def _kept_keys(write: WriteTransaction, endpoint_slice: Mapping[str, Any], keys: set[bytes]) -> set[bytes]:
    """Return those of the keys that an endpoint of the slice still stands behind."""
    if not keys:
        return set()
    ready = _ready(write, endpoint_slice.get("endpoints") or [])
    return keys & {_endpoint_key(endpoint_slice, label, address) for _, label, address in ready}


def _address_keys(endpoint_key: bytes) -> list[bytes]:
    """Return the keys in `addresses` that may belong to an `endpoints` key (of either rank)."""
    namespace, service, label, rest = endpoint_key.split(b"\0", 3)
    address, slice_name = split_address(rest)
    who = b"\0".join((namespace, service, label[HASH_DIGITS:], slice_name))
    return [address + rank + who for rank in (NAMED, UNNAMED)]


def _bring(
    write: WriteTransaction, table: lmdb._Database, before: dict[bytes, bytes], after: dict[bytes, bytes]
) -> list[bytes]:
    """Bring rows from one state to another; return the keys of those that changed."""
    return [key for key in before | after if put_or_delete(write.txn, table, key, after.get(key))]


def _replace(write: WriteTransaction, before: Rows, after: Rows) -> None:
    """Bring rows from one state to another, and touch the names that follow."""
    for key in _bring(write, write.tables.addresses, before.addresses, after.addresses):
        write.touched.addresses.add(split_address(key)[0])
    changed = _bring(write, write.tables.endpoints, before.endpoints, after.endpoints)
    for key in changed:
        namespace, service, label = key.split(b"\0", 3)[:3]
        write.touched.endpoints.add((namespace.decode(), service.decode(), label[HASH_DIGITS:].decode()))
