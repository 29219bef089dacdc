"""The folder of zone files: what stands in it is served, and a file that changed is taken over.

Rules that hold here:

* a file that is refused changes nothing: the zone it gave before stays in service, and one log line
  says file, line and what is wrong;
* the folder is looked at once an interval; a file is only taken once it looked the same twice, so
  one that is still being written, or replaced by way of a rename, is left alone (`refresh` is for
  those who say that all is in place);
* files are taken in the order of their names; of two with one origin the first is served;
* names at or below the cluster domain belong to the registry.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import lmdb

from svcdns.cluster import event_messages
from svcdns.cluster.event_messages import EventMessage
from svcdns.objects.errors import StatusError
from svcdns.store.environment import Store
from svcdns.store.snapshot import Zone
from svcdns.wire.key import key_of

from .master_file import ZoneFileError, origin_of
from .parser import LIMITS, PARSER, Limits, ZoneHead, digest_of_file, parse
from .zone_rows import (
    ZoneRecord,
    dead_versions,
    new_version,
    put_rows,
    records_of,
    remove_rows,
    serving_of,
    switch,
    with_files,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
Signature = tuple[int, int, int, int]
"""What differs when a file was written or replaced: mtime and ctime (ns), size, inode."""


class Commit(Protocol):
    """Runs a function in the one writer thread, inside one write transaction; durable when it returns."""

    def __call__(self, write: Callable[[lmdb.Transaction], T], /) -> Awaitable[T]:
        """`write` is given the transaction; what it raises undoes the transaction and comes out here."""


@dataclass(frozen=True, slots=True)
class FileStatus:
    """How a zone file stands: `origin`, `serial` and `rows` are those in service, "" and 0 if none is."""

    file: str
    origin: str = ""
    serial: int = 0
    rows: int = 0
    error: str = ""
    """Why the file as it is now is refused ("file:line: what"), or empty."""

    @property
    def state(self) -> str:
        """Return "loaded", or "refused"."""
        return "refused" if self.error else "loaded"


@dataclass(slots=True)
class _Seen:
    """What is known of a file that was looked into."""

    signature: Signature
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
        interval: float = 1.0,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
        limits: Limits = LIMITS,
        parser: Sequence[str] = PARSER,
        record: Callable[[Sequence[EventMessage]], None] = lambda messages: None,
    ) -> None:
        """`store` was opened for writing; `interval` is seconds between looks, waited for by `pause`.

        `record` is given what becomes of files as Events.
        """
        self.folder = folder
        self.error = ""
        """Why the folder can't be read, or empty."""
        self._store = store
        self._commit = commit
        self._interval = interval
        self._pause = pause
        self._limits = limits
        self._parser = parser
        self._record = record
        self._files: dict[str, _Seen] = {}
        self._listing: dict[str, Signature] = {}
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
        """Look at the folder once an interval, until cancelled."""
        while True:
            await self._pause(self._interval)
            try:
                await self.poll()
            except Exception:
                log.exception("zone files in %s: looking for changes failed", self.folder)

    async def refresh(self) -> None:
        """Take every change at once, and try the refused files again."""
        async with self._lock:
            listing = self._look()
            if listing is not None:
                self._listing = listing
                await self._apply(unsettled=(), retry=True)

    async def poll(self) -> None:
        """Take the changes of files that have looked the same twice."""
        async with self._lock:
            listing = self._look()
            if listing is None:
                return
            before, self._listing = self._listing, listing
            unsettled = {
                name for name in before.keys() | listing.keys() if before.get(name) != listing.get(name)
            }
            await self._apply(unsettled, retry=False)

    def status(self) -> list[FileStatus]:
        """Return how each file stands, in the order of their names."""
        with self._store.read() as txn:
            served = {record.file: record for record in records_of(txn, self._store.tables).values()}
        errors = {name: seen.error for name, seen in self._files.items()}
        return [_status(name, served.get(name), errors.get(name, "")) for name in sorted({*served, *errors})]

    def _look(self) -> dict[str, Signature] | None:
        """Return the zone files that are there; None where the folder can't be read."""
        try:
            listing = list_zone_files(self.folder)
        except OSError as unreadable:
            error = f"{self.folder} can't be read: {unreadable.strerror}"
            if error != self.error:
                log.error("zone files: %s; the zones stay as they are", error)
            self.error = error
            return None
        self.error = ""
        return listing

    async def _apply(self, unsettled: Collection[str], *, retry: bool) -> None:
        listing = self._listing
        for name in self._files.keys() - listing.keys():
            del self._files[name]
        again = {name for name, seen in self._files.items() if retry and seen.error}
        changed = False
        for name, signature in sorted(listing.items()):
            if name in again or (name not in unsettled and self._is_due(name, signature)):
                changed |= await self._take(name, signature)
        # Last, so that a zone whose file was renamed has no gap.
        changed |= await self._drop_missing(unsettled)
        if changed:
            await self._sweep()

    def _is_due(self, name: str, signature: Signature) -> bool:
        seen = self._files.get(name)
        if seen is None or seen.signature != signature:
            return True
        return bool(seen.waits_for) and not self._holder(seen.waits_for, name)

    def _records(self) -> dict[bytes, ZoneRecord]:
        with self._store.read() as txn:
            return records_of(txn, self._store.tables)

    def _holder(self, key: bytes, name: str) -> str:
        """Return the file that keeps `name` from serving an origin, or an empty text."""
        record = self._records().get(key)
        holds = record is not None and record.file < name and record.file in self._listing
        return record.file if record is not None and holds else ""

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

    async def _take(self, name: str, signature: Signature) -> bool:
        """Load one file if its text is new; return whether rows may have been left to remove."""
        seen = self._files[name] = _Seen(signature)
        try:
            stored = [record.digest for record in self._records().values() if record.file == name]
            if await asyncio.to_thread(digest_of_file, self.folder / name) in stored:
                return False
            await self._load(name, seen)
        except FileNotFoundError:
            del self._files[name]  # the next look will not list it
            return False
        except ZoneFileError as refused:
            self._refuse(name, str(refused))
        except (lmdb.Error, OSError, StatusError) as failed:
            self._refuse(name, f"{self.folder / name}: can't be stored: {failed}")
        return True

    def _refuse(self, name: str, error: str) -> None:
        self._files[name].error = error
        kept = next((record for record in self._records().values() if record.file == name), None)
        stays = (
            f"{kept.origin} stays as it was, serial {kept.serial}" if kept else "nothing is served from it"
        )
        log.error("zone file refused: %s; %s", error, stays)
        text = f"{error.removeprefix(f'{self.folder}{os.sep}')}; {stays}"
        self._record([event_messages.zone_file_refused(name, text)])

    async def _load(self, name: str, seen: _Seen) -> None:
        tables = self._store.tables
        async with parse(self.folder / name, self._limits, self._parser) as zone:
            self._check_origin(name, zone.head, seen)
            with self._store.read() as txn:
                version = new_version(txn, tables)
            async for rows in zone.frames():
                await self._commit(partial(put_rows, tables=tables, version=version, rows=rows))
        await self._switch_to(name, zone.head, version)

    def _check_origin(self, name: str, head: ZoneHead, seen: _Seen) -> None:
        with self._store.read() as txn:
            serving = serving_of(txn, self._store.tables)
        path = str(self.folder / name)
        if text := origin_fault(head.key, head.origin, serving.zones):
            raise ZoneFileError(path, 0, text)
        if holder := self._holder(head.key, name):
            seen.waits_for = head.key
            raise ZoneFileError(path, 0, f"{head.origin} is served from {holder} already")

    async def _switch_to(self, name: str, head: ZoneHead, version: int) -> None:
        records = self._records()
        record = ZoneRecord(
            file=name,
            digest=head.digest,
            origin=head.origin,
            serial=head.serial,
            version=version,
            rows=head.rows,
            cuts=head.cuts,
            wildcards=head.wildcards,
        )
        former = [key for key, old in records.items() if old.file == name and key != head.key]
        await self._commit(lambda txn: switch(txn, self._store.tables, {head.key: record}, former))
        log.info("zone %s is served from %s: serial %d, %d names", head.origin, name, head.serial, head.rows)
        self._record([event_messages.zone_file_loaded(name, head.origin, head.serial)])
        replaced = records.get(head.key)
        if replaced is not None and replaced.file != name and replaced.file in self._files:
            self._files[replaced.file].waits_for = head.key
            path = self.folder / replaced.file
            self._refuse(replaced.file, f"{path}: {head.origin} is served from {name} already")

    def _keep_to_records(self, txn: lmdb.Transaction) -> None:
        """Take out zones that the configuration forbids by now, and bring `serving` up to the records."""
        tables = self._store.tables
        serving = serving_of(txn, tables)
        records = records_of(txn, tables)
        forbidden = [
            key for key, record in records.items() if origin_fault(key, record.origin, serving.zones)
        ]
        if forbidden or with_files(serving.zones, records) != serving.zones:
            switch(txn, tables, {}, forbidden)

    async def _sweep(self) -> None:
        """Remove the rows of versions that nothing reads any more."""
        tables = self._store.tables
        with self._store.read() as txn:
            dead = dead_versions(txn, tables)
        for version in dead:
            while await self._commit(partial(remove_rows, tables=tables, version=version)):
                pass


