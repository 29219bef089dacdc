"""Times as log lines have them: RFC 3339 in UTC with milliseconds.

The text of a second is made once for all lines of that second: with some thousand lines each, that is worth
while.
"""

from __future__ import annotations

import functools
import time


def with_milliseconds(milliseconds: int) -> str:
    """Return a time, in milliseconds since 1970, as 2006-01-02T15:04:05.678Z."""
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@functools.lru_cache(maxsize=8)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
