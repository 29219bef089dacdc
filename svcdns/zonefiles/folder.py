"""The folder of zone files: what stands in it is served, and a file that changed is taken over.

Rules that hold here:

* a file that is refused changes nothing: the zone it gave before stays in service, and one log line
  says file, line and what is wrong;
* the folder is checked once an interval; a file is only taken once it was the same twice, with what it
  includes, so one that is still being written, or replaced by way of a rename, is left alone (`refresh` is
  for those who say that all is in place);
* files are taken in the order of their names, but one that takes long waits until the others are served; of
  two with one origin the first by name is;
* names at or below the cluster domain belong to the registry.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lmdb

from svcdns.cluster import event_messages
from svcdns.cluster.event_messages import EventMessage
from svcdns.objects.errors import StatusError
from svcdns.store.environment import Store
from svcdns.system.log_on_change import LogOnChange

from . import catalog
from .expiry import ExpiredSignatures
from .file_status import FileStatus, file_status, origin_fault
from .frames import Rows, digest_of_file
from .listing import Look, look
from .parsing import Parser, TookTooLong
from .zone_file_error import ZoneFileError
from .zone_rows import (
    CHUNK,
    ReadZone,
    ZoneRecord,
    dead_versions,
    new_version,
    put_rows,
    record_of,
    records_of,
    remove_rows,
    serving_of,
    switch,
    take_in,
    with_files,
)

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""A file whose parsing takes longer waits for the others: it is large, or there is no end to it."""

Commit = Callable[[Callable[[lmdb.Transaction], Any]], Awaitable[Any]]
"""Runs a function in the one writer thread, inside one write transaction; durable when it returns.

What the function raises undoes the transaction and comes out.
"""


@dataclass(slots=True)
class _Seen:
    """What is known of a file that was read."""

    look: Look
    error: str = ""
    waits_for: bytes = b""
    """Key of the origin that another file serves."""