def _status(name: str, record: ZoneRecord | None, error: str) -> FileStatus:
    if record is None:
        return FileStatus(name, error=error)
    return FileStatus(name, record.origin, record.serial, record.rows, error)


def list_zone_files(folder: Path) -> dict[str, Signature]:
    """Return the zone files of a folder by name; none where the folder isn't there.

    Only *.zone, *.db and db.* count, and no dotfiles, so that an editor's own files are left alone.
    Raises OSError for a folder that can't be read.
    """
    found = {}
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return {}
    for name in names:
        if name.startswith(".") or name.endswith("~") or origin_of(name) is None:
            continue
        try:
            facts = os.stat(folder / name)
        except OSError:
            continue  # gone again, or a link to nowhere
        if stat.S_ISREG(facts.st_mode):
            found[name] = (facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino)
    return found


def origin_fault(key: bytes, origin: str, zones: Sequence[Zone]) -> str:
    """Return why a file can't serve an origin beside the registry's zones, or an empty text."""
    for zone in zones:
        if zone.kind == "cluster" and key.startswith(zone.key):
            return f"{origin} is at or below the cluster domain {zone.origin}, which the registry serves"
        if zone.kind == "reverse" and key == zone.key:
            return f"{origin} is one of dns.reverse_zones, which the registry serves"
    return ""


async def check_zone_files(
    folder: Path,
    cluster_domain: str,
    reverse_zones: Sequence[str],
    limits: Limits = LIMITS,
    parser: Sequence[str] = PARSER,
) -> list[FileStatus]:
    """Parse every zone file of a folder without a store; what `svcdns check` shows."""
    zones = [Zone(cluster_domain, key_of(cluster_domain), "cluster")]
    zones += [Zone(origin, key_of(origin), "reverse") for origin in reverse_zones]
    served: dict[bytes, str] = {}
    found = []
    for name in sorted(list_zone_files(folder)):
        try:
            async with parse(folder / name, limits, parser) as zone:
                head = zone.head
                text = origin_fault(head.key, head.origin, zones)
                if not text and head.key in served:
                    text = f"{head.origin} is served from {served[head.key]} already"
                if text:
                    raise ZoneFileError(str(folder / name), 0, text)
        except ZoneFileError as refused:
            found.append(FileStatus(name, error=str(refused)))
            continue
        served[head.key] = name
        found.append(FileStatus(name, head.origin, head.serial, head.rows))
    return found
