"""The derive half of a write: everything that follows from a changed object, and what is said of that.

Deterministic: no clock, no randomness, no choice that is not written down in the objects themselves,
so that any replica that applies the same changes in the same order comes to the same answers.
"""

from __future__ import annotations

from itertools import islice

from svcdns.cluster.event_messages import readiness_messages
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, NAMESPACE, POD, SERVICE, Kind

from . import aliases, facts, hints, mirroring, slice_index, slices
from .transaction import Object, WriteTransaction, joined, present, scan_keys
from .warnings import MOST_WARNINGS


def derive(write: WriteTransaction, kind: Kind, old: Object | None, new: Object | None) -> None:
    """Derive slices and facts from one object that was created, changed or deleted (already saved)."""
    if not write.derives:
        return
    if kind is SERVICE:
        aliases.service_changed(write, old, new)
        facts.service_changed(write, old, new)
        slices.service_changed(write, old, new)
        mirroring.service_changed(write, old, new)
    elif kind is POD:
        facts.pod_changed(write, old, new)
        slices.pod_changed(write, old, new)
    elif kind is ENDPOINTSLICE:
        slice_index.slice_changed(write, old, new)
        slices.own_slice_changed(write, old, new)
    elif kind is ENDPOINTS:
        mirroring.endpoints_changed(write, old, new)
    elif kind is NAMESPACE:
        _namespace_changed(write, old, new)


def derive_with_warnings(
    write: WriteTransaction, kind: Kind, old: Object | None, new: Object
) -> tuple[str, ...]:
    """Derive from an object that was stored; return what its writer is told of what has come of it.

    What happened is added to `write.messages`.
    """
    if not write.derives:
        return ()
    had_told = len(write.messages)
    derive(write, kind, old, new)
    if kind is POD and old is not None:
        write.messages += readiness_messages(old, new, islice(write.messages, had_told, None))
    said: tuple[str, ...] = ()
    if kind is SERVICE and "annotations" in new["metadata"]:
        said = tuple(islice(aliases.warnings(write, old, new), MOST_WARNINGS))
    if write.settings.config.api.hints and not write.dry_run:  # there, what goes with it is never stored
        found = hints.of_write(write, kind, old, new)
        write.messages += [hint.message for hint in found]
        said = (*said, *(hint.warning for hint in found))
    return said


def _namespace_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    name = present(old, new)["metadata"]["name"]
    write.touched.namespaces.add(name)
    selector = write.settings.namespace_selector
    if selector is None or old is None or new is None:
        return
    was, now = (selector.matches(o["metadata"].get("labels") or {}) for o in (old, new))
    if was == now:
        return
    for service in _objects(write, SERVICE, name):  # it came into view or left it
        aliases.service_changed(write, service, service)
        facts.service_changed(write, service, service)
        facts.refresh_endpoints(write, name, service["metadata"]["name"])
    for pod in _objects(write, POD, name):
        facts.pod_changed(write, pod, pod)


def _objects(write: WriteTransaction, kind: Kind, namespace: str) -> list[Object]:
    prefix = joined(kind.name, namespace)
    names = [key[len(prefix) :].decode() for key in scan_keys(write.txn, write.tables.objects, prefix)]
    return [found for name in names if (found := write.load(kind, namespace, name)) is not None]
