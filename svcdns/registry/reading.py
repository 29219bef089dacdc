"""Reading what is committed: one object, and a piece of a list; of Endpoints as `endpoints` shows them.

Objects stay JSON bytes; they are decoded only where a selector has to look inside.  A piece is read in one
go: it is small enough that whoever waits for the event loop does not notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import lmdb

from svcdns.cluster.endpoints import WHEN_NONE_READY
from svcdns.cluster.ready_last import shows_not_ready
from svcdns.objects import conversion
from svcdns.objects.errors import not_found
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, SERVICE, Kind
from svcdns.store.environment import Store
from svcdns.store.service_backing import decode_slice_row

from . import endpoints
from .requests import Page, Piece, Selection
from .transaction import (
    collection_prefix,
    decode,
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
    with store.read() as txn:
        octets = _lookup(txn, store, kind, namespace, name)
    if octets is None:
        raise not_found(kind.plural, name, kind.group)
    return octets


def _lookup(txn: lmdb.Transaction, store: Store, kind: Kind, namespace: str, name: str) -> bytes | None:
    if kind is ENDPOINTS:
        return endpoints.get(txn, store.tables, namespace, name)
    octets = txn.get(object_key(kind.stored, namespace, name), db=store.tables.objects)
    return None if octets is None else bytes(octets)


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
        if not selection or selection.matches_json(value):
            items.append(conversion.shown_octets(kind, value))
    return Piece(items, last, True, octets)


def read_all(store: Store, kind: Kind, namespace: str = "") -> Page:
    """Return all objects of a kind, or of a kind in a namespace, read in one go."""
    items: list[bytes] = []
    with store.read() as txn:
        piece = Piece([], b"", False, 0)
        while not piece.is_last:
            piece = read_piece(txn, store, kind, namespace, Selection(), piece.after)
            items += piece.items
        return Page(items, read_revision(txn, store.tables))


def all_octets(txn: lmdb.Transaction, store: Store, kind: Kind) -> Iterator[bytes]:
    """Yield all objects of a kind as JSON."""
    return (octets for _, octets in scan(txn, store.tables.objects, collection_prefix(kind)))


def count_some(
    txn: lmdb.Transaction, store: Store, kind: Kind, namespace: str, after: bytes, most: int
) -> tuple[int, bytes]:
    """Count up to `most` objects behind a key; return how many, and the last one's key."""
    keys = scan_keys(txn, store.tables.objects, collection_prefix(kind.stored, namespace), after)
    counted, last = 0, after
    for last in islice(keys, most):  # noqa: B007
        counted += 1
    return counted, last


def count(store: Store, kind: Kind) -> int:
    """Return how many objects of a kind there are; walks their keys."""
    with store.read() as txn:
        return sum(1 for _ in scan_keys(txn, store.tables.objects, collection_prefix(kind)))


def endpoint_counts(store: Store) -> dict[str, int]:
    """Return how many endpoints there are: `all` in slices, `ready` ones (one an address).

    Also of how many Services not-ready ones are answered because none is ready, and how many these are
    (`services_without_ready`, `answered_not_ready`).
    """
    with store.read() as txn:
        rows = scan(txn, store.tables.slices, b"")
        in_slices = sum(decode_slice_row(row).count for _, row in rows)
        answered = txn.stat(store.tables.endpoints)["entries"]
        not_ready = [count for count in _answered_not_ready(txn, store) if count]
    return {
        "all": in_slices,
        "ready": answered - sum(not_ready),
        "answered_not_ready": sum(not_ready),
        "services_without_ready": len(not_ready),
    }


_MARK = WHEN_NONE_READY.encode()


def _answered_not_ready(txn: lmdb.Transaction, store: Store) -> Iterator[int]:
    """Yield how many endpoints each Service answers that has no ready one, and asks for it to answer."""
    for octets in all_octets(txn, store, SERVICE):
        if _MARK not in octets:
            continue
        service = decode(octets)
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        prefix = joined(namespace, name)
        names = (key[len(prefix) : -1].decode() for key in scan_keys(txn, store.tables.slices, prefix))
        stored = (
            txn.get(object_key(ENDPOINTSLICE, namespace, one), db=store.tables.objects) for one in names
        )
        if shows_not_ready(service, [decode(one) for one in stored if one is not None]):
            yield sum(1 for _ in scan_keys(txn, store.tables.endpoints, prefix))


def _candidates(
    txn: lmdb.Transaction, store: Store, kind: Kind, namespace: str, selection: Selection, after: bytes
) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the rows among which the selected ones are, without their values where the key says no.

    A name, as clients wait for one, is looked up.
    """
    name = None
    if selection.fields is not None:
        name = selection.fields.exact("metadata.name")
        namespace = namespace or selection.fields.exact("metadata.namespace") or ""
    if name is not None and (namespace or not kind.namespaced):
        key = object_key(kind.stored, namespace, name)
        value = _lookup(txn, store, kind, namespace, name) if len(key) <= _LONGEST_KEY else None
        if value is not None and key > after:
            yield key, value
    elif kind is ENDPOINTS:
        yield from endpoints.rows(txn, store.tables, namespace, after, name)
    elif name is None:
        yield from scan(txn, store.tables.objects, collection_prefix(kind.stored, namespace), after)
    else:
        ending, objects = b"\0" + name.encode(), store.tables.objects
        for key in scan_keys(txn, objects, collection_prefix(kind.stored, namespace), after):
            yield key, _octets(txn.get(key, db=objects)) if key.endswith(ending) else None


def _octets(value: bytes | memoryview | None) -> bytes | None:
    return None if value is None else bytes(value)
