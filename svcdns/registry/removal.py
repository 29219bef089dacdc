"""Deleting much: a namespace with all that is in it, a collection, an owner's dependents.

A write deletes as much as there is room for, of a namespace and of a collection 500 objects at most, and says
where the next one goes on.  What it passes over on its way is not looked at again before the end.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

import msgspec

from svcdns.cluster.endpoints import is_generated
from svcdns.cluster.event_messages import namespace_emptying
from svcdns.objects.kinds import ENDPOINTSLICE, FIRST_NAMESPACES, NAMESPACE, POD, STORED_BY_NAME, Kind

from . import accept, cascades, deletion
from .deletion import START, Place
from .requests import DeleteOptions, Written
from .transaction import Object, WriteTransaction

CHUNK = 500


class _Metadata(msgspec.Struct):
    name: str
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _Metadata


_named = msgspec.json.Decoder(_Named).decode


def delete(write: WriteTransaction, kind: Kind, namespace: str, name: str, options: DeleteOptions) -> Written:
    """Delete an object; a Namespace is marked as terminating, and `empty_some` does the rest, soon."""
    if kind is not NAMESPACE:
        return deletion.delete(write, kind, namespace, name, options)
    old = write.existing(NAMESPACE, "", name)
    accept.check_preconditions(NAMESPACE, old, options)
    if len(list(islice(deletion.content(write, name), CHUNK + 1))) > CHUNK:
        write.messages.append(namespace_emptying(old))
    return deletion.mark_terminating(write, old, options.grace_period_seconds)


def empty_some(write: WriteTransaction, namespace: str, after: Place = START) -> Place | None:
    """Delete up to CHUNK objects of a namespace; return behind which the next write goes on.

    None: nothing is left to do here.  What finalizers hold is marked and stays, and so do Pods for the grace
    period that the deletion came with, and the namespace with them: whoever removes the last of these removes
    the namespace too.
    """
    write.decided_on_all = True
    old = write.load(NAMESPACE, "", namespace)
    if old is None or not old["metadata"].get("deletionTimestamp"):
        return None
    seconds, last = old["metadata"].get("deletionGracePeriodSeconds", 0), after
    held: list[Object] = []
    changed = 0
    for kind, name in deletion.content(write, namespace, after):
        found = write.load(kind, namespace, name)
        if found is None:  # it went with its owner
            continue
        if changed == CHUNK or not write.has_room_for(kind, found):
            return last
        last = kind, name
        held += [found] if deletion.finalizers(found) or (kind is POD and seconds) else []
        changed += _delete_or_mark(write, kind, found, seconds)
    if after != START:
        return START  # to see what is held, and to find nothing else
    if held:
        _say_what_is_held(write, namespace, held)
    else:
        deletion.finish_namespace(write, namespace)
    return None


def _delete_or_mark(write: WriteTransaction, kind: Kind, found: Object, seconds: int) -> bool:
    """Delete an object, or mark it where something holds it; return whether that changed anything."""
    if kind is POD and seconds:
        return deletion.begin_grace(write, found, seconds)
    if not deletion.finalizers(found):
        deletion.remove(write, kind, found)
        return True
    if found["metadata"].get("deletionTimestamp"):
        return False
    metadata = found["metadata"]
    deletion.delete(write, kind, metadata["namespace"], metadata["name"], DeleteOptions())
    return True


def see_to_some(write: WriteTransaction, uid: str, after: bytes) -> bytes | None:
    """Go on with a cascade behind a key, as far as there is room; return where the next write goes on.

    None: it has ended, as there is nothing to be done for any dependent.  That is seen by one write that
    looks at all of them: others may have come meanwhile.
    """
    write.decided_on_all = True
    cascade = cascades.find(write.txn, write.tables, uid)
    if cascade is None:
        return None
    rest = deletion.see_to_dependents(write, uid, cascade.propagation, after)
    if rest is not None:
        return rest
    kind = STORED_BY_NAME.get(cascade.kind)
    owner = write.load(kind, cascade.namespace, cascade.name) if kind is not None else None
    if owner is not None and owner["metadata"]["uid"] != uid:
        owner = None
    if after or (kind is not None and owner is not None and not write.has_room_for(kind, owner)):
        return b""
    cascades.end(write, uid)
    if kind is not None and owner is not None:
        deletion.release_owner(write, kind, owner)
    return None


def see_to_all(write: WriteTransaction) -> None:
    """End all cascades, in a registry whose writes have room for anything."""
    for uid in cascades.all_uids(write.txn, write.tables):
        see_to_some(write, uid, b"")


def _say_what_is_held(write: WriteTransaction, namespace: str, held: list[Object]) -> None:
    """Put into a namespace's status what it waits for, in the words of Kubernetes' namespace controller."""
    old = write.load(NAMESPACE, "", namespace)
    if old is None:
        return
    counted = Counter(word for obj in held for word in deletion.finalizers(obj))
    waiting = ", ".join(f"{word} in {count} resource instances" for word, count in sorted(counted.items()))
    finalizers = f"Some content in the namespace has finalizers remaining: {waiting}"
    conditions = [
        {
            "type": "NamespaceContentRemaining",
            "status": "True",
            "lastTransitionTime": write.now,
            "reason": "SomeResourcesRemain",
            "message": f"Some resources are remaining: {len(held)} resource instances",
        },
        {
            "type": "NamespaceFinalizersRemaining",
            "status": "True",
            "lastTransitionTime": write.now,
            "reason": "SomeFinalizersRemain",
            "message": finalizers,
        },
    ]
    conditions = conditions if waiting else conditions[:1]
    status = {**(old.get("status") or {}), "conditions": conditions}
    accept.store(write, NAMESPACE, old, {**old, "status": status})


def name_of(octets: bytes) -> tuple[str, str]:
    """Return (namespace, name) of an object in JSON."""
    metadata = _named(octets).metadata
    return metadata.namespace, metadata.name


def delete_each(
    write: WriteTransaction, kind: Kind, names: list[tuple[str, str]], options: DeleteOptions
) -> tuple[list[Written], list[tuple[str, str]]]:
    """Delete those of the objects that are still there; return these, and the names that are left to do.

    Generated slices are passed over.
    """
    out: list[Written] = []
    for done, (namespace, name) in enumerate(names):
        found = write.load(kind, namespace, name)
        if found is None or (kind is ENDPOINTSLICE and is_generated(found)):
            continue
        if not write.has_room_for(kind, found):
            return out, names[done:]
        if kind is not NAMESPACE or name not in FIRST_NAMESPACES:
            out.append(delete(write, kind, namespace, name, options))
    return out, []
