"""Reading what is committed: one object, a piece of a list, and the Endpoints view.

Objects stay JSON bytes; they are decoded only where a selector has to look inside.  A piece is read in one
go: it is small enough that whoever waits for the event loop does not notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import lmdb

from svcdns.cluster.endpoints import HEADLESS_LABEL, SERVICE_NAME_LABEL
from svcdns.objects import conversion
from svcdns.objects.errors import not_found
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, SERVICE, Kind
from svcdns.objects.service_addresses import is_headless
from svcdns.store.environment import Store

from . import slices
from .requests import Page, Piece, Selection
from .transaction import (
    Object,
    collection_prefix,
    decode,
    encode,
    joined,
    object_key,
    read_revision,
    scan,
    scan_keys,
)

ROWS = 256
"""Rows that are looked at for one piece, at most."""
OCTETS = 256 * 1024
"""A piece ends with the row in which its rows, and what is made of them, reach so many octets."""
_LONGEST_KEY = 511
"""Octets; LMDB's own limit."""


def get(store: Store, kind: Kind, namespace: str, name: str) -> bytes:
    """Return an object as JSON; StatusError 404 where there is none."""
    if kind is ENDPOINTS:
        return _endpoints_view(store, namespace, name)
    with store.read() as txn:
        octets = txn.get(object_key(kind, namespace, name), db=store.tables.objects)
    if octets is None:
        raise not_found(kind.plural, name, kind.group)
    return bytes(octets)


def read_piece(
    txn: lmdb.Transaction,
    store: Store,
    kind: Kind,
    namespace: str,
    selection: Selection,
    after: bytes = b"",
    most: int = ROWS,
) -> Piece:
    """Read a list on from behind a key: up to `most` objects that are selected, in their keys' order."""
    items: list[bytes] = []
    octets, last, left = 0, after, ROWS
    for key, value in _candidates(txn, store, kind, namespace, selection, after):
        if not left or octets >= OCTETS or len(items) == most:
            return Piece(items, last, False, octets)
        left -= 1
        last = key
        if value is None:
            continue
        octets += len(value)
        if kind is ENDPOINTS:
            value = encode(_endpoints_in(txn, store, decode(value)))
            octets += len(value)
        if not selection or selection.matches_json(value):
            items.append(conversion.shown_octets(kind, value))
    return Piece(items, last, True, octets)


def read_all(store: Store, kind: Kind) -> Page:
    """Return all objects of a kind, read in one go."""
    items: list[bytes] = []
    with store.read() as txn:
        piece = Piece([], b"", False, 0)
        while not piece.is_last:
            piece = read_piece(txn, store, kind, "", Selection(), piece.after)
            items += piece.items
        return Page(items, read_revision(txn, store.tables))


def count_some(
    txn: lmdb.Transaction, store: Store, kind: Kind, namespace: str, after: bytes, most: int
) -> tuple[int, bytes]:
    """Count up to `most` objects behind a key; return how many, and the last one's key."""
    keys = scan_keys(txn, store.tables.objects, collection_prefix(_stored(kind), namespace), after)
    counted, last = 0, after
    for last in islice(keys, most):  # noqa: B007
        counted += 1
    return counted, last


def count(store: Store, kind: Kind) -> int:
    """Return how many objects of a kind there are; walks their keys."""
    with store.read() as txn:
        return sum(1 for _ in scan_keys(txn, store.tables.objects, collection_prefix(kind)))


def _stored(kind: Kind) -> Kind:
    """Return the kind among whose rows a list goes: of the Endpoints view, their Services."""
    return SERVICE if kind is ENDPOINTS else kind.stored


def endpoint_counts(store: Store) -> dict[str, int]:
    """Return how many endpoints there are: `all` in slices, `ready` in answers (one an address)."""
    with store.read() as txn:
        rows = scan(txn, store.tables.slices, b"")
        in_slices = sum(slices.count_of(row) for _, row in rows)
        return {"all": in_slices, "ready": txn.stat(store.tables.endpoints)["entries"]}


def _candidates(
    txn: lmdb.Transaction, store: Store, kind: Kind, namespace: str, selection: Selection, after: bytes
) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the rows among which the selected ones are, without their values where the key says no.

    A name, as clients wait for one, is looked up.
    """
    kind, name = _stored(kind), None
    if selection.fields is not None:
        name = selection.fields.exact("metadata.name")
        namespace = namespace or selection.fields.exact("metadata.namespace") or ""
    objects, prefix = store.tables.objects, collection_prefix(kind, namespace)
    if name is None:
        yield from scan(txn, objects, prefix, after)
    elif kind.namespaced and not namespace:
        ending = b"\0" + name.encode()
        for key in scan_keys(txn, objects, prefix, after):
            yield key, _octets(txn.get(key, db=objects)) if key.endswith(ending) else None
    else:
        key = object_key(kind, namespace, name)
        value = _octets(txn.get(key, db=objects)) if len(key) <= _LONGEST_KEY else None
        if value is not None and key > after:
            yield key, value


def _octets(value: bytes | memoryview | None) -> bytes | None:
    return None if value is None else bytes(value)


def _slices_of(txn: lmdb.Transaction, store: Store, namespace: str, service: str) -> list[Object]:
    """Return every slice of a Service, decoded."""
    prefix = joined(namespace, service)
    names = [key[len(prefix) : -1].decode() for key in scan_keys(txn, store.tables.slices, prefix)]
    keys = (object_key(ENDPOINTSLICE, namespace, name) for name in names)
    found = (txn.get(key, db=store.tables.objects) for key in keys)
    return [decode(octets) for octets in found if octets is not None]


def _endpoints_in(txn: lmdb.Transaction, store: Store, service: Object) -> Object:
    """Return the Endpoints of a Service as a transaction sees its slices."""
    metadata = service["metadata"]
    return endpoints_of(service, _slices_of(txn, store, metadata["namespace"], metadata["name"]))


def _endpoints_view(store: Store, namespace: str, name: str) -> bytes:
    """Return core/v1 Endpoints as computed from the slices of a Service; 404 without the Service."""
    with store.read() as txn:
        octets = txn.get(object_key(SERVICE, namespace, name), db=store.tables.objects)
        if octets is None:
            raise not_found(ENDPOINTS.plural, name)
        return encode(_endpoints_in(txn, store, decode(octets)))


def endpoints_of(service: Object, slices: list[Object]) -> Object:
    """Return the Endpoints of a Service that has these EndpointSlices."""
    revisions = [int(obj["metadata"]["resourceVersion"]) for obj in (service, *slices)]
    given = service["metadata"]
    labels = {**(given.get("labels") or {}), SERVICE_NAME_LABEL: given["name"]}
    if is_headless(service.get("spec") or {}):
        labels[HEADLESS_LABEL] = ""
    metadata = {
        **{field: given[field] for field in ("name", "namespace", "uid")},
        "resourceVersion": str(max(revisions)),
        "creationTimestamp": given["creationTimestamp"],
        "labels": labels,
    }
    view: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata}
    subsets = [subset for obj in slices if (subset := _subset(obj))]
    if subsets:
        view["subsets"] = subsets
    return view


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
