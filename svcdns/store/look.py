"""Opens a store as the writer does, looks at every row, and says on stdout what is wrong; exit code 1 then.

A process of its own, since what is damaged may end the process that reads it:
`python -m svcdns.store.look FOLDER`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from . import damage
from .environment import is_read_only, open_store


def main(folder: Path) -> int:
    """Return the exit code."""
    try:
        store = open_store(folder, "reader" if is_read_only(folder) else "writer")
        store.check()
        store.close()
    except (*damage.OF_LMDB, damage.Damaged) as found:
        print(damage.line(folder, found))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
