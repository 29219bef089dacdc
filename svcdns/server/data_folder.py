"""The data folder as a place: made, locked by one supervisor, and given to the right user.

    lock            held by the supervisor and its children: flock; holds the supervisor's pid
    addresses.json  where the running server listens
    upgrade.json    how an upgrade goes (see upgrade_progress.py)
    forwarder.json  how the forwarder's upstreams and its cache are, once a second
    engines.json, containers.json  how engines of containers fare, and what became of each container
    cache/          forwarded answers (see svcdns.cache.store)
    data.mdb, lock.mdb  the store (see svcdns.store)

The children hold the lock too, so that a supervisor started right after one was killed waits for
the old processes to end instead of running beside them.  Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import pwd
import time
from pathlib import Path
from typing import Any

from svcdns.config.listening import ADDRESSES
from svcdns.config.sections import Endpoint
from svcdns.system.log_on_change import LogOnChange
from svcdns.system.replacing import atomic_write

from .upgrade_progress import UPGRADE

LOCK = "lock"
FORWARDER = "forwarder.json"
ENGINES, CONTAINERS = "engines.json", "containers.json"
FOLDER_MODE = 0o700
ORPHANS_SECONDS = 15.0
"""How long to wait for the processes of a supervisor that was killed."""

CANT_WRITE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""What a disk says that takes nothing more; what is on it can be read all the same."""

_READABLE = 0o644
"""Mode of what is published; the folder itself is the owner's alone."""
_OURS = {LOCK, "data.mdb"}
_FORMER_COUNTERS = "counters"
"""A file of versions before this one."""
log = logging.getLogger(__name__)


class FolderError(Exception):
    """The data folder can't be used; the text is one line for the user."""


def take(folder: Path) -> tuple[int, ...]:
    """Make the data folder where it is missing and lock it; return the descriptors that hold the locks.

    Locked are the lock file, where there is one, and the folder itself: on a read-only file system no lock
    file can be made, and it may be writable later.  A disk that is full or read-only is no reason to refuse a
    folder that is there.
    Raises FolderError when another server has it, when it is somebody else's, or can't be read.
    """
    opened: list[int] = []
    try:
        _make(folder)
        opened += filter(None, [_open_lock(folder)])
        opened.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for descriptor in opened:
            _lock(folder, descriptor, opened[0])
    except OSError as failed:
        _close(opened)
        text = f"data folder {folder} can't be used: {(failed.strerror or str(failed)).lower()}"
        raise FolderError(f"{text}; choose another with --data") from None
    except BaseException:
        _close(opened)
        raise
    _tell_pid(opened[0])
    for former in (ADDRESSES, FORWARDER, ENGINES, CONTAINERS, UPGRADE, _FORMER_COUNTERS):
        with contextlib.suppress(OSError):
            (folder / former).unlink(missing_ok=True)
    return tuple(opened)


def _close(opened: list[int]) -> None:
    for descriptor in opened:
        os.close(descriptor)


def _tell_pid(descriptor: int) -> None:
    """Write our pid over another, for which a full disk has room; `svcdns upgrade` and `_lock` read it."""
    text = f"{os.getpid()}\n".encode()
    with contextlib.suppress(OSError):
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))


def _open_lock(folder: Path) -> int | None:
    """Open the lock file; on a read-only file system to read, which is enough to lock it."""
    try:
        return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as failed:
        if failed.errno not in CANT_WRITE:
            raise
    try:
        return os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _make(folder: Path) -> None:
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    names = {name for name in os.listdir(folder) if not name.startswith(".") and name != "lost+found"}
    if names and not names & _OURS:
        # Its mode is about to be changed: never that of /tmp or of somebody's home.
        raise FolderError(
            f"data folder {folder} holds other files ({sorted(names)[0]}); "
            "choose a new or empty folder with --data"
        )
    status = folder.stat()
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        try:
            folder.chmod(FOLDER_MODE)
        except OSError as failed:
            if failed.errno not in CANT_WRITE:
                raise


def _lock(folder: Path, descriptor: int, pid_file: int) -> None:
    """Lock a descriptor; `pid_file` says who may have it.  Raises FolderError."""
    deadline = time.monotonic() + ORPHANS_SECONDS
    waiting = LogOnChange(False)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _holder(pid_file)
        if _lives(holder) or time.monotonic() > deadline:
            who = f" (process {holder})" if holder else ""
            text = f"data folder {folder} is in use by another svcdns{who}"
            raise FolderError(f"{text}; stop that, or choose another with --data") from None
        if waiting.is_new(True):
            log.info("waiting for the processes of a server that was killed to end")
        time.sleep(0.02)


def _holder(descriptor: int) -> int:
    """Return the pid in the lock file, 0 where it says none, or the descriptor is the folder's."""
    try:
        text = os.pread(descriptor, 32, 0).strip()
    except IsADirectoryError:
        return 0
    return int(text) if text.isdigit() else 0


def _lives(pid: int) -> bool:
    if pid in (0, os.getpid()):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def give_to(folder: Path, name: str) -> None:
    """As root: give the folder and all in it to a user, then become that user for good.

    Raises KeyError for a user that does not exist, OSError when the system refuses.
    """
    account = pwd.getpwnam(name)
    _give(folder, account)
    for inside, folders, files in os.walk(folder):  # follows no links
        for entry in (*folders, *files):
            _give(Path(inside, entry), account)
    os.initgroups(name, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def _give(there: Path, account: pwd.struct_passwd) -> None:
    status = there.lstat()
    if (status.st_uid, status.st_gid) != (account.pw_uid, account.pw_gid):
        os.chown(there, account.pw_uid, account.pw_gid, follow_symlinks=False)


def publish_addresses(
    folder: Path, dns: list[Endpoint], api: Endpoint, workers: int, *, tls: bool = False
) -> None:
    """Write addresses.json: where we listen, with the ports that the kernel chose.  Raises OSError."""
    here = {
        "pid": os.getpid(),
        "dns": [str(one) for one in dns],
        "api": str(api),
        "tls": tls,
        "workers": workers,
    }
    atomic_write(folder / ADDRESSES, f"{json.dumps(here)}\n".encode(), _READABLE)


def withdraw(folder: Path) -> None:
    """Take away what is only published while a server runs."""
    for published in (ADDRESSES, UPGRADE):
        with contextlib.suppress(OSError):
            (folder / published).unlink(missing_ok=True)


def publish(folder: Path, name: str, text: str) -> None:
    """Write what a process publishes (FORWARDER, ENGINES, CONTAINERS) unless it says so already.

    Raises OSError.
    """
    file = folder / name
    with contextlib.suppress(OSError):
        if file.read_text() == text:
            return
    atomic_write(file, text.encode(), _READABLE)


def published(folder: Path, name: str) -> Any:
    """Return what a process has published last, as JSON's values; None where it has published nothing."""
    try:
        return json.loads((folder / name).read_text())
    except (OSError, ValueError):
        return None


def forwarder_status(folder: Path) -> dict[str, Any]:
    """Return what the forwarder has published last; {} where it has published nothing."""
    status = published(folder, FORWARDER)
    return status if isinstance(status, dict) else {}
