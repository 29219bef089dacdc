"""How often a Pod promises to show that it lives: two annotations.

svcdns.io/heartbeat: 30s       it is late, and not ready, when nothing was heard of it for so long
svcdns.io/expire-after: 5m     it is deleted when nothing was heard of it for so long
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .causes import invalid_value
from .durations import seconds_of
from .errors import Cause

HEARTBEAT_ANNOTATION = "svcdns.io/heartbeat"
EXPIRE_ANNOTATION = "svcdns.io/expire-after"
_SHORTEST, _LONGEST = 1.0, 24 * 3600.0
_BOUNDS = "must be a duration from 1s to 24h, such as 30s or 1m30s"


class Heartbeat(NamedTuple):
    """What a Pod promises, in seconds."""

    period: float
    expire_after: float | None


def heartbeat_of(pod: Mapping[str, Any]) -> Heartbeat | None:
    """Return what a stored Pod promises, None where it promises nothing."""
    annotations = pod["metadata"].get("annotations") or {}
    period = _seconds(annotations.get(HEARTBEAT_ANNOTATION))
    return None if period is None else Heartbeat(period, _seconds(annotations.get(EXPIRE_ANNOTATION)))


def heartbeat_causes(annotations: Mapping[str, str]) -> Iterator[Cause]:
    """Yield what is wrong with the two annotations."""
    for name in (HEARTBEAT_ANNOTATION, EXPIRE_ANNOTATION):
        if name in annotations and _seconds(annotations[name]) is None:
            yield invalid_value(_field(name), annotations[name], _BOUNDS)
    period, expire = (_seconds(annotations.get(n)) for n in (HEARTBEAT_ANNOTATION, EXPIRE_ANNOTATION))
    if HEARTBEAT_ANNOTATION not in annotations and EXPIRE_ANNOTATION in annotations:
        text = f"needs the annotation {HEARTBEAT_ANNOTATION}"
        yield invalid_value(_field(EXPIRE_ANNOTATION), annotations[EXPIRE_ANNOTATION], text)
    elif period is not None and expire is not None and expire < period:
        text = f"must not be shorter than {HEARTBEAT_ANNOTATION}: the Pod would go before it is late"
        yield invalid_value(_field(EXPIRE_ANNOTATION), annotations[EXPIRE_ANNOTATION], text)


def _field(annotation: str) -> str:
    return f"metadata.annotations[{annotation}]"


def _seconds(text: str | None) -> float | None:
    """Return a duration within the bounds, None for any other text."""
    try:
        seconds = seconds_of(text or "")
    except ValueError:
        return None
    return seconds if _SHORTEST <= seconds <= _LONGEST else None
