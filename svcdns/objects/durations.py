"""Durations as Kubernetes writes them: what Go's time.ParseDuration reads, `30s`, `1m30s`, `1.5h`, `500ms`.

https://pkg.go.dev/time#ParseDuration
"""

from __future__ import annotations

import re

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LONGEST = 64
"""Characters of a duration; a longer one means nothing that a shorter one can't say."""


def seconds_of(text: str) -> float:
    """Return a duration in seconds.  Raises ValueError."""
    sign, rest = (-1.0, text[1:]) if text[:1] == "-" else (1.0, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    total, at = 0.0, 0
    while len(text) <= _LONGEST and (part := _PART.match(rest, at)):
        total += float(part[1]) * _SECONDS[part[2]]
        at = part.end()
    if not rest or at < len(rest):
        raise ValueError("must be a duration such as 30s or 1m30s")
    return sign * total
