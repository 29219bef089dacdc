"""Which Endpoints a name has: those that a client has written, or a view made from EndpointSlices.

    a Service with a selector            the view, also where Endpoints are stored: these wait
    Endpoints that are stored            these, with a Service or without
    another Service that has slices      the view
    else                                 none

Nobody stores a view: what a Service's Pods come to stands in its slices already, and would be written once
more with each of them.  Clients may write Endpoints unless the Service has a selector.  What is here works in
any transaction, of a reader or of a write.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import groupby

import lmdb

from svcdns.cluster.endpoints import HEADLESS_LABEL, SERVICE_NAME_LABEL, selector_of
from svcdns.objects.endpoints_rules import LISTS
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, SERVICE, Kind
from svcdns.objects.service_addresses import is_headless
from svcdns.store.environment import Tables

from .transaction import (
    Object,
    WriteTransaction,
    collection_prefix,
    decode,
    encode,
    joined,
    object_key,
    scan_keys,
)

MOST_ADDRESSES = 1000
"""Addresses that a view shows, as those that Kubernetes' endpoints controller writes."""
_OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"


def get(txn: lmdb.Transaction, tables: Tables, namespace: str, name: str) -> bytes | None:
    """Return the Endpoints of a name as JSON, None where it has none."""
    stored = _stored(txn, tables, namespace, name)
    service = _service(txn, tables, namespace, name)
    if stored is not None and (service is None or selector_of(service) is None):
        return stored
    found = None if service is None else _view(txn, tables, service)
    return None if found is None else encode(found)


def is_view(txn: lmdb.Transaction, tables: Tables, namespace: str, name: str) -> bool:
    """Return whether the Endpoints of a name, if it has any, are a view."""
    service = _service(txn, tables, namespace, name)
    selects = service is not None and selector_of(service) is not None
    return selects or _stored(txn, tables, namespace, name) is None


def rows(
    txn: lmdb.Transaction, tables: Tables, namespace: str, after: bytes, only: str | None = None
) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield (key, JSON) of all Endpoints, of one namespace or of all (""), those behind the key `after`.

    Keys are as in `objects`, whether something is stored there or not.  `only`: the name of those that are
    wanted; of others there is the key alone.
    """
    behind = after[len(joined(ENDPOINTS.name)) :]
    names = (_names(txn, tables, kind, namespace, behind) for kind in (SERVICE, ENDPOINTS))
    for octets, _ in groupby(heapq.merge(*names)):
        where, name = octets.decode().split("\0")
        found = get(txn, tables, where, name) if only in (None, name) else None
        yield object_key(ENDPOINTS, where, name), found


def _names(
    txn: lmdb.Transaction, tables: Tables, kind: Kind, namespace: str, behind: bytes
) -> Iterator[bytes]:
    """Yield `namespace NUL name` of the objects of a kind, in order."""
    start = joined(kind.name)
    keys = scan_keys(
        txn, tables.objects, collection_prefix(kind, namespace), start + behind if behind else b""
    )
    for key in keys:
        yield bytes(key)[len(start) :]


def view(txn: lmdb.Transaction, tables: Tables, namespace: str, name: str) -> Object | None:
    """Return the view that a name shows while nothing is stored under it, None if it shows none."""
    service = _service(txn, tables, namespace, name)
    return None if service is None else _view(txn, tables, service)


def to_write_on(write: WriteTransaction, namespace: str, name: str) -> Object | None:
    """Return the view of a name as what a client's PATCH begins with: without the labels that are ours."""
    write.decided_on_all = write.decided_on_derived = True
    found = view(write.txn, write.tables, namespace, name)
    if found is not None:
        ours = (SERVICE_NAME_LABEL, HEADLESS_LABEL)
        metadata = found["metadata"]
        labels = {key: value for key, value in metadata["labels"].items() if key not in ours}
        found["metadata"] = {**metadata, "labels": labels}
    return found


def check_writable(write: WriteTransaction, namespace: str, name: str) -> None:
    """Raise StatusError 403 where the Endpoints of a name follow from the Pods of a Service."""
    write.decided_on_all = True
    service = write.load(SERVICE, namespace, name)
    if service is not None and selector_of(service) is not None:
        text = (
            f'endpoints "{name}" is forbidden: the Service of this name has a selector, so they are made '
            "from its Pods; register Pods, or take the selector away (spec.selector: null)"
        )
        raise StatusError(403, "Forbidden", text, kind=ENDPOINTS.plural, name=name)


