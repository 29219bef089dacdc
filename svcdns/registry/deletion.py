"""Deleting an object: at once, or when its finalizers are gone and its grace period is over.

A deletion that can't be finished marks the object with a deletionTimestamp; whoever takes the last
finalizer away, or ends the grace period, finishes it. With an object go those that name it as their owner:
behind it (Background), before it (Foreground), or not at all (Orphan).
https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from svcdns.cluster.endpoints import is_generated
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, EVENT, LEASE, NAMESPACE, POD, SERVICE, STORED, Kind
from svcdns.objects.managed_fields import Authorship

from . import accept, addresses, endpoints, owners
from .derive import derive
from .requests import DeleteOptions, Written
from .transaction import WriteTransaction, decode, encode, joined, scan_keys

Object = dict[str, Any]

_CONTENT = (SERVICE, POD, ENDPOINTS, ENDPOINTSLICE, LEASE)
"""In the order of removal: with its Service gone, the going of a Pod or of Endpoints changes no slice."""
_KINDS = {kind.name: kind for kind in STORED}


def delete(write: WriteTransaction, kind: Kind, namespace: str, name: str, options: DeleteOptions) -> Written:
    """Delete an object; it stays, terminating, while a finalizer or a Pod's grace period holds it."""
    write.decided_on_all = True
    if kind is ENDPOINTS:
        endpoints.check_deletable(write, namespace, name)
    old = write.existing(kind, namespace, name)
    accept.check_preconditions(kind, old, options)
    if kind is ENDPOINTSLICE and is_generated(old):
        raise accept.generated(old)
    uid = old["metadata"]["uid"]
    if options.propagation == "Orphan":
        for dependent_kind, dependent in owners.dependents(write, uid, _KINDS):
            accept.store(write, dependent_kind, dependent, owners.without(dependent, uid))
    elif options.propagation == "Foreground":
        old = _delete_dependents_first(write, kind, old)
    seconds = options.grace_period_seconds or 0 if kind is POD else 0
    if seconds or finalizers(old):
        return _begin_termination(write, kind, old, seconds)
    return remove(write, kind, old)


def finalizers(obj: Object) -> list[str]:
    """Return what holds an object back from being deleted."""
    found: list[str] = obj["metadata"].get("finalizers") or []
    return found


def update(
    write: WriteTransaction,
    kind: Kind,
    old: Object,
    body: Object,
    subresource: str,
    author: Authorship,
) -> Written:
    """Store a changed object; one that was deleted goes with its last finalizer."""
    written = accept.update(write, kind, old, body, subresource, author)
    if old["metadata"].get("deletionTimestamp"):
        _finish(write, kind, old["metadata"])
    return written


def _finish(write: WriteTransaction, kind: Kind, metadata: Object) -> None:
    """Remove an object that was deleted if nothing holds it any more."""
    write.decided_on_all = True
    found = write.load(kind, metadata.get("namespace", ""), metadata["name"])
    if found is None or not found["metadata"].get("deletionTimestamp") or finalizers(found):
        return
    if kind is NAMESPACE:
        if next(content(write, metadata["name"]), None) is not None:
            return
    elif found["metadata"].get("deletionGracePeriodSeconds"):
        return
    remove(write, kind, found)


def remove(write: WriteTransaction, kind: Kind, old: Object) -> Written:
    """Take an object away with all that followed from it, and those that depended on it alone."""
    write.decided_on_all = True
    if kind is NAMESPACE:
        _remove_events(write, old["metadata"]["name"])
    octets = write.remove(kind, old)
    if kind is SERVICE:
        addresses.release(write, old)
    owners.index(write, kind, old, None)
    derive(write, kind, old, None)
    _collect(write, old["metadata"]["uid"])
    _finish_owners(write, old)
    if kind.namespaced:
        _finish(write, NAMESPACE, {"name": old["metadata"]["namespace"]})
    return Written(octets)


def _remove_events(write: WriteTransaction, namespace: str) -> None:
    """Events about what a namespace held, at most as many as are kept at all, go with it.

    Those for which this write has no room go when they are too old.
    """
    prefix = joined(EVENT.name, namespace)
    for key in list(scan_keys(write.txn, write.tables.objects, prefix)):
        if write.is_full:
            return
        found = write.load(EVENT, namespace, key[len(prefix) :].decode())
        if found is not None:
            write.remove(EVENT, found)


def _collect(write: WriteTransaction, uid: str) -> None:
    """Delete the dependents of an object that is gone; those with another owner only lose this one."""
    for kind, dependent in owners.dependents(write, uid, _KINDS):
        if owners.has_another(write, dependent, uid):
            accept.store(write, kind, dependent, owners.without(dependent, uid))
        else:
            _delete_dependent(write, kind, dependent)


def _delete_dependent(write: WriteTransaction, kind: Kind, dependent: Object) -> None:
    metadata = dependent["metadata"]
    # One that went with another dependent is no longer there; a namespace is emptied by the registry.
    found = write.load(kind, metadata.get("namespace", ""), metadata["name"])
    if found is None or found["metadata"].get("deletionTimestamp"):
        return
    if kind is NAMESPACE:
        mark_terminating(write, found)
    elif finalizers(found):
        _begin_termination(write, kind, found, 0)
    else:
        remove(write, kind, found)


