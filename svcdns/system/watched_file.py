"""Seeing that a file has changed: one stat instead of reading it again.

Standard library only.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

Signature = tuple[int, int, int, int, int]
"""What differs when a file was written or replaced: device, inode, size, mtime and ctime (ns)."""

MISSING: Signature = (0, 0, 0, 0, 0)
SETTLED_NANOSECONDS = 2_000_000_000
"""A file that changed less than this ago may change again under the same time stamp: those of some file
systems are no finer."""


def signature_of(status: os.stat_result) -> Signature:
    """Return the signature of a file that was looked up."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def signature(path: Path) -> Signature:
    """Return the signature of a file; MISSING where there is none, or none that can be looked up."""
    try:
        return signature_of(os.stat(path))
    except (OSError, ValueError):
        return MISSING


class WatchedFile:
    """One file, or several that belong together, and whether they have changed."""

    def __init__(self, *paths: Path) -> None:
        """Nothing is looked up yet."""
        self._paths = paths
        self._seen: tuple[Signature, ...] | None = None
        self._taken: tuple[Signature, ...] | None = None

    def _now(self) -> tuple[Signature, ...]:
        return tuple(signature(path) for path in self._paths)

    def changed(self) -> bool:
        """Return whether to read the file: it is not known to be as at the last call.

        So it is True at first, and again as long as a change is so fresh that another one would leave the
        same time stamp.
        """
        now = self._now()
        if now == self._seen:
            return False
        settled = all(abs(time.time_ns() - each[3]) > SETTLED_NANOSECONDS for each in now)
        self._seen = now if settled else None
        return True

    def forget(self) -> None:
        """Let the next call of `changed` return True: what was read is not to be kept."""
        self._seen = None

    def changed_and_stays(self) -> bool:
        """Return whether the files are others than the last time this was True, and as at the last call.

        The first call takes them as they are.  So a pair of files that is being copied is left alone until
        both are there.
        """
        now, before = self._now(), self._seen
        self._seen = now
        if self._taken is None:
            self._taken = now
        if now == self._taken or now != before:
            return False
        self._taken = now
        return True
