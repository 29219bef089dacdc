"""Writing a file so that a reader sees the old one or the new one, never half of one.

The new file is written beside the old one and renamed.  Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Open a new file for reading and writing; it takes the place of `path` when the block has ended.

    When the block raises, the old file stays.  Raises OSError.
    """
    fresh = path.with_name(f".{path.name}.new")
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(fresh, flags, 0o600)
    try:
        with open(descriptor, "w+b") as out:
            os.fchmod(descriptor, mode)
            yield out
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def atomic_write(path: Path, octets: bytes, mode: int = 0o600) -> None:
    """Write a whole file.  Raises OSError."""
    with replacing(path, mode) as out:
        out.write(octets)
