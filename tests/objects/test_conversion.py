"""Events under the names of events.k8s.io/v1: the same objects there and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from objects.samples import changed
from toolbox.schema_values import objects_of

from svcdns.objects import conversion
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import EVENT, NEWER_EVENT, SERVICE
from svcdns.objects.schema import structure

NEWER: dict[str, Any] = {
    "apiVersion": "events.k8s.io/v1",
    "kind": "Event",
    "metadata": {"name": "a", "namespace": "default"},
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "reportingController": "example.org/controller",
    "reportingInstance": "controller-1",
    "action": "Bind",
    "reason": "Bound",
    "note": "something happened",
    "type": "Normal",
    "regarding": {"kind": "Pod", "namespace": "default", "name": "web-1"},
}
OLDER: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "b", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:02Z"},
    "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-1"},
    "reason": "Pulled",
    "message": "an image",
    "source": {"component": "kubelet"},
    "firstTimestamp": "2026-01-01T00:00:01Z",
    "lastTimestamp": "2026-01-01T00:00:03Z",
    "count": 2,
    "type": "Normal",
    "reportingComponent": "kubelet",
}


def refused(obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    """Return the fields for which it can't be written as this kind."""
    try:
        conversion.stored(NEWER_EVENT, obj, old)
    except StatusError as error:
        assert error.code == 422
        return [cause.field for cause in error.causes]
    return []


def test_names() -> None:
    stored = conversion.stored(NEWER_EVENT, NEWER)
    assert stored == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": NEWER["metadata"],
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingComponent": "example.org/controller",
        "reportingInstance": "controller-1",
        "action": "Bind",
        "reason": "Bound",
        "message": "something happened",
        "type": "Normal",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-1"},
    }
    assert conversion.shown(NEWER_EVENT, stored) == NEWER


def test_an_older_event_is_shown_whole() -> None:
    shown = conversion.shown(NEWER_EVENT, OLDER)
    assert shown["eventTime"] == "2026-01-01T00:00:01.000000Z", (
        "when it was first seen: the field is required"
    )
    assert shown["deprecatedSource"] == {"component": "kubelet"}
    assert shown["deprecatedCount"] == 2
    assert structure(NEWER_EVENT, shown, "Strict") == (shown, ())
    assert conversion.stored(NEWER_EVENT, shown, OLDER) == OLDER, "what is only shown is not stored"
    never = {key: value for key, value in OLDER.items() if key != "firstTimestamp"}
    assert conversion.shown(NEWER_EVENT, never)["eventTime"] == "2026-01-01T00:00:02.000000Z"


def test_an_event_about_nothing_is_stored() -> None:
    assert conversion.stored(NEWER_EVENT, changed(NEWER, "regarding", ...))["involvedObject"] == {}


@given(objects_of(EVENT))
def test_there_and_back(body: Any) -> None:
    try:
        stored, _ = structure(EVENT, body, "Ignore", fill_kind=True)
    except StatusError:
        return
    metadata = {**stored.get("metadata", {}), "creationTimestamp": "2026-01-01T00:00:00Z"}
    stored = {"involvedObject": {}, **stored, "metadata": metadata}
    shown = conversion.shown(NEWER_EVENT, stored)
    assert structure(NEWER_EVENT, shown, "Strict") == (shown, ())
    assert conversion.stored(NEWER_EVENT, shown, stored) == stored


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("eventTime", ..., "eventTime"),
        ("reportingController", ..., "reportingController"),
        ("reportingController", "a b", "reportingController"),
        ("reportingInstance", "", "reportingInstance"),
        ("reportingInstance", "x" * 129, "reportingInstance"),
        ("action", ..., "action"),
        ("reason", ..., "reason"),
        ("note", "x" * 1025, "note"),
        ("type", ..., "type"),
        ("type", "Odd", "type"),
        ("deprecatedCount", 1, "deprecatedCount"),
        ("deprecatedSource", {"component": "a"}, "deprecatedSource"),
        ("deprecatedFirstTimestamp", "2026-01-01T00:00:00Z", "deprecatedFirstTimestamp"),
        ("series", {"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}, "series.count"),
        ("series", {"count": 2}, "series.lastObservedTime"),
    ],
)
def test_what_the_newer_form_needs(path: str, value: Any, field: str) -> None:
    assert refused(changed(NEWER, path, value)) == [field]


@pytest.mark.parametrize("field", ["regarding", "note", "reason", "action", "type", "eventTime", "related"])
def test_only_the_series_changes_later(field: str) -> None:
    old = conversion.stored(NEWER_EVENT, NEWER)
    other = {"name": "x"} if field in ("regarding", "related") else "2026-01-01T00:00:01.000000Z"
    assert refused(changed(NEWER, field, other), old) == [field]
    series = {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}
    assert refused(changed(NEWER, "series", series), old) == []
    assert refused(changed(NEWER, "metadata.labels", {"a": "b"}), old) == []


def test_other_kinds_are_what_they_are() -> None:
    obj = {"apiVersion": "v1", "kind": "Service", "count": 1}
    assert conversion.stored(SERVICE, obj) is conversion.shown(SERVICE, obj) is obj
    assert conversion.stored(EVENT, OLDER) is conversion.shown(EVENT, OLDER) is OLDER
    assert conversion.shown_octets(EVENT, b"{}") == b"{}"
