"""Facts: what names follow from, as rows of ready bytes, kept in line with objects.

    endpoints  namespace, service, label, family+address, slice -> EndpointRow   (ready ones only)
    addresses  family+address, rank, namespace, service, label, slice -> PTR
    pod_ips    namespace, family+address, pod -> ""

An address has a rank: 0 for a cluster IP (it hides the others, F1), 1 for an endpoint with a hostname
of its own, 2 for one without, 3 for a Pod (no PTR: it only says that the address is registered).
Rows exist only for what is visible: a Service that exists, a namespace that is served.  Whoever changes
a fact adds the names that follow from it to `write.touched`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any

import msgspec

from svcdns.cluster import event_messages
from svcdns.cluster.endpoints import SERVICE_NAME_LABEL
from svcdns.cluster.readiness import addresses, has_pod_name
from svcdns.names.records import Address, dashed, ptr_rr
from svcdns.names.service_rows import EndpointRow, Port, ServiceFacts, endpoint_ptr, endpoint_row
from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, SERVICE
from svcdns.wire.key import MAX_NAME_OCTETS, BadName

from .transaction import WriteTransaction, encode, joined, listed, put_or_delete, scan

TTL_ANNOTATION = "svcdns.io/dns-ttl"
MAX_LABEL = 63

VIP, NAMED, UNNAMED, POD = b"\0", b"\1", b"\2", b"\3"

_encode_endpoint = msgspec.msgpack.Encoder().encode
decode_endpoint = msgspec.msgpack.Decoder(EndpointRow).decode


def is_visible(write: WriteTransaction, namespace: str) -> bool:
    """Return whether a namespace exists and is served (G1)."""
    dns = write.settings.config.dns
    if dns.namespaces and namespace not in dns.namespaces:
        return False
    found = write.load(NAMESPACE, "", namespace)
    if found is None:
        return False
    selector = write.settings.namespace_selector
    return selector is None or selector.matches(found["metadata"].get("labels") or {})


def packed(address: Address) -> bytes:
    """Return an address as it stands in keys: its family (4 or 6) and its octets."""
    return bytes((address.version,)) + address.packed


def unpacked(octets: bytes) -> Address:
    """Return the address of such octets."""
    return ip_address(bytes(octets[1:]))


def service_facts(write: WriteTransaction, service: Mapping[str, Any]) -> ServiceFacts:
    """Return what a Service contributes to its names."""
    metadata, spec = service["metadata"], service["spec"]
    external = spec.get("externalName", "") if spec.get("type") == "ExternalName" else ""
    ips = [ip for ip in spec.get("clusterIPs") or [] if ip != "None"]
    return ServiceFacts(
        namespace=metadata["namespace"],
        name=metadata["name"],
        ttl=service_ttl(write, service),
        addresses=tuple(ips),
        headless=not ips and not external,
        external_name=external,
        ports=tuple(
            Port(p.get("name") or "", p.get("protocol") or "TCP", p["port"]) for p in spec.get("ports") or []
        ),
    )


def service_ttl(write: WriteTransaction, service: Mapping[str, Any]) -> int:
    """Return the TTL of a Service's records in seconds."""
    annotation = (service["metadata"].get("annotations") or {}).get(TTL_ANNOTATION)
    return write.settings.ttl if annotation is None else int(annotation)


