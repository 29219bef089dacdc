"""What a folder of zone files holds: which files count, and whether one, or what it includes, changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from svcdns.system.watched_file import Signature, signature_of

from .file_names import origin_of
from .includes import included_now
from .zone_file_error import Included

Look = tuple[Signature, Included]
"""What differs when a zone file or a file that it includes was written, replaced, or has gone."""


def list_zone_files(folder: Path) -> dict[str, Signature]:
    """Return the zone files of a folder by name; none where the folder isn't there.

    Only *.zone, *.db and db.* count, and no dotfiles, so that an editor's own files are left alone.
    Raises OSError for a folder that can't be read.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    found = {}
    for name in names:
        if name.startswith(".") or name.endswith("~") or origin_of(name) is None:
            continue
        with suppress(OSError):  # gone again, or a link to nowhere
            status = os.stat(folder / name)
            if stat.S_ISREG(status.st_mode):
                found[name] = signature_of(status)
    return found


def look(folder: Path, included: Callable[[str], tuple[str, ...]]) -> dict[str, Look]:
    """Return how the zone files of a folder look; `included` says what a file is known to include."""
    return {
        name: (signature, included_now(folder, included(name)))
        for name, signature in list_zone_files(folder).items()
    }
