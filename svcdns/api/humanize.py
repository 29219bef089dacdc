"""Words that tables of all kinds share: ages and label sets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def human_duration(seconds: float) -> str:
    """Return a duration with at most two units, as kubectl shows ages: "5s", "3m20s", "2d4h"."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 2 * _MINUTE:
        return f"{max(whole, 0)}s"
    minutes, hours = whole // _MINUTE, whole // _HOUR
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 24 * 8:
        return _two(hours // 24, "d", hours % 24, "h")
    days = hours // 24
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"


def since(timestamp: object, now: float) -> str:
    """Return how long ago an RFC 3339 timestamp was; `now` is in seconds since 1970."""
    if not isinstance(timestamp, str) or not timestamp:
        return "<unknown>"
    try:
        then = datetime.fromisoformat(timestamp).timestamp()
    except (ValueError, OverflowError):
        return "<invalid>"
    return human_duration(now - then)


def age_of(obj: Mapping[str, Any], now: float) -> str:
    """Return an object's age."""
    return since((obj.get("metadata") or {}).get("creationTimestamp"), now)


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Return labels as "a=b,c=d", sorted; "<none>" without any."""
    return ",".join(f"{name}={labels[name]}" for name in sorted(labels)) if labels else "<none>"
