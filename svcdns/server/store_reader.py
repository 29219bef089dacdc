"""The store as a process that only reads it has it: opened once the writer has made it."""

from __future__ import annotations

import logging
from pathlib import Path

import lmdb

from svcdns.store.environment import NotThere, is_read_only, open_store
from svcdns.store.snapshot import NO_SNAPSHOT, MaybeSnapshot, Snapshots
from svcdns.system.log_on_change import LogOnChange

OPEN_AGAIN_SECONDS = 0.05
"""How long to wait between two tries."""

log = logging.getLogger(__name__)


class StoreReader:
    """Begins snapshots of the store in a data folder, as soon as there is one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._logged = LogOnChange()
        self._snapshots: Snapshots | None = None

    def begin(self) -> MaybeSnapshot:
        """Begin a snapshot (a context manager), that of None while there is no store."""
        return self._snapshots.begin() if self._snapshots is not None else NO_SNAPSHOT

    @property
    def has_lock(self) -> bool:
        """Whether the writer sees what is read here: not on a read-only file system."""
        return self._snapshots is None or self._snapshots.store.has_lock

    def look_again(self) -> None:
        """To be called once a second: open the store with its lock when the disk takes writes again."""
        if self.has_lock or is_read_only(self._folder) or self._snapshots is None:
            return
        self._snapshots.store.close()
        self._snapshots = None
        self.try_to_open()

    def try_to_open(self) -> bool:
        """Open the store unless it is open; return whether it is now.  Why not is logged once."""
        if self._snapshots is not None:
            return True
        try:
            self._snapshots = Snapshots(open_store(self._folder, "reader"))
        except NotThere:
            return False
        except lmdb.Error as failed:
            if self._logged.is_new(str(failed)):
                log.error("the store can't be opened: %s; trying again", failed)
            return False
        return True
