"""Kinds that are stored as another kind: the same object under other field names.

Events are kept as core/v1 has them. events.k8s.io/v1 shows the same ones, with names of its own; what is
written there has to be of the newer form: it says when something happened, who reports it and what was done,
and nothing of it changes later but the series (Kubernetes' pkg/apis/events/v1, core/validation/events.go).
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from .causes import invalid_value, required
from .errors import Cause, invalid
from .event_rules import newer_form_causes
from .kinds import Kind
from .times import canonical_micro_time

Object = dict[str, Any]

_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
"""Of core/v1, and of events.k8s.io/v1."""
_STORED_NAMES = {newer: older for older, newer in _NAMES.items()}
_DEPRECATED = tuple(name for name in _STORED_NAMES if name.startswith("deprecated"))
_FILLED_IN = ("eventTime", "series")
_TYPES = ("Normal", "Warning")
_CHANGEABLE = frozenset({"apiVersion", "kind", "metadata", "series"})


def shown(kind: Kind, obj: Object) -> Object:
    """Return a stored object as a kind shows it: the object itself where it is stored as that kind.

    What events.k8s.io/v1 requires, and strict clients miss, is filled in where core/v1 needs none: the
    eventTime of an older Event is when it was first seen.
    """
    if kind.stored is kind:
        return obj
    out = {_NAMES.get(field, field): value for field, value in obj.items()}
    if not out.get("eventTime"):
        out["eventTime"] = _first_seen(obj)
    if "series" in out:
        out["series"] = {"count": 0, "lastObservedTime": out["eventTime"], **out["series"]}
    return out | {"apiVersion": kind.api_version, "kind": kind.name}


def shown_octets(kind: Kind, octets: bytes) -> bytes:
    """Return a stored object as a kind shows it, both as JSON."""
    return octets if kind.stored is kind else msgspec.json.encode(shown(kind, msgspec.json.decode(octets)))


def _first_seen(event: Object) -> str:
    text: str = event.get("firstTimestamp") or event["metadata"]["creationTimestamp"]
    return canonical_micro_time(text.removesuffix("Z") + ".000000Z")


def renamed(kind: Kind, given: Object) -> Object:
    """Return an object that is given as a kind, or a part of one, with the names that are stored."""
    if kind.stored is kind:
        return given
    out = {_STORED_NAMES.get(field, field): value for field, value in given.items()}
    return out | {"apiVersion": kind.stored.api_version, "kind": kind.stored.name}


def stored(kind: Kind, given: Object, old: Object | None = None) -> Object:
    """Return an object that is given as a kind as it is to be stored; `old` is the stored one on an update.

    Raises StatusError 422 for what may not be written as this kind.
    """
    if kind.stored is kind:
        return given
    before = None if old is None else shown(kind, old)
    if causes := list(_causes(given, before)):
        raise invalid(kind.name, given.get("metadata", {}).get("name", ""), causes, kind.group)
    out = {"involvedObject": {}, **renamed(kind, given)}
    if old is None or before is None:
        return out
    only_shown = [field for field in _FILLED_IN if given.get(field) == before.get(field)]
    kept = {field: old[field] for field in only_shown if field in old}
    return {field: value for field, value in out.items() if field not in only_shown} | kept


def checked(kind: Kind, configuration: Object, old: Object | None) -> Object:
    """Return a configuration that is applied with the names that are stored.  Raises StatusError 422."""
    if kind.stored is not kind:
        stored(kind, configuration if old is None else {**shown(kind, old), **configuration}, old)
    return renamed(kind, configuration)


def _causes(given: Object, old: Object | None) -> Iterator[Cause]:
    """Yield what keeps an Event from being written in the newer form; `old` as this form shows it."""
    if old is None or given.get("series") != old.get("series"):
        yield from _series_causes(given.get("series"))
    if old is not None:
        for field in sorted({*given, *old} - _CHANGEABLE):
            if given.get(field) != old.get(field):
                yield invalid_value(field, given.get(field), "field is immutable")
        return
    if not given.get("eventTime"):
        yield required("eventTime")
    yield from newer_form_causes(given, "reportingController", "note")
    if given.get("type") not in _TYPES:
        yield invalid_value("type", given.get("type", ""), f"must be one of {', '.join(_TYPES)}")
    for name in _DEPRECATED:
        if given.get(name):
            yield invalid_value(name, given[name], "needs to be unset")


def _series_causes(series: Object | None) -> Iterator[Cause]:
    if series is None:
        return
    if series.get("count", 0) < 2:
        yield invalid_value("series.count", series.get("count", 0), "should be at least 2")
    if not series.get("lastObservedTime"):
        yield required("series.lastObservedTime")