def _delete_dependents_first(write: WriteTransaction, kind: Kind, old: Object) -> Object:
    """Delete what depends on an object; return the object, held by a finalizer while some of that stays."""
    uid = old["metadata"]["uid"]
    for dependent_kind, dependent in owners.dependents(write, uid, _KINDS):
        if not owners.has_another(write, dependent, uid):
            _delete_dependent(write, dependent_kind, dependent)
    waits = any(owners.blocks(dependent, uid) for _, dependent in owners.dependents(write, uid, _KINDS))
    if not waits or owners.FOREGROUND in finalizers(old):
        return old
    held = {**old, "metadata": {**old["metadata"], "finalizers": [*finalizers(old), owners.FOREGROUND]}}
    accept.store(write, kind, old, held)
    return held


def _finish_owners(write: WriteTransaction, gone: Object) -> None:
    """Let owners go that were deleted in the foreground and waited for this object."""
    namespace = gone["metadata"].get("namespace", "")
    for reference in owners.references(gone):
        found = owners.owner(write, reference, namespace)
        if found is None or owners.FOREGROUND not in finalizers(found[1]):
            continue
        kind, owner = found
        uid = owner["metadata"]["uid"]
        if any(owners.blocks(dependent, uid) for _, dependent in owners.dependents(write, uid, _KINDS)):
            continue
        accept.store(write, kind, owner, _without_finalizer(owner, owners.FOREGROUND))
        _finish(write, kind, owner["metadata"])


def _without_finalizer(obj: Object, name: str) -> Object:
    kept = [word for word in finalizers(obj) if word != name]
    metadata = {key: value for key, value in obj["metadata"].items() if key != "finalizers"}
    return {**obj, "metadata": {**metadata, "finalizers": kept} if kept else metadata}


def _is_no_shorter(metadata: Object, seconds: int, until: str) -> bool:
    """Return whether a grace period from now on ends no earlier than the one that runs.

    One that is no shorter never does, even where the clock has been set back meanwhile.
    """
    runs = metadata.get("deletionGracePeriodSeconds") or 0
    if seconds >= runs:
        return True
    return bool(seconds) and bool(metadata["deletionTimestamp"] <= until)


def _begin_termination(write: WriteTransaction, kind: Kind, old: Object, seconds: int) -> Written:
    """Mark an object as terminating: a Pod leaves the answers at once and goes after its grace period."""
    until, already = write.later(seconds), old["metadata"].get("deletionTimestamp")
    if already and _is_no_shorter(old["metadata"], seconds, until):
        return Written(encode(old))  # a grace period can be cut short, not drawn out
    metadata = {
        **old["metadata"],
        "deletionTimestamp": min(until, already) if already else until,
        "deletionGracePeriodSeconds": seconds,
    }
    return accept.store(write, kind, old, {**old, "metadata": metadata})


def begin_grace(write: WriteTransaction, pod: Object, seconds: int) -> bool:
    """Give a Pod this grace period, if it has no shorter one already; return whether that changed it."""
    before = pod["metadata"].get("resourceVersion")
    written = _begin_termination(write, POD, pod, seconds)
    return bool(decode(written.object)["metadata"]["resourceVersion"] != before)


def mark_terminating(write: WriteTransaction, old: Object, seconds: int | None = None) -> Written:
    """Mark a Namespace as terminating: nothing can be created in it any more.

    `seconds` is the grace period of its Pods, none if it is None; said again, it can only be cut short.
    """
    already = "deletionTimestamp" in old["metadata"]
    had = old["metadata"].get("deletionGracePeriodSeconds", 0) if already else None
    wanted = min(had if seconds is None else seconds, had) if had is not None else seconds or 0
    if wanted == had:
        return Written(encode(old))
    metadata = {key: value for key, value in old["metadata"].items() if key != "deletionGracePeriodSeconds"}
    metadata.setdefault("deletionTimestamp", write.now)
    if wanted:
        metadata["deletionGracePeriodSeconds"] = wanted
    status = {**(old.get("status") or {}), "phase": "Terminating"}
    return accept.store(write, NAMESPACE, old, {**old, "metadata": metadata, "status": status})


def content(write: WriteTransaction, namespace: str) -> Iterator[tuple[Kind, str]]:
    """Yield (kind, name) of what a namespace holds. Nothing may be written meanwhile.

    Events don't count, nor do slices that are generated: they go with what they follow from.
    """
    for kind in _CONTENT:
        prefix = joined(kind.name, namespace)
        for key in scan_keys(write.txn, write.tables.objects, prefix):
            name = key[len(prefix) :].decode()
            if kind is not ENDPOINTSLICE or not is_generated(write.existing(kind, namespace, name)):
                yield kind, name


def finish_namespace(write: WriteTransaction, namespace: str) -> None:
    """Remove a terminating namespace that holds nothing any more, and that no finalizer holds."""
    _finish(write, NAMESPACE, {"name": namespace})
