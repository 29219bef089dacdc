"""Beginning a snapshot where an error must not cost a transport its life.

A store that can't be read (not created yet, reader table full, damaged) makes the answer SERVFAIL,
not silence; the log says so once, and once more when it is over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from .snapshot import Snapshot

log = logging.getLogger(__name__)

Begin = Callable[[], Snapshot | None]
"""Begins a snapshot; None while there is no store to read."""


def never_raising(begin: Begin) -> Begin:
    """Return a `begin` that gives None where the given one raises."""
    failing = False

    def begin_or_none() -> Snapshot | None:
        nonlocal failing
        try:
            snapshot = begin()
        except Exception:
            if not failing:
                log.exception("the store can't be read; answering SERVFAIL")
            failing = True
            return None
        if failing:
            log.warning("the store can be read again")
            failing = False
        return snapshot

    return begin_or_none
