"""A data.mdb that is shorter than it says: looked at before any process maps it.

Whoever reads a map behind the end of its file dies of it (SIGBUS), workers too.  So the supervisor compares
the file's size with its meta pages, and where octets are missing lets a process of its own open the store as
the writer does: that one makes the file as long as it should be, looks at every row, and says what it found.
Standard library only, but for that process.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from svcdns.store.meta_pages import missing_octets

from .data_folder import FolderError

DATA_FILE = "data.mdb"


def refuse_cut_data(folder: Path) -> None:
    """Raise FolderError where rows are missing at the end of data.mdb."""
    try:
        missing = missing_octets(folder / DATA_FILE)
    except OSError:
        return  # there is none, or the writer says what is wrong with it
    if not missing:
        return
    looked = subprocess.run(
        [sys.executable, "-m", "svcdns.store.look", str(folder)], capture_output=True, text=True
    )
    if looked.returncode:
        text = looked.stdout.strip() or f"data.mdb was cut: {missing} octets are missing"
        raise FolderError(text)