class ZoneFolder:
    """Keeps the zones in the store equal to the files of a folder."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        commit: Commit,
        *,
        catalog_zone: str = "",
        interval: float = 1.0,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
        parser: Callable[[], Parser] = Parser,
        record: Callable[[Sequence[EventMessage]], None] = lambda messages: None,
        expired: ExpiredSignatures | None = None,
    ) -> None:
        """`store` was opened for writing; `interval` is seconds between checks, waited for by `pause`.

        `catalog_zone` is the origin of the catalog, "" for none.

        `record` is given what becomes of files as Events, `expired` logs which zones have old signatures.
        """
        self.folder = folder
        self.error = ""
        """Why the folder can't be read, or empty."""
        self._store = store
        self._commit = commit
        self._catalog = catalog_zone
        self._interval = interval
        self._pause = pause
        self._parser = parser
        self._record = record
        self._logged = LogOnChange()
        self._files: dict[str, _Seen] = {}
        self._listing: dict[str, Look] = {}
        self._expired = expired or ExpiredSignatures()
        self._read: list[ReadZone] = []
        self._known: tuple[int, Mapping[bytes, ZoneRecord]] = 0, {}
        """The newest transaction, and the records as of it."""
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Clear what an interrupted load left, then load what is new.

        Raises NotServing where the registry has not written `serving` yet.
        """
        async with self._lock:
            with self._store.read() as txn:
                serving_of(txn, self._store.tables)
            await self._commit(self._keep_to_records)
            await self._sweep()
        await self.refresh()

    async def run(self) -> None:
        """Check the folder once an interval, until cancelled."""
        while True:
            await self._pause(self._interval)
            try:
                await self.poll()
            except Exception:
                log.exception("zone files in %s: checking for changes failed", self.folder)

    async def refresh(self) -> None:
        """Take every change at once, and try the refused files again."""
        await self._check(settled=True)

    async def poll(self) -> None:
        """Take the changes of files that were the same twice."""
        await self._check(settled=False)

    def status(self) -> list[FileStatus]:
        """Return how each file stands, in the order of their names."""
        served = {record.file: record for record in self._records().values()}
        errors = {name: seen.error for name, seen in self._files.items()}
        return [
            file_status(name, served.get(name), errors.get(name, "")) for name in sorted({*served, *errors})
        ]

    async def _check(self, *, settled: bool) -> None:
        """Look what is there and take it; `settled`: also what has just changed, and what was refused."""
        async with self._lock:
            try:
                listing = look(self.folder, self._included())
                self.error = ""
            except OSError as unreadable:
                self.error = f"{self.folder} can't be read: {unreadable.strerror}"
            if self._logged.is_new(self.error) and self.error:
                log.error("zone files: %s; the zones stay as they are", self.error)
            if self.error:
                return
            before, self._listing = self._listing, listing
            # A pair that stands in one of the two only: a file that came, went or changed.
            unsettled = set() if settled else {name for name, _ in before.items() ^ listing.items()}
            await self._apply(unsettled, retry=settled)
            await self._keep_catalog()
            self._expired.log(self._records())

    async def _keep_catalog(self) -> None:
        """Have the catalog say which zones there are."""
        with self._store.read() as txn:
            is_due = catalog.is_due(txn, self._store.tables, self._catalog)
        if is_due:
            bring = partial(catalog.bring_up_to_date, tables=self._store.tables, origin=self._catalog)
            await self._commit(bring)
            await self._sweep()

    def _included(self) -> Callable[[str], tuple[str, ...]]:
        """Return what says which files a zone file includes, as it was when it was read."""
        stored = {record.file: record.included for record in self._records().values()}

        def included(name: str) -> tuple[str, ...]:
            if (seen := self._files.get(name)) is not None:
                return tuple(each for each, _ in seen.look[1])
            return stored.get(name, ())

        return included

    async def _apply(self, unsettled: Collection[str], *, retry: bool) -> None:
        for name in self._files.keys() - self._listing.keys():
            del self._files[name]
        again = {name for name, seen in self._files.items() if retry and seen.error}
        changed = False
        late: list[tuple[str, Look]] = []
        async with self._parser() as parser:
            for name, found in sorted(self._listing.items()):
                if name not in again and (name in unsettled or not self._is_due(name, found)):
                    continue
                try:
                    changed |= await self._take(name, found, parser, PATIENCE_SECONDS)
                except TookTooLong:
                    late.append((name, found))
            await self._switch()
            for name, found in late:
                changed |= await self._take(name, found, parser)
                await self._switch()
        # Last, so that a zone whose file was renamed has no gap.
        changed |= await self._drop_missing(unsettled)
        if changed:
            await self._sweep()

    def _is_due(self, name: str, found: Look) -> bool:
        seen = self._files.get(name)
        if seen is None or seen.look != found:
            return True
        return bool(seen.waits_for) and not self._holder(seen.waits_for, name)

    def _records(self) -> Mapping[bytes, ZoneRecord]:
        with self._store.read() as txn:
            if self._known[0] != txn.id():
                records = records_of(txn, self._store.tables)
                of_files = {key: one for key, one in records.items() if one.file != catalog.NO_FILE}
                self._known = txn.id(), of_files
        return self._known[1]

    def _holder(self, key: bytes, name: str) -> str:
        """Return the file that keeps `name` from serving an origin, or an empty text."""
        record = self._records().get(key)
        return record.file if record and record.file < name and record.file in self._listing else ""

    async def _drop_missing(self, unsettled: Collection[str]) -> bool:
        gone = {
            key: record
            for key, record in self._records().items()
            if record.file not in self._listing and record.file not in unsettled
        }
        if not gone:
            return False
        await self._commit(lambda txn: switch(txn, self._store.tables, {}, gone.keys()))
        for record in gone.values():
            log.info("zone %s is no longer served: %s is gone", record.origin, record.file)
            self._record([event_messages.zone_file_gone(record.file, record.origin)])
        return True

    async def _take(self, name: str, found: Look, parser: Parser, patience: float | None = None) -> bool:
        """Load one file if its text is new; return whether rows may have been left to remove.

        Raises TookTooLong after so many seconds of patience (None: it has as long as a file may take).
        """
        seen = self._files[name] = _Seen(found)
        try:
            for record in [record for record in self._records().values() if record.file == name]:
                path = self.folder / name
                if await asyncio.to_thread(digest_of_file, path, record.included) == record.digest:
                    return False
            await self._load(name, seen, parser, patience)
        except FileNotFoundError:
            del self._files[name]  # the next check will not list it
            return False
        except ZoneFileError as refused:
            if patience is not None and isinstance(refused, TookTooLong):
                raise
            if refused.included:
                seen.look = found[0], refused.included
            self._refuse(name, str(refused))
        except (lmdb.Error, OSError, StatusError) as failed:
            self._refuse(name, f"{self.folder / name}: can't be stored: {failed}")
        return True

    def _refuse(self, name: str, error: str) -> None:
        self._files[name].error = error
        stays = "nothing is served from it"
        for kept in self._records().values():
            if kept.file == name:
                stays = f"{kept.origin} stays as it was, serial {kept.serial}"
        log.error("zone file refused: %s; %s", error, stays)
        text = f"{error.removeprefix(f'{self.folder}{os.sep}')}; {stays}"
        self._record([event_messages.zone_file_refused(name, text)])

    async def _load(self, name: str, seen: _Seen, parser: Parser, patience: float | None) -> None:
        """Read a file; what was read is in service after the next `_switch`, at the latest."""
        path, tables = self.folder / name, self._store.tables
        async with parser.parse(path, patience) as zone:
            head = zone.head
            seen.look = seen.look[0], head.included
            holder = self._holder(head.key, name)
            if any(head.key == one.key or holder == one.record.file for one in self._read):
                await self._switch()
            with self._store.read() as txn:
                serving, version = serving_of(txn, tables), new_version(txn, tables)
            if text := origin_fault(head.key, head.origin, serving.zones, self._catalog):
                raise ZoneFileError(str(path), 0, text)
            if holder := self._holder(head.key, name):
                seen.waits_for = head.key
                raise ZoneFileError(str(path), 0, f"{head.origin} is served from {holder} already")
            version = max(version, *(one.record.version + 1 for one in self._read), 0)
            rows: Rows = []
            async for frame in zone.frames():
                if rows:
                    await self._commit(partial(put_rows, tables=tables, version=version, rows=rows))
                rows = frame
        self._read.append(ReadZone(head.key, record_of(name, head, version), rows, head.remarks))
        if sum(len(one.rows) for one in self._read) >= CHUNK:
            await self._switch()

    async def _switch(self) -> None:
        """Bring all that was read into service, in one transaction."""
        read, self._read = self._read, []
        if not read:
            return
        records = self._records()
        put = {one.key: one.record for one in read}
        names = {one.record.file for one in read}
        former = [key for key, old in records.items() if old.file in names and key not in put]
        try:
            await self._commit(partial(take_in, tables=self._store.tables, read=read, former=former))
        except (lmdb.Error, OSError, StatusError) as failed:
            for name in sorted(names):
                self._refuse(name, f"{self.folder / name}: can't be stored: {failed}")
            return
        for one in read:
            self._say_loaded(one, records.get(one.key))

    def _say_loaded(self, one: ReadZone, replaced: ZoneRecord | None) -> None:
        name, origin, serial = one.record.file, one.record.origin, one.record.serial
        log.info("zone %s is served from %s: serial %d, %d names", origin, name, serial, one.record.rows)
        if one.remarks:
            log.warning("zone %s from %s: %s", origin, name, "; ".join(one.remarks))
        self._record([event_messages.zone_file_loaded(name, origin, serial)])
        if replaced is not None and replaced.file != name and replaced.file in self._files:
            self._files[replaced.file].waits_for = one.key
            path = self.folder / replaced.file
            self._refuse(replaced.file, f"{path}: {origin} is served from {name} already")

    def _keep_to_records(self, txn: lmdb.Transaction) -> None:
        """Take out zones that the configuration forbids by now, and bring `serving` up to the records."""
        tables = self._store.tables
        zones, records = serving_of(txn, tables).zones, records_of(txn, tables)
        forbidden = [key for key, record in records.items() if origin_fault(key, record.origin, zones)]
        if forbidden or with_files(zones, records) != zones:
            switch(txn, tables, {}, forbidden)

    async def _sweep(self) -> None:
        """Remove the rows of versions that nothing reads any more."""
        tables = self._store.tables
        with self._store.read() as txn:
            dead = dead_versions(txn, tables)
        for version in dead:
            while await self._commit(partial(remove_rows, tables=tables, version=version)):
                pass