def check_deletable(write: WriteTransaction, namespace: str, name: str) -> None:
    """Raise StatusError 403 where the Endpoints of a name are a view and nothing is stored."""
    if write.load(ENDPOINTS, namespace, name) is not None:
        return
    check_writable(write, namespace, name)
    write.decided_on_derived = True
    if view(write.txn, write.tables, namespace, name) is not None:
        text = (
            f'endpoints "{name}" is forbidden: made from the EndpointSlices of the Service; delete those '
            f"(label {SERVICE_NAME_LABEL}={name})"
        )
        raise StatusError(403, "Forbidden", text, kind=ENDPOINTS.plural, name=name)


def _stored(txn: lmdb.Transaction, tables: Tables, namespace: str, name: str) -> bytes | None:
    octets = txn.get(object_key(ENDPOINTS, namespace, name), db=tables.objects)
    return None if octets is None else bytes(octets)


def _service(txn: lmdb.Transaction, tables: Tables, namespace: str, name: str) -> Object | None:
    octets = txn.get(object_key(SERVICE, namespace, name), db=tables.objects)
    return None if octets is None else decode(octets)


def _view(txn: lmdb.Transaction, tables: Tables, service: Object) -> Object | None:
    metadata = service["metadata"]
    slices = _slices(txn, tables, metadata["namespace"], metadata["name"])
    return made_from(service, slices) if slices or selector_of(service) is not None else None


def _slices(txn: lmdb.Transaction, tables: Tables, namespace: str, service: str) -> list[Object]:
    prefix = joined(namespace, service)
    names = [key[len(prefix) : -1].decode() for key in scan_keys(txn, tables.slices, prefix)]
    keys = (object_key(ENDPOINTSLICE, namespace, name) for name in names)
    found = (txn.get(key, db=tables.objects) for key in keys)
    return [decode(octets) for octets in found if octets is not None]


def metadata_of_view(service: Object) -> Object:
    """Return what selectors see of a Service's view: name, namespace and labels."""
    given = service["metadata"]
    labels = {**(given.get("labels") or {}), SERVICE_NAME_LABEL: given["name"]}
    if is_headless(service.get("spec") or {}):
        labels[HEADLESS_LABEL] = ""
    return {"name": given["name"], "namespace": given["namespace"], "labels": labels}


def made_from(service: Object, slices: list[Object]) -> Object:
    """Return the view of a Service that has these EndpointSlices."""
    revisions = [int(obj["metadata"]["resourceVersion"]) for obj in (service, *slices)]
    selectable = metadata_of_view(service)
    metadata = {
        "name": selectable["name"],
        "namespace": selectable["namespace"],
        "uid": service["metadata"]["uid"],
        "resourceVersion": str(max(revisions)),
        "creationTimestamp": service["metadata"]["creationTimestamp"],
        "labels": selectable["labels"],
    }
    subsets = [subset for obj in slices if (subset := _subset(obj))]
    if _truncate(subsets):
        metadata["annotations"] = {_OVER_CAPACITY: "truncated"}
    shown: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
    if subsets:
        shown["subsets"] = subsets
    return shown


def _subset(endpoint_slice: Object) -> Object:
    entries: dict[str, list[Object]] = {"addresses": [], "notReadyAddresses": []}
    for endpoint in endpoint_slice.get("endpoints") or []:
        conditions = endpoint.get("conditions") or {}
        is_ready = conditions.get("ready") is not False
        if conditions.get("terminating") and not is_ready:
            continue  # Endpoints have no word for it
        more = {k: endpoint[k] for k in ("hostname", "nodeName", "targetRef") if k in endpoint}
        listed = entries["addresses" if is_ready else "notReadyAddresses"]
        listed += [{"ip": address, **more} for address in endpoint["addresses"]]
    subset: Object = {field: found for field, found in entries.items() if found}
    if subset and endpoint_slice.get("ports"):
        subset["ports"] = endpoint_slice["ports"]
    return subset


def _truncate(subsets: list[Object]) -> bool:
    """Leave as many addresses as Endpoints hold, ready ones first; return whether there were more."""
    room = MOST_ADDRESSES
    if sum(len(subset.get(field, [])) for subset in subsets for field in LISTS) <= room:
        return False
    for field in LISTS:
        for subset in subsets:
            if field in subset:
                subset[field] = subset[field][:room]
                room -= len(subset[field])
    kept = [{key: value for key, value in subset.items() if value} for subset in subsets]
    subsets[:] = [subset for subset in kept if any(field in subset for field in LISTS)]
    return True
