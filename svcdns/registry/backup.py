"""A copy of the store in one file, made while the server runs, and the way back.

LMDB copies what one read transaction shows, page by page, without the pages that are free.  The copy is
written beside the file that it becomes, walked through, counted, flushed to disk, and only then renamed: a
backup that did not come to its end leaves nothing, and the former one is as it was.

Who reads takes a place in the store's reader table; the writer ends workers that stay there for too long
(server.store_readers), and nobody else.

A restored store is older than what clients have seen.  So it goes on at a revision that none of them knows,
with an empty event log (watchers get 410 and list again), and its answers are made anew, with a serial ahead
of that which secondaries have.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Literal

import lmdb
import msgspec

from svcdns.objects.kinds import STORED
from svcdns.store import damage, log
from svcdns.store.damage import Damaged
from svcdns.store.environment import (
    DATA_FILE,
    FILE_MODE,
    LOCK_FILE,
    Store,
    is_read_only,
    open_file,
    open_store,
)
from svcdns.store.meta_pages import missing_octets
from svcdns.system.in_child import outcome

from . import answer_tables
from .transaction import REVISION, TIME_FORMAT, collection_prefix, read_revision, scan

MADE = b"backup"
"""In `meta` of a backup: when it was made, RFC 3339 in UTC."""
REVISIONS_AHEAD = 1 << 24
"""More writes than a server does between a backup and its loss, as a rule."""
_PROGRESS_SECONDS = 1.0

Progress = Callable[[int, int], None]
"""Is given octets that are done and octets in all, about once a second of a long work."""


class BackupError(Exception):
    """A backup or a restore that can't be; one line for the user."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup holds."""

    objects: int
    revision: int
    octets: int
    made: str
    """When, RFC 3339 in UTC; empty where it is no backup but a store's own file."""


def back_up(folder: Path, file: Path, progress: Progress) -> Contents:
    """Copy the store in a data folder to a file; return what it holds.

    Raises BackupError, NewerLayout, Damaged, NotThere where the folder holds no store, OSError, lmdb.Error.
    """
    if file.is_dir():
        raise BackupError(f"{file} is a folder; name the file that is to become the backup")
    if file.resolve().parent == folder.resolve():
        raise BackupError(f"{file} is in the data folder itself; name a file elsewhere")
    had_lock = (folder / LOCK_FILE).exists()
    store = open_store(folder, "reader")
    try:
        if not had_lock:
            give_to_owner(folder, LOCK_FILE)
        answer_tables.refuse_newer(store)
        with _beside(file) as fresh:
            _copy(store, fresh, progress)
            contents = _finish_backup(folder, fresh)
            _rename(fresh, file)
    except Exception:
        store.close()
        raise
    store.close()  # not when this is interrupted: LMDB may be copying, and the process ends anyway
    return contents


def restore(file: Path, folder: Path, keep: Path | None, progress: Progress) -> Contents:
    """Make a backup the store of a data folder that no server has; return what it holds.

    A store that is there already gets the name `keep`; there is one or the other at any moment.
    Raises BackupError, NewerLayout, OSError, lmdb.Error.
    """
    there = folder / DATA_FILE
    with _beside(there) as fresh:
        _copy_file(file, fresh, progress)
        contents = _finish_restore(file, fresh)
        if keep is not None:
            os.link(there, keep)
        (folder / LOCK_FILE).unlink(missing_ok=True)  # it tells of transactions of the store that was here
        _rename(fresh, there)
    give_to_owner(folder, DATA_FILE)
    return contents


def what_is_wrong(place: Path, *, as_copied: bool = False) -> str:
    """Return how a store (a data folder, or one file) is not whole; "" when it is, or can't be opened at all.

    It may end the process that reads it: for a child.
    """
    try:
        role: Literal["reader", "writer"] = "reader" if is_read_only(place) else "writer"
        store = open_store(place, role) if place.is_dir() else open_file(place)
        answer_tables.refuse_newer(store)
    except (*damage.OF_LMDB, Damaged) as found:
        return str(found)
    except (lmdb.Error, OSError, answer_tables.NewerLayout):
        return ""  # for the caller, who meets it too
    try:
        store.check(as_copied=as_copied)
    except (lmdb.Error, Damaged) as found:
        return str(found)
    return ""


