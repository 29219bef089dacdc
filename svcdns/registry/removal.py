"""Deleting much: a namespace with all that is in it, or a collection, at most 500 objects a transaction."""

from __future__ import annotations

from typing import Any

from svcdns.cluster.endpoints import is_generated
from svcdns.cluster.event_messages import namespace_emptying
from svcdns.objects.errors import not_found
from svcdns.objects.kinds import ENDPOINTSLICE, EVENT, NAMESPACE, POD, SERVICE, Kind

from . import accept
from .requests import DeleteOptions, Written
from .transaction import WriteTransaction, joined, scan

CHUNK = 500
_CONTENT = (SERVICE, POD, ENDPOINTSLICE, EVENT)
"""In the order of removal: with its Service gone, a Pod's going changes no slice."""


def begin(write: WriteTransaction, name: str, options: DeleteOptions) -> Written:
    """Delete a namespace: at once where it holds little, else mark it; `empty_some` does the rest."""
    old = write.load(NAMESPACE, "", name)
    if old is None:
        raise not_found("namespaces", name)
    accept.check_preconditions(NAMESPACE, old, options)
    if len(_content(write, name, CHUNK + 1)) > CHUNK:
        write.messages.append(namespace_emptying(old))
        return accept.mark_terminating(write, old)
    marked = accept.terminating(write, old)
    empty_some(write, name)
    return Written(marked)


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
    write: WriteTransaction, kind: Kind, objects: list[dict[str, Any]], options: DeleteOptions
) -> list[Written]:
    """Delete those of the objects that are still there; generated slices are passed over."""
    out = []
    for obj in objects:
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        if write.load(kind, namespace, name) is None or (kind is ENDPOINTSLICE and is_generated(obj)):
            continue
        if kind is NAMESPACE and name in accept.PROTECTED_NAMESPACES:
            continue
        if kind is NAMESPACE:
            out.append(begin(write, name, options))
        else:
            out.append(accept.delete(write, kind, namespace, name, options))
    return out


def _content(write: WriteTransaction, namespace: str, limit: int) -> list[tuple[Kind, str]]:
    found: list[tuple[Kind, str]] = []
    for kind in _CONTENT:
        prefix = joined(kind.name, namespace)
        for key, _ in scan(write.txn, write.tables.objects, prefix):
            found.append((kind, key[len(prefix) :].decode()))
            if len(found) == limit:
                return found
    return found
