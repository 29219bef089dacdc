"""Deleting much: a namespace with all that is in it, or a collection, at most 500 objects a transaction."""

from __future__ import annotations

from svcdns.cluster.endpoints import is_generated
from svcdns.cluster.event_messages import namespace_emptying
from svcdns.objects.kinds import ENDPOINTSLICE, EVENT, FIRST_NAMESPACES, NAMESPACE, POD, SERVICE, Kind

from . import accept
from .requests import DeleteOptions, Written
from .transaction import Object, WriteTransaction, encode, joined, scan_keys

CHUNK = 500
_CONTENT = (SERVICE, POD, ENDPOINTSLICE, EVENT)
"""In the order of removal: with its Service gone, a Pod's going changes no slice."""


def delete(write: WriteTransaction, kind: Kind, namespace: str, name: str, options: DeleteOptions) -> Written:
    """Delete an object; a Namespace at once where it holds little, else `empty_some` does the rest."""
    if kind is not NAMESPACE:
        return accept.delete(write, kind, namespace, name, options)
    old = write.existing(NAMESPACE, "", name)
    accept.check_preconditions(NAMESPACE, old, options)
    if len(_content(write, name, CHUNK + 1)) > CHUNK:
        write.messages.append(namespace_emptying(old))
        return accept.mark_terminating(write, old)
    empty_some(write, name)
    return Written(encode(accept.terminating(write, old)))


def empty_some(write: WriteTransaction, namespace: str) -> bool:
    """Remove up to CHUNK objects of a namespace; return whether the namespace itself has gone."""
    for kind, name in _content(write, namespace, CHUNK):
        found = write.load(kind, namespace, name)
        if found is not None:  # a generated slice goes with its Service
            accept.remove(write, kind, found)
    if _content(write, namespace, 1):
        return False
    old = write.load(NAMESPACE, "", namespace)
    if old is not None:
        accept.remove(write, NAMESPACE, old)
    return True


def delete_each(
    write: WriteTransaction, kind: Kind, objects: list[Object], options: DeleteOptions
) -> list[Written]:
    """Delete those of the objects that are still there; generated slices are passed over."""
    out = []
    for obj in objects:
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if write.load(kind, namespace, name) is None or (kind is ENDPOINTSLICE and is_generated(obj)):
            continue
        if kind is not NAMESPACE or name not in FIRST_NAMESPACES:
            out.append(delete(write, kind, namespace, name, options))
    return out


def _content(write: WriteTransaction, namespace: str, limit: int) -> list[tuple[Kind, str]]:
    found: list[tuple[Kind, str]] = []
    for kind in _CONTENT:
        prefix = joined(kind.name, namespace)
        for key in scan_keys(write.txn, write.tables.objects, prefix):
            found.append((kind, key[len(prefix) :].decode()))
            if len(found) == limit:
                return found
    return found
