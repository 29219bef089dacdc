"""Deleting much: a namespace with all that is in it, or a collection, at most 500 objects a transaction."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import msgspec

from svcdns.cluster.endpoints import is_generated
from svcdns.cluster.event_messages import namespace_emptying
from svcdns.objects.kinds import ENDPOINTSLICE, FIRST_NAMESPACES, NAMESPACE, POD, Kind

from . import accept, deletion
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


def empty_some(write: WriteTransaction, namespace: str) -> bool:
    """Delete up to CHUNK objects of a namespace; return whether nothing is left to do here.

    What finalizers hold is marked and stays, and so do Pods for the grace period that the deletion came with,
    and the namespace with them: whoever removes the last of these removes the namespace too.
    """
    write.decided_on_all = True
    old = write.load(NAMESPACE, "", namespace)
    if old is None or not old["metadata"].get("deletionTimestamp"):
        return True
    seconds = old["metadata"].get("deletionGracePeriodSeconds", 0)
    held: list[Object] = []
    gone = 0
    for kind, name in list(deletion.content(write, namespace)):
        if gone == CHUNK or write.is_full:
            return False
        found = write.load(kind, namespace, name)
        if found is None:  # it went with its owner
            continue
        if kind is POD and seconds:
            held.append(found)
            if deletion.begin_grace(write, found, seconds):
                gone += 1
        elif deletion.finalizers(found):
            held.append(found)
            if not found["metadata"].get("deletionTimestamp"):
                deletion.delete(write, kind, namespace, name, DeleteOptions())
        else:
            deletion.remove(write, kind, found)
            gone += 1
    if held:
        _say_what_is_held(write, namespace, held)
    else:
        deletion.finish_namespace(write, namespace)
    return True


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
        if write.is_full:
            return out, names[done:]
        found = write.load(kind, namespace, name)
        if found is None or (kind is ENDPOINTSLICE and is_generated(found)):
            continue
        if kind is not NAMESPACE or name not in FIRST_NAMESPACES:
            out.append(delete(write, kind, namespace, name, options))
    return out, []
