"""Times, read and written as Kubernetes does: Time in whole seconds, MicroTime in microseconds, both in UTC.

Go's `time.Parse(time.RFC3339, ...)` is stricter than RFC 3339 (no lower case, no leap second), and the
encoder writes what it has read in one form: `2026-01-01T01:00:00.5+01:00` comes back as
`2026-01-01T00:00:00Z`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.,]\d{6}(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_FORM = {False: "2006-01-02T15:04:05Z", True: "2006-01-02T15:04:05.000000Z"}


def canonical_time(text: str) -> str:
    """Return a Time as Kubernetes writes it, "" for the zero time. Raises ValueError."""
    return _canonical(text, micro=False)


def canonical_micro_time(text: str) -> str:
    """Return a MicroTime as Kubernetes writes it, "" for the zero time. Raises ValueError."""
    return _canonical(text, micro=True)


def _canonical(text: str, *, micro: bool) -> str:
    try:
        if not (_MICRO_TIME if micro else _TIME).fullmatch(text):
            raise ValueError
        # The decoder of datetime takes at most six digits of a fraction, and drops others itself.
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f'is not a date and time as "{_FORM[micro]}"') from None
    moment = moment.replace(tzinfo=None)
    if not micro:
        moment = moment.replace(microsecond=0)
    if moment == datetime.min:
        return ""
    return moment.isoformat(timespec="microseconds" if micro else "seconds") + "Z"
