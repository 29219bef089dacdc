"""What commands share that work on a data folder: holding it as a server does, and saying what went wrong."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from .outcome import Refused


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the data folder as a server does.  Raises Refused where one has it."""
    from svcdns.registry.backup import give_to_owner
    from svcdns.server.data_folder import LOCK, FolderError, take

    try:
        descriptors = take(folder)
    except FolderError as used:
        raise Refused(str(used)) from None
    try:
        give_to_owner(folder, LOCK)
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@contextlib.contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn what can go wrong into one line; SIGTERM ends in order, so that nothing half is left."""
    import lmdb

    from svcdns.registry.answer_tables import NewerLayout
    from svcdns.registry.backup import BackupError
    from svcdns.store.damage import Damaged
    from svcdns.store.environment import NotThere

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    except (BackupError, NewerLayout, Damaged) as wrong:
        raise Refused(str(wrong)) from None
    except NotThere as nothing:
        raise Refused(f"{nothing}; allowed: --data or --config of a server that has run") from None
    except (OSError, lmdb.Error) as failed:
        raise Refused(_failure(failed, place)) from None


def _failure(failed: Exception, place: Path) -> str:
    text = (getattr(failed, "strerror", None) or str(failed)).strip()
    where = str(getattr(failed, "filename", None) or place)
    where = str(place) if where.endswith(".new") else where  # a name of ours, which nobody has to know
    if getattr(failed, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text:
        return f"{place}: there is no room for it; nothing was changed, and nothing half is left"
    remedy = "; run it as root or as the user whose the data folder is" if "ermission" in text else ""
    return f"{where}: {text[0].lower()}{text[1:]}{remedy}"


def counted(count: int) -> str:
    """Return a number of objects in words."""
    return f"{count:,} object{'' if count == 1 else 's'}"
