"""Deleting an object: at once, or when its finalizers are gone and its grace period is over.

A deletion that can't be finished marks the object with a deletionTimestamp; whoever takes the last
finalizer away, or ends the grace period, finishes it. With an object go those that name it as their owner:
behind it (Background), before it (Foreground), or not at all (Orphan). Those for which a transaction has no
room are left to others (`cascades`, `removal.see_to_some`).
https://kubernetes.io/docs/concepts/overview/working-with-objects/finalizers/
https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from svcdns.cluster.endpoints import is_generated
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, EVENT, LEASE, NAMESPACE, POD, SERVICE, Kind
from svcdns.objects.managed_fields import Authorship

from . import accept, addresses, cascades, endpoints, owners
from .derive import derive
from .requests import DeleteOptions, Written
from .transaction import WriteTransaction, decode, encode, joined, scan_keys_in_batches

Object = dict[str, Any]

_CONTENT = (SERVICE, POD, ENDPOINTS, ENDPOINTSLICE, LEASE)
"""In the order of removal: with its Service gone, the going of a Pod or of Endpoints changes no slice."""
Place = tuple[Kind, str]
"""One object of a namespace, to go on behind it."""
START: Place = (_CONTENT[0], "")
_HELD_BY: Mapping[str, str] = {"Foreground": owners.FOREGROUND, "Orphan": owners.ORPHAN}
"""The finalizer of an owner that waits for its dependents, by how it was deleted."""


def delete(write: WriteTransaction, kind: Kind, namespace: str, name: str, options: DeleteOptions) -> Written:
    """Delete an object; it stays, terminating, while a finalizer or a Pod's grace period holds it."""
    write.decided_on_all = True
    if kind is ENDPOINTS:
        endpoints.check_deletable(write, namespace, name)
    old = write.existing(kind, namespace, name)
    accept.check_preconditions(kind, old, options)
    if kind is ENDPOINTSLICE and is_generated(old):
        raise accept.generated(old)
    waits_by = ""
    if options.propagation in _HELD_BY:
        waits_by = _dependents_first(write, kind, old, options.propagation)
        found = write.load(kind, namespace, name)
        if found is None:  # it went with one that it depends on itself
            return Written(encode(old))
        old = found
    seconds = options.grace_period_seconds or 0 if kind is POD else 0
    if seconds or waits_by or finalizers(old):
        return _begin_termination(write, kind, old, seconds, waits_by)
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
    _collect(write, kind, old)
    _finish_owners(write, old)
    if kind.namespaced:
        _finish(write, NAMESPACE, {"name": old["metadata"]["namespace"]})
    return Written(octets)


def _remove_events(write: WriteTransaction, namespace: str) -> None:
    """Events about what a namespace held, at most as many as are kept at all, go with it.

    Those for which this write has no room go when they are too old.
    """
    prefix = joined(EVENT.name, namespace)
    for key in scan_keys_in_batches(write.txn, write.tables.objects, prefix):
        if write.is_full:
            return
        found = write.load(EVENT, namespace, key[len(prefix) :].decode())
        if found is not None:
            write.remove(EVENT, found)


def see_to_dependents(
    write: WriteTransaction, uid: str, propagation: str, after: bytes = b""
) -> bytes | None:
    """Delete the dependents of an owner, or free them from it, those behind the key `after`.

    Those with another owner only lose this one, once it is gone.
    Return the key of the last that there was room for (`after` where there was none), None: those were all.
    """
    for key, kind, dependent in owners.dependents(write, uid, after):
        if not write.has_room_for(kind, dependent):
            return after
        after = key
        if propagation == "Orphan":
            accept.store(write, kind, dependent, owners.without(dependent, uid))
        elif not owners.has_another(write, dependent, uid):
            _delete_dependent(write, kind, dependent)
        elif propagation == "Background":
            accept.store(write, kind, dependent, owners.without(dependent, uid))
    return None


def _collect(write: WriteTransaction, kind: Kind, gone: Object) -> None:
    """Delete the dependents of an object that is gone."""
    uid = gone["metadata"]["uid"]
    write.operations += 1  # for the cascade, should one be needed
    is_all = see_to_dependents(write, uid, "Background") is None
    write.operations -= 1
    if is_all:
        cascades.end(write, uid)
    else:
        _leave(write, "Background", kind, gone)