def give_to_owner(folder: Path, name: str) -> None:
    """As root: give a file to the one whose the data folder is, or the server could not open it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(folder / name, owner.st_uid, owner.st_gid, follow_symlinks=False)


class _beside:
    """A name beside a file, for what becomes that file; what is there at the end is removed."""

    def __init__(self, file: Path) -> None:
        self._fresh = file.with_name(f".{file.name}.{os.getpid()}.new")

    def __enter__(self) -> Path:
        self._fresh.unlink(missing_ok=True)
        return self._fresh

    def __exit__(self, *error: object) -> None:
        self._fresh.unlink(missing_ok=True)


def _copy(store: Store, fresh: Path, progress: Progress) -> None:
    """Copy the store in a thread of its own, which LMDB's copying does not hold up."""
    failed: list[lmdb.Error | OSError] = []
    octets = (store.env.info()["last_pgno"] + 1) * store.env.stat()["psize"]
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)

    def copy() -> None:
        try:
            store.env.copyfd(descriptor, compact=True)
            os.fsync(descriptor)
        except (lmdb.Error, OSError) as error:
            failed.append(error)

    try:
        thread = Thread(target=copy, name="backup", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_PROGRESS_SECONDS)
            if thread.is_alive():
                progress(os.fstat(descriptor).st_size, octets)
    finally:
        if not thread.is_alive():
            os.close(descriptor)
    for error in failed:
        raise error


def _finish_backup(folder: Path, fresh: Path) -> Contents:
    """Check a copy, note when it was made, and count it under its own transactions."""
    if found := outcome(lambda: what_is_wrong(fresh, as_copied=True)):
        raise BackupError(damage.line(folder, found))
    copy = open_file(fresh)
    try:
        now = datetime.now(UTC).strftime(TIME_FORMAT)
        with copy.write() as txn:
            txn.put(MADE, now.encode(), db=copy.tables.meta)
        return _contents(copy, fresh)
    except damage.ERRORS as found:
        raise BackupError(damage.line(folder, found)) from None
    finally:
        copy.close()


def _copy_file(file: Path, fresh: Path, progress: Progress) -> None:
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with open(descriptor, "wb", buffering=0) as out, file.open("rb", buffering=0) as source:
        octets, done = os.fstat(source.fileno()).st_size, 0
        while part := source.read(16 << 20):
            rest = memoryview(part)
            while rest:
                rest = rest[out.write(rest) :]
            done += len(part)
            progress(done, octets)


def _finish_restore(file: Path, fresh: Path) -> Contents:
    """Check what is to be restored, and make it a store that goes on where no client has been."""
    if missing := missing_octets(fresh):
        raise BackupError(f"{file} was cut: {missing} octets are missing at its end")
    if found := outcome(lambda: what_is_wrong(fresh)):
        raise BackupError(f"{file} is no backup of svcdns, or damaged: {found}; nothing was changed")
    store = open_file(fresh)
    try:
        answer_tables.refuse_newer(store)
        contents = _contents(store, fresh)
        with store.write() as txn:
            _go_on_ahead(store, txn)
        store.env.sync(True)
    except damage.ERRORS as found:
        raise BackupError(
            f"{file} is no backup of svcdns, or damaged: {found}; nothing was changed"
        ) from None
    finally:
        store.close()
    return contents


def _go_on_ahead(store: Store, txn: lmdb.Transaction) -> None:
    tables = store.tables
    revision = read_revision(txn, tables) + REVISIONS_AHEAD
    txn.put(REVISION, revision.to_bytes(8), db=tables.meta)
    for table in (tables.log, tables.event_log):
        log.begin_after(txn, table, revision)
    answer_tables.have_made_anew(store, txn)
    txn.delete(MADE, db=tables.meta)


def _contents(store: Store, file: Path) -> Contents:
    """Read every object; return what there is.  Raises Damaged, or one of damage.ERRORS."""
    with store.read() as txn:
        if txn.get(answer_tables.MADE_BY, db=store.tables.meta) is None and not read_revision(
            txn, store.tables
        ):
            raise Damaged("it holds no registry")
        objects = 0
        for kind in STORED:
            for _, octets in scan(txn, store.tables.objects, collection_prefix(kind)):
                msgspec.json.decode(octets)
                objects += 1
        made = txn.get(MADE, db=store.tables.meta)
        text = "" if made is None else bytes(made).decode()
        return Contents(objects, read_revision(txn, store.tables), file.stat().st_size, text)


def _rename(fresh: Path, file: Path) -> None:
    """Give a file its name, once what it holds is on disk; the name is on disk when this returns."""
    _flush(fresh)
    fresh.replace(file)
    _flush(file.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
