"""Reading what is committed: one object, pages of a list, and the Endpoints view.

Objects stay JSON bytes; they are decoded only where a selector has to look inside.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import lmdb
import msgspec

from svcdns.cluster.endpoints import HEADLESS_LABEL, SERVICE_NAME_LABEL
from svcdns.objects.errors import StatusError, bad_request, not_found
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, SERVICE, Kind
from svcdns.objects.service_addresses import is_headless
from svcdns.store import log
from svcdns.store.environment import Store

from . import slices
from .requests import Page, Selection
from .transaction import (
    Object,
    collection_prefix,
    decode,
    encode,
    joined,
    log_of,
    object_key,
    read_revision,
    scan,
    scan_keys,
)

MAX_PAGE = 10_000
_LONGEST_KEY = 511
"""Octets; LMDB's own limit."""
_TOO_OLD = "The provided continue parameter is too old to display a consistent list; start the list again"


class _Token(msgspec.Struct, array_like=True, frozen=True):
    """A `continue` token: which list it belongs to, its revision, the last key given."""

    kind: str
    namespace: str
    revision: int
    after: bytes


def get(store: Store, kind: Kind, namespace: str, name: str) -> bytes:
    """Return an object as JSON; StatusError 404 where there is none."""
    if kind is ENDPOINTS:
        return _endpoints_view(store, namespace, name)
    with store.read() as txn:
        octets = txn.get(object_key(kind, namespace, name), db=store.tables.objects)
    if octets is None:
        raise not_found(kind.plural, name, kind.group)
    return bytes(octets)


def page(
    store: Store, kind: Kind, namespace: str, selection: Selection, limit: int = 0, continue_: str = ""
) -> Page:
    """Return a part of a list, all of it where `limit` is 0.

    Pages after the first show the present state under the first page's revision: a watch from there
    brings whatever changed meanwhile.  StatusError 400 for a token of another list, 410 for an old one.
    """
    if kind is ENDPOINTS:
        return _endpoints_page(store, namespace, selection)
    token = _read_token(continue_, kind, namespace) if continue_ else None
    limit = min(limit, MAX_PAGE) if limit > 0 else 0
    with store.read() as txn:
        revision = read_revision(txn, store.tables)
        if token is not None:
            revision = token.revision
            if revision < log.floor(txn, log_of(store.tables, kind)):
                raise StatusError(410, "Expired", _TOO_OLD)
        items: list[bytes] = []
        last, more = b"", False
        for key, value in _candidates(txn, store, kind, namespace, selection, token.after if token else b""):
            if selection and not selection.matches(decode(value)):
                continue
            if limit and len(items) == limit:
                more = True
                break
            items.append(value)
            last = key
        if not more:
            return Page(items, revision)
        remaining = None if selection else _count_after(txn, store, kind, namespace, last)
    return Page(items, revision, _write_token(_Token(kind.name, namespace, revision, last)), remaining)


def count(store: Store, kind: Kind) -> int:
    """Return how many objects of a kind there are; walks their keys."""
    with store.read() as txn:
        return _count_after(txn, store, kind, "", b"")


def endpoint_counts(store: Store) -> dict[str, int]:
    """Return how many endpoints there are: `all` in slices, `ready` in answers (one an address)."""
    with store.read() as txn:
        rows = scan(txn, store.tables.slices, b"")
        in_slices = sum(slices.count_of(row) for _, row in rows)
        return {"all": in_slices, "ready": txn.stat(store.tables.endpoints)["entries"]}


def _candidates(
    txn: lmdb.Transaction, store: Store, kind: Kind, namespace: str, selection: Selection, after: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """Yield the rows among which the selected ones are: a name, as clients wait for one, is looked up."""
    fields = selection.fields
    name = fields.exact("metadata.name") if fields is not None else None
    if fields is not None:
        namespace = namespace or fields.exact("metadata.namespace") or ""
    if name is None or (kind.namespaced and not namespace):
        ending = b"" if name is None else b"\0" + name.encode()
        rows = scan(txn, store.tables.objects, collection_prefix(kind, namespace), after)
        yield from (row for row in rows if row[0].endswith(ending))
        return
    key = object_key(kind, namespace, name)
    value = txn.get(key, db=store.tables.objects) if len(key) <= _LONGEST_KEY else None
    if value is not None and key > after:
        yield key, bytes(value)


def _count_after(txn: lmdb.Transaction, store: Store, kind: Kind, namespace: str, after: bytes) -> int:
    keys = scan_keys(txn, store.tables.objects, collection_prefix(kind, namespace), after)
    return sum(1 for _ in keys)


def _write_token(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(token)).decode()


def _read_token(text: str, kind: Kind, namespace: str) -> _Token:
    try:
        token = msgspec.msgpack.decode(base64.urlsafe_b64decode(text.encode()), type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as wrong:
        raise bad_request("continue: not a token that this server has given out") from wrong
    if (token.kind, token.namespace) != (kind.name, namespace):
        raise bad_request("continue: the token belongs to another list")
    return token


def slices_by_service(store: Store, namespace: str, service: str) -> list[Object]:
    """Return every slice of a Service, decoded."""
    prefix = joined(namespace, service)
    with store.read() as txn:
        names = [key[len(prefix) : -1].decode() for key in scan_keys(txn, store.tables.slices, prefix)]
        keys = (object_key(ENDPOINTSLICE, namespace, name) for name in names)
        found = (txn.get(key, db=store.tables.objects) for key in keys)
        return [decode(octets) for octets in found if octets is not None]


def _endpoints_view(store: Store, namespace: str, name: str) -> bytes:
    """Return core/v1 Endpoints as computed from the slices of a Service; 404 without the Service."""
    try:
        service = decode(get(store, SERVICE, namespace, name))
    except StatusError as missing:
        raise not_found(ENDPOINTS.plural, name) from missing
    return encode(endpoints_of(service, slices_by_service(store, namespace, name)))


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


def _endpoints_page(store: Store, namespace: str, selection: Selection) -> Page:
    services = page(store, SERVICE, namespace, Selection())
    items = []
    for service in map(decode, services.items):
        metadata = service["metadata"]
        view = endpoints_of(service, slices_by_service(store, metadata["namespace"], metadata["name"]))
        if selection.matches(view):
            items.append(encode(view))
    return Page(items, services.revision)
