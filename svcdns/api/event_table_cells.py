"""The cells of an Event's row, as Kubernetes' own printer writes them.

After pkg/printers/internalversion/printers.go: printEvent.  The older form of Events has a count and two
times, the newer one an eventTime and a series; a client may write either.
"""

from __future__ import annotations

from typing import Any

from .humanize import since

Object = dict[str, Any]


def of_event(obj: Object, now: float) -> list[str]:
    """Return Last Seen, Type, Reason, Object, Message; wide: Subobject, Source, First Seen, Count, Name."""
    involved, series = obj.get("involvedObject") or {}, obj.get("series") or {}
    first = since(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if series:
        last, count = since(series.get("lastObservedTime"), now), series.get("count", 0)
    return [
        last,
        obj.get("type", ""),
        obj.get("reason", ""),
        _object(involved),
        involved.get("fieldPath", ""),
        _source(obj),
        obj.get("message", "").strip(),
        first,
        str(count),
        (obj.get("metadata") or {}).get("name", ""),
    ]


def _object(involved: Object) -> str:
    kind, name = involved.get("kind", "").lower(), involved.get("name", "")
    return f"{kind}/{name}" if name else kind


def _source(obj: Object) -> str:
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent", "")
    instance = source.get("host") or obj.get("reportingInstance", "")
    return f"{component}, {instance}" if instance else component
