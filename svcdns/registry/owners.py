"""Owners and their dependents, as metadata.ownerReferences says: what goes when its owner goes.

    "owner" uid kind namespace name -> ""     in `meta`, parts ended by NUL: dependents by their owner's uid

Kubernetes' garbage collector does this some time after a deletion; here it is part of the deletion's own
transaction, as far as that has room (see `cascades`). An owner of a kind that svcdns doesn't know is taken
for there, as nobody can say otherwise.
https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lmdb

from svcdns.cluster.endpoints import is_generated
from svcdns.objects.kinds import ENDPOINTSLICE, STORED_BY_NAME, Kind, by_manifest
from svcdns.store.environment import Tables

from .transaction import WriteTransaction, joined, scan_keys, scan_keys_in_batches

Object = dict[str, Any]

_PREFIX = "owner"
FOREGROUND = "foregroundDeletion"
"""The finalizer of an owner that goes after its dependents."""
ORPHAN = "orphan"
"""The finalizer of an owner that goes once no dependent names it any more."""
_UID_LETTERS = 36


def index(write: WriteTransaction, kind: Kind, old: Object | None, new: Object | None) -> None:
    """Note of whom an object depends, after it was created, changed or removed."""
    before, after = _keys(kind, old), _keys(kind, new)
    for key in before - after:
        write.txn.delete(key, db=write.tables.meta)
    for key in after - before:
        write.txn.put(key, b"", db=write.tables.meta)


def clear(txn: lmdb.Transaction, tables: Tables) -> None:
    """Forget of whom which object depends."""
    for key in list(scan_keys(txn, tables.meta, joined(_PREFIX))):
        txn.delete(key, db=tables.meta)


def references(obj: Object) -> list[Object]:
    """Return the owner references of an object."""
    found: list[Object] = obj["metadata"].get("ownerReferences") or []
    return found


def _keys(kind: Kind, obj: Object | None) -> set[bytes]:
    if obj is None or not references(obj) or (kind is ENDPOINTSLICE and is_generated(obj)):
        return set()
    name = (kind.name, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
    uids = {reference["uid"] for reference in references(obj)}
    return {joined(_PREFIX, uid, *name) for uid in uids if may_be_ours(uid)}


def may_be_ours(uid: str) -> bool:
    """Our uids are UUIDs; what clients make up is no key, and nobody's uid."""
    return len(uid) == _UID_LETTERS and uid.isascii() and uid.isprintable()


def dependents(write: WriteTransaction, uid: str, after: bytes = b"") -> Iterator[tuple[bytes, Kind, Object]]:
    """Yield the objects that name an owner, each with its key: those behind the key `after`.

    They may be changed and removed meanwhile.
    """
    prefix = joined(_PREFIX, uid)
    for key in scan_keys_in_batches(write.txn, write.tables.meta, prefix, after):
        word, namespace, name = key[len(prefix) : -1].decode().split("\0")
        obj = write.load(STORED_BY_NAME[word], namespace, name)
        if obj is not None:
            yield key, STORED_BY_NAME[word], obj


def without(obj: Object, uid: str) -> Object:
    """Return an object without the references to an owner."""
    kept = [reference for reference in references(obj) if reference["uid"] != uid]
    metadata = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
    return {**obj, "metadata": {**metadata, "ownerReferences": kept} if kept else metadata}


def has_another(write: WriteTransaction, obj: Object, uid: str) -> bool:
    """Whether an owner other than this one is still there."""
    namespace = obj["metadata"].get("namespace", "")
    return any(
        reference["uid"] != uid and _is_there(write, reference, namespace) for reference in references(obj)
    )


def _is_there(write: WriteTransaction, reference: Object, namespace: str) -> bool:
    kind = by_manifest(reference["apiVersion"], reference["kind"])
    if kind is None:
        return True
    found = owner(write, reference, namespace)
    return found is not None


def owner(write: WriteTransaction, reference: Object, namespace: str) -> tuple[Kind, Object] | None:
    """Return the owner that a reference of an object in this namespace names, if it is there."""
    kind = by_manifest(reference["apiVersion"], reference["kind"])
    if kind is None or kind.read_only:
        return None
    found = write.load(kind, namespace if kind.namespaced else "", reference["name"])
    return (kind, found) if found is not None and found["metadata"]["uid"] == reference["uid"] else None


def is_blocked(write: WriteTransaction, uid: str) -> bool:
    """Whether the deletion of an owner in the foreground has to wait for a dependent."""
    return any(_blocks(dependent, uid) for _, _, dependent in dependents(write, uid))


def _blocks(obj: Object, uid: str) -> bool:
    return any(r["uid"] == uid and r.get("blockOwnerDeletion") for r in references(obj))
