"""Where the cache lies: one folder a generation, of which the one with the highest number is current.

    DATA/cache/NUMBER/data.mdb, lock.mdb    the environment (see store.py)
    DATA/cache/NUMBER/made-by               layout, boot and size of the map, and what its answers are from
    DATA/cache/opening                      there while the writer opens one

* What is damaged, of another boot, of another layout or from other upstreams is not repaired: a
  generation is made beside it, under a number that nothing had since the boot.  So no reader takes one
  for another, nor has the lock file of one and the data of another, which would let the writer reuse
  pages that are being read.
* The data file is as long as its map from the start, mostly a hole.  A shorter one has been cut and is
  not opened: reading behind the end would end the process.  The lock file is written in full before LMDB
  maps it: on a full disk, touching a hole of it would end the process too.
* Nothing is flushed to disk.  The kernel keeps what a killed writer has written; what is found after a
  boot can't be trusted, and counts as damaged.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime_ns, time

import lmdb

from svcdns.store.environment import DATA_FILE, FOLDER_MODE, MAX_READERS
from svcdns.system.replacing import atomic_write

LAYOUT = 3
"""Version of all that is stored, the packed answers (svcdns.cache.entry) included."""

_HOME = "cache"
_MADE_BY = "made-by"
_LOCK_FILE = "lock.mdb"
_OPENING = "opening"
_WAITED_SECONDS = 3.0
_LOCK_OCTETS = 64 * (MAX_READERS + 8)
"""A cache line for each reader and some for LMDB itself."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TABLES = 2

Stamp = tuple[tuple[int, ...], ...]
"""Which folder and files a generation has: of each device and inode, of files their octets too."""


class NotOurs(Exception):
    """There is no current generation, or it is damaged or was made by another boot or layout."""


def home(data: Path) -> Path:
    """Return the folder of the generations in a data folder."""
    return data / _HOME


def lock(home: Path) -> int:
    """Lock the folder of the generations, which is made where it is missing; return the lock's descriptor.

    Raises BlockingIOError where another process writes the cache, OSError for what the system refuses.
    """
    home.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_free(data: Path) -> bool:
    """Return whether no process writes the cache in a data folder."""
    try:
        os.close(lock(home(data)))
    except OSError as held:
        return not isinstance(held, BlockingIOError)
    return True


def numbers(home: Path) -> list[int]:
    """Return the numbers of the generations, least first."""
    try:
        return sorted(int(name) for name in os.listdir(home) if name.isdecimal())
    except OSError:
        return []


def open_to_read(home: Path, number: int) -> lmdb.Environment:
    """Open a generation as it is.  Raises NotOurs, and lmdb.Error or OSError for what can't be opened."""
    folder = home / str(number)
    has = (folder / DATA_FILE).stat().st_size
    if not (folder / _MADE_BY).read_bytes().startswith(_made_by(has)):
        raise NotOurs(f"{folder} was made by others, or was cut")
    return _environment(folder, has, readonly=True)


def open_to_write(home: Path, number: int, map_octets: int, source: str) -> lmdb.Environment:
    """Open a generation with a map of this size and answers from `source`; raises as `open_to_read`."""
    folder = home / str(number)
    has = (folder / DATA_FILE).stat().st_size
    if (folder / _MADE_BY).read_bytes() != _made_by(map_octets, source) or has != map_octets:
        raise NotOurs(f"{folder} was made by others or for others, or was cut")
    return _environment(folder, has, readonly=False)


def begin_opening(home: Path) -> bool:
    """Note that the current generation is about to be opened; return whether that had no end last time.

    As long as readers have it open, it may wait for ever: for what a damaged lock file says is held.  One
    that was killed meanwhile has waited for less, unless the next one comes late.
    """
    file = home / _OPENING
    try:
        had_no_end = file.exists() and time() - file.stat().st_mtime > _WAITED_SECONDS
        file.touch(mode=0o600)
    except OSError:
        return False
    return had_no_end


def end_opening(home: Path) -> None:
    """Note that opening has come to an end, whichever."""
    with suppress(OSError):
        (home / _OPENING).unlink()


def make_generation(home: Path, map_octets: int, source: str) -> lmdb.Environment:
    """Make a new generation, without tables.  Raises lmdb.Error or OSError.

    `source` says in one line where its answers come from: those from elsewhere are no good there.
    """
    home.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    folder = home / str(max(*numbers(home), 0, clock_gettime_ns(CLOCK_BOOTTIME)) + 1)
    folder.mkdir(mode=FOLDER_MODE)
    atomic_write(folder / _LOCK_FILE, bytes(_LOCK_OCTETS))
    env = _environment(folder, map_octets, readonly=False)
    try:
        os.truncate(folder / DATA_FILE, map_octets)
        atomic_write(folder / _MADE_BY, _made_by(map_octets, source))
    except OSError:
        env.close()
        raise
    return env


def set_source(env: lmdb.Environment, source: str) -> None:
    """Say where the answers of an open generation come from now.  Raises OSError."""
    file = Path(env.path()) / _MADE_BY
    atomic_write(file, _made_by(env.info()["map_size"], source))


def number_of(env: lmdb.Environment) -> int:
    """Return the number of an open generation."""
    return int(Path(env.path()).name)


def stamp(env: lmdb.Environment) -> Stamp:
    """Return which folder and files an open generation has.  Raises OSError."""
    folder = Path(env.path())
    of_folder = folder.stat()
    of_files = [(folder / name).stat() for name in (DATA_FILE, _LOCK_FILE, _MADE_BY)]
    return (
        (of_folder.st_dev, of_folder.st_ino),
        *((of_file.st_dev, of_file.st_ino, of_file.st_size) for of_file in of_files),
    )


def is_current(env: lmdb.Environment, stamped: Stamp) -> bool:
    """Say whether an open generation is the one that readers find, with the files that it had."""
    folder = Path(env.path())
    try:
        return numbers(folder.parent)[-1:] == [number_of(env)] and stamp(env) == stamped
    except OSError:
        return False


def remove_generations(home: Path, all_but: int = 0) -> None:
    """Remove what can be removed of the generations; who has one open goes on reading it."""
    import shutil  # here: with its compressors it is 0.2 MiB, and workers only read

    for number in numbers(home):
        if number != all_but:
            shutil.rmtree(home / str(number), ignore_errors=True)


def _made_by(map_octets: int, source: str | None = None) -> bytes:
    """Return what stands in the file; without a source as much as readers have to know."""
    end = "" if source is None else f"{source}\n"
    return f"{LAYOUT} {_BOOT_ID.read_text().strip()} {map_octets}\n{end}".encode()


def _environment(folder: Path, map_octets: int, *, readonly: bool) -> lmdb.Environment:
    return lmdb.open(
        str(folder),
        map_size=map_octets,
        max_readers=MAX_READERS,
        max_dbs=_TABLES,
        readonly=readonly,
        sync=False,
        metasync=False,
        mode=0o600,
        max_spare_txns=4,
    )
