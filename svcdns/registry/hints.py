"""Hints: what an object still lacks to be answered, said when it is written.

A client gets a warning with the answer ("yet": the rest may follow); an Event is written only if it is still
so a while later (see `events`).  Rules:

* a hint is given when its cause comes: a new object, another selector, labels that left, an address taken
  away; never for another write of the same object;
* nothing here reads more than a bounded number of rows, however many Pods there are; where that is not enough
  to know, nothing is said;
* the Pod that comes closest is looked for PER_SECOND times a second at most: in a bulk, few read it.

`[api] hints = false` switches all of it off.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

import msgspec

from svcdns.cluster import event_messages, reasons
from svcdns.cluster.endpoints import SERVICE_NAME_LABEL, selector_of, selects
from svcdns.cluster.event_messages import EventMessage
from svcdns.cluster.readiness import is_finished
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, POD, SERVICE, Kind
from svcdns.store import service_backing
from svcdns.store.rows import pair_key

from .transaction import Object, WriteTransaction, collection_prefix, object_key, scan, scan_keys

PER_SECOND = 10
"""How often the nearest Pod is looked for: about 0.3 ms each."""
_MOST_NEAR = 20
_MOST_SERVICES = 10
_KINDS = {kind.name: kind for kind in (SERVICE, POD, ENDPOINTSLICE)}
_SERVERS_OWN = ("default", "kubernetes")
"""Its slices are this server's business (server/own_service.py)."""


class Hint(NamedTuple):
    """What is missing: as a warning to who wrote it, and to be looked at again for an Event (`still`)."""

    warning: str
    message: EventMessage


def of_write(write: WriteTransaction, kind: Kind, old: Object | None, new: Object) -> list[Hint]:
    """Return what an object that has just been written, and derived from, lacks because of this write."""
    if kind.name not in _KINDS or (old is not None and _cause(kind, old) == _cause(kind, new)):
        return []
    found = list(_lacks(write, kind, new, "yet"))
    if kind is POD and old is not None and _labels(old) != _labels(new):
        found += _left_alone(write, old, new)
    return found


def still(write: WriteTransaction, message: EventMessage) -> EventMessage | None:
    """Return what a message that waited says by now, None where it is no longer so."""
    write.decided_on_derived = True
    subject = message.subject
    kind = _KINDS[subject.kind]
    found = write.load(kind, subject.namespace, subject.name)
    if found is None or found["metadata"]["uid"] != subject.uid:
        return None
    lacking = (hint.message for hint in _lacks(write, kind, found, ""))
    return next((one for one in lacking if one.reason == message.reason), None)


def _cause(kind: Kind, obj: Object) -> object:
    """Return what of an object decides whether it lacks something."""
    if kind is SERVICE:
        return _is_external(obj), selector_of(obj)
    return (_labels(obj), _has_address(obj)) if kind is POD else _labels(obj).get(SERVICE_NAME_LABEL)


def _lacks(write: WriteTransaction, kind: Kind, obj: Object, when: str) -> Iterator[Hint]:
    """Yield what an object lacks as things stand; `when` ends the sentence for who is to wait."""
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        return
    if kind is SERVICE:
        yield from _service_lacks(write, obj, when)
    elif kind is POD:
        if not _has_address(obj) and not is_finished(obj):
            text = reasons.without_address(metadata["name"], when)
            yield Hint(text, event_messages.no_address(obj, text))
    elif not _labels(obj).get(SERVICE_NAME_LABEL):
        text = f"metadata.labels: without {SERVICE_NAME_LABEL} no Service has these endpoints"
        yield Hint(text, event_messages.no_service(obj, text))


def _service_lacks(write: WriteTransaction, service: Object, when: str) -> Iterator[Hint]:
    namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
    if _is_external(service) or (namespace, name) == _SERVERS_OWN:
        return
    selector = selector_of(service)
    if selector is None:
        has_stored = (
            write.txn.get(object_key(ENDPOINTS, namespace, name), db=write.tables.objects) is not None
        )
        if not (has_stored or service_backing.has_slices(write.txn, write.tables, namespace, name)):
            text = reasons.without_endpoints(name, when)
            yield Hint(text, event_messages.no_endpoints(service, text))
    elif not service_backing.has_pods(write.txn, write.tables, namespace, name, selector):
        nearest = reasons.nearest(selector, _near(write, namespace, name)) if _looks.one_more() else ""
        text = reasons.without_pods(selector, nearest, when)
        yield Hint(f"Service {name}: {text}", event_messages.no_pod_matches(service, text))


def _left_alone(write: WriteTransaction, old: Object, new: Object) -> Iterator[Hint]:
    """Yield the Services that a Pod's labels matched before, and that match no Pod now."""
    namespace = new["metadata"]["namespace"]
    keys = chain.from_iterable(
        scan_keys(write.txn, write.tables.selectors, pair_key(namespace, f"{key}={value}"))
        for key, value in _labels(old).items()
    )
    for key in islice(keys, _MOST_SERVICES):
        service = write.load(SERVICE, namespace, key[:-1].rpartition(b"\0")[2].decode())
        if service is not None and selects(service, old) and not selects(service, new):
            yield from _lacks(write, SERVICE, service, "now")


def _labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def _is_external(service: Object) -> bool:
    return bool(service["spec"].get("type") == "ExternalName")


def _has_address(pod: Object) -> bool:
    status = pod.get("status") or {}
    return bool(status.get("podIP") or status.get("podIPs"))


# The Pod that comes closest


class _Metadata(msgspec.Struct):
    name: str
    labels: dict[str, str] | None = None


class _Pod(msgspec.Struct):
    metadata: _Metadata


_decode = msgspec.json.Decoder(_Pod).decode


def _near(write: WriteTransaction, namespace: str, name: str) -> Iterator[Object]:
    """Yield Pods of a namespace: those whose names come behind a Service's (web-1 behind web), the first."""
    table, prefix = write.tables.objects, collection_prefix(POD, namespace)
    alike = scan(write.txn, table, prefix, object_key(POD, namespace, name))
    for rows in (alike, scan(write.txn, table, prefix)):
        for _, octets in islice(rows, _MOST_NEAR // 2):
            metadata = _decode(octets).metadata
            yield {"metadata": {"name": metadata.name, "labels": metadata.labels or {}}}


class _Looks:
    """How often the nearest Pod has been looked for in this second."""

    def __init__(self) -> None:
        self._second, self._count = 0, 0

    def one_more(self) -> bool:
        """Return whether it may be done once more."""
        second = int(time.monotonic())
        self._count = self._count + 1 if second == self._second else 1
        self._second = second
        return self._count <= PER_SECOND


_looks = _Looks()