def _leave(write: WriteTransaction, propagation: str, kind: Kind, owner: Object) -> None:
    """Leave what is to become of an owner's dependents, and of it, to other writes."""
    metadata = owner["metadata"]
    named = (kind.name, metadata.get("namespace", ""), metadata["name"])
    cascades.put(write, metadata["uid"], cascades.Cascade(propagation, *named))


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


def _dependents_first(write: WriteTransaction, kind: Kind, old: Object, propagation: str) -> str:
    """See to what depends on an object; return the finalizer that holds it while some is left, or ""."""
    uid = old["metadata"]["uid"]
    is_all = see_to_dependents(write, uid, propagation) is None and write.has_room_for(kind, old)
    waits = propagation == "Foreground" and owners.is_blocked(write, uid)
    if not is_all:
        _leave(write, propagation, kind, old)
    return "" if is_all and not waits else _HELD_BY[propagation]


def release_owner(write: WriteTransaction, kind: Kind, owner: Object) -> None:
    """Let an owner go that was deleted, and waited until its dependents had been seen to."""
    kept = [word for word in finalizers(owner) if word != owners.ORPHAN]
    if not owners.is_blocked(write, owner["metadata"]["uid"]):
        kept = [word for word in kept if word != owners.FOREGROUND]
    if kept != finalizers(owner):
        accept.store(write, kind, owner, _with_finalizers(owner, kept))
        _finish(write, kind, owner["metadata"])


def _finish_owners(write: WriteTransaction, gone: Object) -> None:
    """Let owners go that were deleted in the foreground and waited for this object."""
    namespace = gone["metadata"].get("namespace", "")
    for reference in owners.references(gone):
        found = owners.owner(write, reference, namespace)
        if found is None or owners.FOREGROUND not in finalizers(found[1]):
            continue
        kind, owner = found
        uid = owner["metadata"]["uid"]
        if cascades.find(write.txn, write.tables, uid) is not None or owners.is_blocked(write, uid):
            continue
        if not write.has_room_for(kind, owner):
            _leave(write, "Foreground", kind, owner)
            continue
        release_owner(write, kind, owner)


def _with_finalizers(obj: Object, kept: list[str]) -> Object:
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


def _begin_termination(
    write: WriteTransaction, kind: Kind, old: Object, seconds: int, waits_by: str = ""
) -> Written:
    """Mark an object as terminating: a Pod leaves the answers at once and goes after its grace period.

    `waits_by` is a finalizer that is to hold it too.
    """
    metadata, until = dict(old["metadata"]), write.later(seconds)
    already = metadata.get("deletionTimestamp")
    if not (already and _is_no_shorter(metadata, seconds, until)):  # it can be cut short, not drawn out
        metadata["deletionTimestamp"] = min(until, already) if already else until
        metadata["deletionGracePeriodSeconds"] = seconds
    if waits_by and waits_by not in finalizers(old):
        metadata["finalizers"] = [*finalizers(old), waits_by]
    if metadata == old["metadata"]:
        return Written(encode(old))
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


def content(write: WriteTransaction, namespace: str, after: Place = START) -> Iterator[tuple[Kind, str]]:
    """Yield (kind, name) of what a namespace holds, behind `after`; it may be changed meanwhile.

    Events don't count, nor do slices that are generated: they go with what they follow from.
    """
    last_kind, last_name = after
    for kind in _CONTENT[_CONTENT.index(last_kind) :]:
        prefix = joined(kind.name, namespace)
        start = prefix + last_name.encode() if kind is last_kind and last_name else b""
        for key in scan_keys_in_batches(write.txn, write.tables.objects, prefix, start):
            name = key[len(prefix) :].decode()
            if kind is ENDPOINTSLICE:
                found = write.load(kind, namespace, name)
                if found is None or is_generated(found):
                    continue
            yield kind, name


def finish_namespace(write: WriteTransaction, namespace: str) -> None:
    """Remove a terminating namespace that holds nothing any more, and that no finalizer holds."""
    _finish(write, NAMESPACE, {"name": namespace})
