"""Saying that the signatures of a zone have expired: when it is loaded, and once a day.

An expired zone is served as it is: resolvers that validate refuse its answers, all others know no difference.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from .signature_times import has_expired
from .zone_rows import ZoneRecord

log = logging.getLogger(__name__)

DAY = 86_400.0


class ExpiredSignatures:
    """Remembers when it was said of which zone."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` is seconds since 1970."""
        self._clock = clock
        self._said: dict[bytes, tuple[int, float]] = {}

    def log(self, records: Mapping[bytes, ZoneRecord]) -> None:
        """Log a line for each zone of which it wasn't said for a day, or not since it was loaded."""
        now = self._clock()
        expired = {key: one for key, one in records.items() if one.signed and has_expired(one.expires, now)}
        for key, record in expired.items():
            version, said = self._said.get(key, (0, 0.0))
            if version == record.version and abs(now - said) < DAY:
                continue
            self._said[key] = record.version, now
            since = time.strftime(
                "%Y-%m-%d %H:%M:%S UTC", time.gmtime(now - (now - record.expires) % (1 << 32))
            )
            log.warning(
                "zone %s: the signatures of %s have expired at %s; resolvers that validate refuse them until "
                "%s is signed again",
                record.origin,
                record.expiring,
                since,
                record.file,
            )
        self._said = {key: said for key, said in self._said.items() if key in expired}
