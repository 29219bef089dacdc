"""Whether what a store is kept on takes writes, and in words why not."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import lmdb

from .environment import DATA_FILE, is_read_only
from .map_size import MAP_OCTETS

_CLOSE_OCTETS = 1 << 20
"""A disk, or a limit, with less room than this is full: a transaction writes many pages at once."""
NO_SPACE = "no space left on device"
_READ_ONLY = "read-only file system"
_WORDS = {
    errno.ENOSPC: NO_SPACE,
    errno.EDQUOT: "disk quota exceeded",
    errno.EFBIG: "larger than the process may make a file (ulimit -f)",
    errno.EROFS: _READ_ONLY,
}


def why_not(failure: Exception, folder: Path) -> str:
    """Return why a write to the store in `folder` failed; "" where it is not for want of room or right."""
    if isinstance(failure, lmdb.MapFullError):
        return f"the store has its largest size, {MAP_OCTETS >> 30} GiB"
    if isinstance(failure, lmdb.ReadonlyError) or is_read_only(folder):
        return _READ_ONLY
    text = str(failure)
    for number, words in _WORDS.items():
        if getattr(failure, "errno", None) == number or os.strerror(number) in text:
            return words
    if os.strerror(errno.EIO) in text:
        # What LMDB says of a write that was cut short: the disk took a part of it, and has no room now.
        return _short_write(folder)
    return ""


def _short_write(folder: Path) -> str:
    status = os.statvfs(folder)
    if status.f_bavail * status.f_frsize < _CLOSE_OCTETS:
        return NO_SPACE
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and (folder / DATA_FILE).stat().st_size + _CLOSE_OCTETS > limit:
        return _WORDS[errno.EFBIG]
    return ""
