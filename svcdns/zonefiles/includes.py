"""The files that a zone file includes (`$INCLUDE`): found in the folder of zone files, and nowhere else.

* A name is looked for in the folder of zone files (as BIND and NSD do), then beside the file that includes
  it (as Knot does).  Symbolic links are followed as long as they stay in the folder.
* Each file is read once, however often it is included; what was looked for, found or not, is remembered, so
  that whoever watches the zone file knows what else to watch.
"""

from __future__ import annotations

import os
import stat
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from svcdns.system.watched_file import MISSING, Signature, signature, signature_of

from .zone_file_error import Included

DEPTH = 20
"""Files in files."""
MOST = 10_000
"""Inclusions in one zone: nested files that include each other twice would be without end."""


class IncludeError(ValueError):
    """A file that can't be included, and why."""


class Includes:
    """What one zone file includes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._root = os.path.realpath(folder)
        self.octets: dict[str, bytes | None] = {}
        """By the path within the folder, in the order of the first look; None for what isn't there."""
        self._signatures: dict[str, Signature] = {}

    def read(self, name: str, by: str) -> tuple[str, bytes]:
        """Return path and octets of the file that the file `by` calls `name`.  Raises IncludeError."""
        for beside in dict.fromkeys((str(self._folder), os.path.dirname(by))):
            path = os.path.normpath(os.path.join(beside, name))
            if (octets := self._octets(path, name)) is not None:
                return path, octets
        raise IncludeError(f"the file {name!r} is not there")

    def _octets(self, path: str, name: str) -> bytes | None:
        real = os.path.realpath(path)
        if not real.startswith(os.path.join(self._root, "")):
            raise IncludeError(f"{name!r} is outside the folder of zone files")
        inside = os.path.relpath(path, self._folder)
        if inside not in self.octets:
            self._signatures[inside], self.octets[inside] = MISSING, None
            try:
                file = open_file(real)
                if file is not None:
                    with closing(file):
                        self._signatures[inside] = signature_of(os.fstat(file.fileno()))
                        self.octets[inside] = file.read()
            except OSError as unreadable:
                raise IncludeError(f"{name!r} can't be read: {unreadable.strerror}") from None
        return self.octets[inside]

    def included(self) -> Included:
        """Return what was looked for so far."""
        return tuple(self._signatures.items())


def open_file(path: str | Path) -> BinaryIO | None:
    """Open a file, None where there is none; never waits for a pipe.  Raises OSError for what is no file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    file = open(handle, "rb")  # noqa: SIM115  # whoever asked closes it
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise OSError(0, "it is no file")
    return file


def included_now(folder: Path, names: tuple[str, ...]) -> Included:
    """Return what these files are like now."""
    return tuple((name, signature(folder / name)) for name in names)