def service_changed(write: WriteTransaction, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    """Bring the cluster IP's PTRs in line; where all endpoints' bytes change with the Service, those too."""
    present = new if new is not None else old
    assert present is not None
    namespace, name = present["metadata"]["namespace"], present["metadata"]["name"]
    visible = is_visible(write, namespace)
    before = _vip_rows(write, old) if old is not None else {}
    after = _vip_rows(write, new) if new is not None and visible else {}
    _bring(write, "addresses", before, after)
    if _endpoint_basis(write, old) != _endpoint_basis(write, new):
        refresh_endpoints(write, namespace, name, new if visible else None)
    write.touched.services.add((namespace, name))
    if old is None and new is not None and not visible:
        write.messages.append(event_messages.not_served(new))


def _endpoint_basis(write: WriteTransaction, service: dict[str, Any] | None) -> tuple[Any, ...] | None:
    """Return what of a Service its endpoints' bytes follow from; None where it has no endpoint names."""
    if service is None or service["spec"].get("type") == "ExternalName":
        return None
    return (service_ttl(write, service),)


def _vip_rows(write: WriteTransaction, service: dict[str, Any]) -> dict[bytes, bytes]:
    metadata = service["metadata"]
    target = write.settings.names.service_text(metadata["namespace"], metadata["name"])
    if len(target) >= MAX_NAME_OCTETS:
        return {}  # too long for DNS below this cluster domain
    rr = ptr_rr(target, service_ttl(write, service))
    who = joined(metadata["namespace"], metadata["name"])
    ips = [ip for ip in service["spec"].get("clusterIPs") or [] if ip != "None"]
    return {packed(ip_address(ip)) + VIP + who: rr for ip in ips}


def refresh_endpoints(
    write: WriteTransaction, namespace: str, name: str, service: dict[str, Any] | None
) -> None:
    """Make all endpoint rows of a Service anew; None takes them away."""
    before = dict(listed(write.txn, write.tables.endpoints, joined(namespace, name)))
    stale = {key: b"" for row in before for key in _address_keys(row)}
    after: dict[bytes, bytes] = {}
    pointers: dict[bytes, bytes] = {}
    if service is not None and _endpoint_basis(write, service) is not None:
        prefix = joined(namespace, name)
        for key, _ in listed(write.txn, write.tables.slices, prefix):
            found = write.load(ENDPOINTSLICE, namespace, key[len(prefix) : -1].decode())
            if found is not None:
                _rows_of(write, service, found, found.get("endpoints") or [], after, pointers)
    _bring(write, "addresses", stale, pointers)
    _bring(write, "endpoints", before, after)
    write.touched.services.add((namespace, name))


def slice_changed(write: WriteTransaction, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    """Bring endpoint rows in line with a slice; only endpoints that differ are packed."""
    present = new if new is not None else old
    assert present is not None
    namespace = present["metadata"]["namespace"]
    same_basis = old is not None and new is not None and _slice_basis(old) == _slice_basis(new)
    gone = _endpoints_by_json(old)
    come = _endpoints_by_json(new)
    if same_basis:
        shared = gone.keys() & come.keys()
        for octets in shared:
            del gone[octets], come[octets]
    before_rows: dict[bytes, bytes] = {}
    before_pointers: dict[bytes, bytes] = {}
    after_rows: dict[bytes, bytes] = {}
    after_pointers: dict[bytes, bytes] = {}
    for which, endpoints, rows, pointers in (
        (old, gone, before_rows, before_pointers),
        (new, come, after_rows, after_pointers),
    ):
        service = _service_of(write, which)
        if which is not None and service is not None:
            _rows_of(write, service, which, endpoints.values(), rows, pointers, collect_messages=which is new)
    if new is not None and same_basis:
        for key in _kept_keys(write, new, before_rows.keys() - after_rows.keys()):
            # two endpoints of one slice with one address and label: the other one still stands
            before_rows.pop(key, None)
            for pointer in _address_keys(key):
                before_pointers.pop(pointer, None)
    _bring(write, "addresses", before_pointers, after_pointers)
    if _bring(write, "endpoints", before_rows, after_rows):
        for which in (old, new):
            name = _service_name(which)
            if name:
                write.touched.services.add((namespace, name))


def pod_changed(write: WriteTransaction, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    """Note which addresses a Pod has, for A-B-C-D.NS.pod (E3)."""
    before = _pod_rows(old)
    after = _pod_rows(new) if new is not None and is_visible(write, new["metadata"]["namespace"]) else {}
    for key, value in _difference(before, after):
        if put_or_delete(write.txn, write.tables.pod_ips, key, value):
            namespace, _, rest = key.partition(b"\0")
            size = 5 if rest[0] == 4 else 17
            write.touched.pods.add((namespace.decode(), rest[:size]))
            registered = rest[:size] + POD + namespace + b"\0" + rest[size:]
            put_or_delete(write.txn, write.tables.addresses, registered, value)


def _pod_rows(pod: dict[str, Any] | None) -> dict[bytes, bytes]:
    if pod is None or not has_pod_name(pod):
        return {}
    metadata = pod["metadata"]
    who = metadata["name"].encode()
    return {joined(metadata["namespace"]) + packed(ip) + who: b"" for ip in addresses(pod)}


def _service_name(endpoint_slice: Mapping[str, Any] | None) -> str:
    labels = (endpoint_slice["metadata"].get("labels") or {}) if endpoint_slice is not None else {}
    return str(labels.get(SERVICE_NAME_LABEL) or "")


def _service_of(write: WriteTransaction, endpoint_slice: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the Service whose names a slice feeds; None where it is missing, hidden or an ExternalName."""
    name = _service_name(endpoint_slice)
    if endpoint_slice is None or not name:
        return None
    namespace = endpoint_slice["metadata"]["namespace"]
    service = write.load(SERVICE, namespace, name)
    if service is None or service["spec"].get("type") == "ExternalName" or not is_visible(write, namespace):
        return None
    return service


def _slice_basis(endpoint_slice: Mapping[str, Any]) -> tuple[Any, ...]:
    return _service_name(endpoint_slice), endpoint_slice["addressType"], endpoint_slice.get("ports") or []


def _endpoints_by_json(endpoint_slice: Mapping[str, Any] | None) -> dict[bytes, dict[str, Any]]:
    listed_endpoints = (endpoint_slice or {}).get("endpoints") or []
    return {encode(endpoint): endpoint for endpoint in listed_endpoints}


def _rows_of(
    write: WriteTransaction,
    service: Mapping[str, Any],
    endpoint_slice: Mapping[str, Any],
    endpoints: Any,
    rows: dict[bytes, bytes],
    pointers: dict[bytes, bytes],
    collect_messages: bool = True,
) -> None:
    """Pack the ready ones of these endpoints into `rows` (endpoints) and `pointers` (addresses)."""
    if endpoint_slice["addressType"] not in ("IPv4", "IPv6"):
        return
    metadata = endpoint_slice["metadata"]
    who = (metadata["namespace"], _service_name(endpoint_slice))
    names, ttl = write.settings.names, service_ttl(write, service)
    ports = [
        Port(p.get("name") or "", p.get("protocol") or "TCP", p.get("port") or 0)
        for p in endpoint_slice.get("ports") or []
    ]
    for endpoint, label, address in _ready(write, endpoints):
        try:
            row = endpoint_row(names, who, label, address, ports, ttl)
        except BadName:  # too long for DNS below this cluster domain
            if collect_messages:
                name = names.endpoint_text(*who, label)
                write.messages.append(event_messages.name_too_long(service, name))
            continue
        rows[joined(*who, label) + packed(address) + metadata["name"].encode()] = _encode_endpoint(row)
        rank = NAMED if endpoint.get("hostname") else UNNAMED
        pointer = packed(address) + rank + joined(*who, label) + metadata["name"].encode()
        pointers[pointer] = endpoint_ptr(names, who, label, ttl)


def _ready(write: WriteTransaction, endpoints: Any) -> Iterator[tuple[Mapping[str, Any], str, Address]]:
    for endpoint in endpoints:
        if (endpoint.get("conditions") or {}).get("ready") is False:
            continue  # unknown (null) counts as ready (C3)
        for text in endpoint["addresses"]:
            address = ip_address(text)
            yield endpoint, endpoint_label(write, endpoint, address), address


def endpoint_label(write: WriteTransaction, endpoint: Mapping[str, Any], address: Address) -> str:
    """Return the label of an endpoint: its hostname, its Pod's name if so configured, its dashed address."""
    if endpoint.get("hostname"):
        return str(endpoint["hostname"]).lower()
    if write.settings.config.dns.endpoint_pod_names:
        pod = (endpoint.get("targetRef") or {}).get("name") or ""
        if 0 < len(pod) <= MAX_LABEL and "." not in pod:
            return str(pod)
    return dashed(address)


def _kept_keys(write: WriteTransaction, endpoint_slice: Mapping[str, Any], keys: set[bytes]) -> set[bytes]:
    """Return those of the keys that an endpoint of the slice still stands behind."""
    if not keys:
        return set()
    metadata = endpoint_slice["metadata"]
    who = (metadata["namespace"], _service_name(endpoint_slice))
    return {
        key
        for _, label, address in _ready(write, endpoint_slice.get("endpoints") or [])
        if (key := joined(*who, label) + packed(address) + metadata["name"].encode()) in keys
    }


def _split(endpoint_key: bytes) -> tuple[bytes, bytes]:
    at = -1
    for _ in range(3):
        at = endpoint_key.index(b"\0", at + 1)
    return endpoint_key[: at + 1], endpoint_key[at + 1 :]


def _address_keys(endpoint_key: bytes) -> list[bytes]:
    """Return the keys in `addresses` that may belong to an `endpoints` key (of either rank)."""
    head, rest = _split(endpoint_key)
    size = 5 if rest[0] == 4 else 17
    return [rest[:size] + rank + head + rest[size:] for rank in (NAMED, UNNAMED)]


def _difference(
    before: dict[bytes, bytes], after: dict[bytes, bytes]
) -> Iterator[tuple[bytes, bytes | None]]:
    for key in before.keys() - after.keys():
        yield key, None
    yield from after.items()


def _bring(
    write: WriteTransaction, table: str, before: dict[bytes, bytes], after: dict[bytes, bytes]
) -> bool:
    """Bring rows from one state to another and touch the names that follow from those that changed."""
    changed = False
    for key, value in _difference(before, after):
        if not put_or_delete(write.txn, getattr(write.tables, table), key, value):
            continue
        changed = True
        if table == "addresses":
            write.touched.addresses.add(key[: 5 if key[0] == 4 else 17])
        else:
            namespace, service, label = key.split(b"\0", 3)[:3]
            write.touched.endpoints.add((namespace.decode(), service.decode(), label.decode()))
    return changed


def endpoints_of(
    write: WriteTransaction, namespace: str, service: str, label: str | None = None
) -> list[EndpointRow]:
    """Return the rows of all ready endpoints of a Service, or of those with one label."""
    prefix = joined(namespace, service) if label is None else joined(namespace, service, label)
    return [decode_endpoint(value) for _, value in scan(write.txn, write.tables.endpoints, prefix)]
