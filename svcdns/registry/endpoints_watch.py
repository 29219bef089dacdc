"""Watching core/v1 Endpoints: a view that is computed, so its events follow from those of others.

Whatever happens to a Service, or to an EndpointSlice of it, is a change of its Endpoints.  An event shows
the view as it stands now, under the revision of the change; changes of one Service that are read together
are one event.  A watcher ends up with what a list shows, though it may see a state twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from svcdns.cluster.endpoints import SERVICE_NAME_LABEL
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, SERVICE
from svcdns.store import log
from svcdns.store.environment import Store

from . import reading
from .requests import Event, Selection
from .transaction import Object, decode, encode

SOURCES = (SERVICE, ENDPOINTSLICE)
"""Whose changes change Endpoints."""
MOST_SERVICES = 8
"""Services whose views are made in one go: one may have many endpoints."""


@dataclass(slots=True)
class _Change:
    """What happened to one Service, or to its slices, in the entries that are read together."""

    revision: int = 0
    before: bool | None = None
    """Whether it was there and selected before; None: nothing happened to the Service itself."""
    deleted: Object | None = None
    """The Service when it was deleted last."""


def changes(
    store: Store, entries: Iterable[tuple[int, log.Entry]], selection: Selection
) -> tuple[list[Event], int | None]:
    """Return the events of Endpoints that follow from log entries of `SOURCES`, which are in order.

    Where these are about more than MOST_SERVICES, only the first entries are looked at; the second value is
    the revision of the last of these then, and None where all were.
    """
    touched: dict[tuple[str, str], _Change] = {}
    looked_at = 0
    reached: int | None = None
    for revision, entry in entries:
        services = [(entry.namespace, service) for service in _services(entry)]
        if looked_at and len(touched.keys() | services) > MOST_SERVICES:
            reached = looked_at
            break
        looked_at = revision
        for service in services:
            change = touched.setdefault(service, _Change())
            change.revision = revision
            if entry.kind == SERVICE.name:
                _add(change, entry, selection)
    in_order = sorted(touched.items(), key=lambda item: item[1].revision)
    found = [event for at, change in in_order for event in _events(store, *at, change, selection)]
    return found, reached


def _services(entry: log.Entry) -> Iterable[str]:
    """Names of the Services whose Endpoints an entry is about; a slice can go over to another."""
    if entry.kind == SERVICE.name:
        return [decode(entry.object())["metadata"]["name"]]
    states = [decode(octets) for octets in (entry.object(), entry.before) if octets is not None]
    labels = [(state["metadata"].get("labels") or {}).get(SERVICE_NAME_LABEL) for state in states]
    return sorted({label for label in labels if label})


def _add(change: _Change, entry: log.Entry, selection: Selection) -> None:
    if change.before is None:
        change.before = entry.before is not None and selection.matches(_as_view(decode(entry.before)))
    if entry.type == "DELETED":
        change.deleted = decode(entry.object())


def _as_view(service: Object) -> Object:
    """Return a Service's metadata with the labels that its Endpoints have."""
    metadata = service["metadata"]
    labels = {**(metadata.get("labels") or {}), SERVICE_NAME_LABEL: metadata["name"]}
    return {"metadata": {**metadata, "labels": labels}}


def _events(
    store: Store, namespace: str, service: str, change: _Change, selection: Selection
) -> Iterator[Event]:
    before = change.before
    if change.deleted is not None:
        if before:
            yield _event("DELETED", reading.endpoints_of(change.deleted, []), change.revision)
        before = False
    try:
        view: Object = decode(reading.get(store, ENDPOINTS, namespace, service))
    except StatusError:
        return  # deleted meanwhile: the next entries say so
    now = selection.matches(view)
    if before is None:
        before = now
    if now:
        yield _event("MODIFIED" if before else "ADDED", view, change.revision)
    elif before:
        yield _event("DELETED", view, change.revision)


def _event(type_: str, view: Object, revision: int) -> Event:
    """Return an event; a slice that goes must not turn the clock of revisions back."""
    metadata = view["metadata"]
    shown = str(max(revision, int(metadata["resourceVersion"])))
    return Event(type_, encode({**view, "metadata": {**metadata, "resourceVersion": shown}}), revision)
