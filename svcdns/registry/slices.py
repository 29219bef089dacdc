"""Generated EndpointSlices: what follows from Services and Pods, kept as objects that clients can see.

Endpoints of one slice share family and ports; a slice holds at most 100.  A Service that has no endpoint of a
family has an empty slice of it, without ports.  Which slices there are, their names and who stands in which
follow from the Service and its Pods alone (cluster.slice_tree), whatever happened before: so every replica
has the same, and so has a store that is made anew.  Here is whose slices a change concerns; `slice_editor`
has those of one Service.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from svcdns.cluster import endpoints as rules
from svcdns.cluster import ready_last
from svcdns.objects.kinds import POD, SERVICE
from svcdns.store.rows import last_of, pair_key

from . import label_index
from .slice_editor import SliceEditor
from .slice_index import index_key
from .transaction import Object, WriteTransaction, present, scan_keys


def service_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Update the generated slices of a Service that was written or deleted."""
    metadata = present(old, new)["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    before, after = label_index.service_changed(write, namespace, name, old, new)
    same_shape = old is not None and new is not None and _shape(old) == _shape(new)
    if same_shape and (not after or rules.slice_labels(old or {}) == rules.slice_labels(new or {})):
        return
    if not before and not after:
        return
    editor = SliceEditor(write, present(old, new), keeps=bool(after))
    editor.load_all()
    if not editor.has_slices():
        editor.place_all(candidates(write, namespace, after))
    elif not same_shape:
        for pod_name in editor.members() if old is not None else ():
            editor.place(pod_name, write.load(POD, namespace, pod_name) if after else None)
        for pod_name, pod in candidates(write, namespace, after):  # `endpoint_of` checks the other pairs
            editor.place(pod_name, pod)
    editor.flush(present(old, new)["spec"].get("ipFamilies") or [])


def candidates(write: WriteTransaction, namespace: str, pairs: Iterable[str]) -> Iterator[tuple[str, Object]]:
    """Yield the Pods under these pairs of labels, with their names; nothing may be written meanwhile."""
    for pair in pairs:
        for key in scan_keys(write.txn, write.tables.labels, pair_key(namespace, pair)):
            pod = write.load(POD, namespace, name := last_of(key))
            if pod is not None:
                yield name, pod


def pod_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Update the slices of all Services that select a Pod, or selected it before."""
    metadata = present(old, new)["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    before, after = label_index.pod_changed(write, namespace, name, old, new)
    services = {
        last_of(key)
        for pair in before | after
        for key in scan_keys(write.txn, write.tables.selectors, pair_key(namespace, pair))
    }
    for service_name in sorted(services):
        service = write.load(SERVICE, namespace, service_name)
        if service is None or not any(p is not None and rules.selects(service, p) for p in (old, new)):
            continue
        editor = SliceEditor(write, service)
        editor.place(name, new)
        editor.flush()


def own_slice_changed(write: WriteTransaction, old: Object | None, new: Object | None) -> None:
    """Keep nobody as ready last where a user's own slice has a ready endpoint now."""
    if new is None or not rules.has_ready(new) or (rules.has_ready(old) and index_key(old) == index_key(new)):
        return
    metadata = new["metadata"]
    name = (metadata.get("labels") or {}).get(rules.SERVICE_NAME_LABEL)
    service = write.load(SERVICE, metadata["namespace"], name) if name else None
    if service is not None and rules.selector_of(service) and ready_last.keeps_last(service):
        editor = SliceEditor(write, service)
        editor.load_all()
        editor.flush()


def _shape(service: Object) -> tuple[Any, ...]:
    """Return what of a Service its generated slices follow from."""
    spec = service["spec"]
    ports = [
        (p.get("name"), p["port"], p.get("targetPort"), p.get("protocol"), p.get("appProtocol"))
        for p in spec.get("ports") or []
    ]
    published = rules.publishes_not_ready(service)
    same_node = rules.prefers_same_node(service)
    headless, keeps = spec.get("clusterIP") == "None", ready_last.keeps_last(service)
    return rules.selector_of(service), ports, spec.get("ipFamilies"), published, headless, same_node, keeps
