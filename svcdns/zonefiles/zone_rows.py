"""Zone files in the store: which zones there are, their rows, and switching from old rows to new ones.

    zones      key of an origin -> ZoneRecord
    zone_rows  version u32, key -> packed row; NSEC3 records under keys of their own (svcdns.names.nsec3)

A zone is loaded under a version that nobody reads yet, in transactions of at most CHUNK rows; the last one,
which small zones share, also changes the records and `serving` (`switch`), and the rows that no record names
any more are removed in chunks.  A load that was interrupted leaves only such rows.
Each function runs inside a transaction that the caller began.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import lmdb
import msgspec

from svcdns.store.environment import Tables
from svcdns.store.snapshot import Nsec3Parameters, Serving, Zone, read_serving, write_serving

from .frames import Rows, ZoneHead

CHUNK = 500
"""Rows a transaction."""


class ZoneRecord(msgspec.Struct, array_like=True, frozen=True):
    """One zone in service, and the file it came from (a name in the folder of zone files)."""

    file: str
    digest: bytes
    origin: str
    serial: int
    version: int
    rows: int
    cuts: bool
    wildcards: bool
    signed: bool = False
    nsec3: Nsec3Parameters | None = None
    expires: int = 0
    """When an RRset is first without a valid signature: unix time modulo 2**32 (svcdns.zonefiles.signing)."""
    expiring: str = ""
    included: tuple[str, ...] = ()
    """Files that it includes: paths within the folder of zone files."""


@dataclass(frozen=True, slots=True)
class ReadZone:
    """A zone that was read, and is to be in service with the next transaction."""

    key: bytes
    record: ZoneRecord
    rows: Rows
    """Those that are not in the store yet."""
    remarks: tuple[str, ...]


def record_of(file: str, head: ZoneHead, version: int) -> ZoneRecord:
    """Return the record of a zone as the parser has it."""
    return ZoneRecord(
        file=file,
        digest=head.digest,
        origin=head.origin,
        serial=head.serial,
        version=version,
        rows=head.rows,
        cuts=head.cuts,
        wildcards=head.wildcards,
        signed=head.signed,
        nsec3=head.nsec3,
        expires=head.expires,
        expiring=head.expiring,
        included=tuple(included for included, _ in head.included),
    )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ZoneRecord).decode


class NotServing(RuntimeError):
    """`serving` is not there yet: the registry has to write it before zones are loaded."""


def serving_of(txn: lmdb.Transaction, tables: Tables) -> Serving:
    """Return `serving`, or raise NotServing."""
    serving = read_serving(txn, tables)
    if serving is None:
        raise NotServing("zone files can't be loaded before the registry")
    return serving


def records_of(txn: lmdb.Transaction, tables: Tables) -> dict[bytes, ZoneRecord]:
    """Return the zones from files by the key of their origin."""
    with txn.cursor(db=tables.zones) as cursor:
        return {bytes(key): _decode(value) for key, value in cursor}


def record_at(txn: lmdb.Transaction, tables: Tables, key: bytes) -> ZoneRecord | None:
    """Return the zone from a file whose origin has this key."""
    octets = txn.get(key, db=tables.zones)
    return None if octets is None else _decode(octets)


def new_version(txn: lmdb.Transaction, tables: Tables) -> int:
    """Return a version that no row and no record has."""
    used = [record.version for record in records_of(txn, tables).values()]
    with txn.cursor(db=tables.zone_rows) as cursor:
        if cursor.last():
            used.append(int.from_bytes(cursor.key()[:4]))
    return max(used, default=0) + 1


def put_rows(
    txn: lmdb.Transaction, tables: Tables, version: int, rows: Iterable[tuple[bytes, bytes]]
) -> None:
    """Write rows of a version."""
    prefix = version.to_bytes(4)
    for key, row in rows:
        txn.put(prefix + key, row, db=tables.zone_rows)


def switch(
    txn: lmdb.Transaction, tables: Tables, put: Mapping[bytes, ZoneRecord], drop: Collection[bytes]
) -> None:
    """Bring zones into service and take others out, records and `serving` together."""
    for key in drop:
        txn.delete(key, db=tables.zones)
    for key, record in put.items():
        txn.put(key, _encode(record), db=tables.zones)
    serving = serving_of(txn, tables)
    zones = with_files(serving.zones, records_of(txn, tables))
    write_serving(txn, tables, msgspec.structs.replace(serving, zones=zones, epoch=serving.epoch + 1))


def take_in(
    txn: lmdb.Transaction, tables: Tables, read: Iterable[ReadZone], former: Collection[bytes]
) -> None:
    """Bring zones that were read into service, and take out what their files gave before."""
    for one in read:
        put_rows(txn, tables, one.record.version, one.rows)
    switch(txn, tables, {one.key: one.record for one in read}, former)


def with_files(zones: Iterable[Zone], records: Mapping[bytes, ZoneRecord]) -> tuple[Zone, ...]:
    """Return the registry's own zones of `zones` and those of the records, longest origin first."""
    found = [zone for zone in zones if zone.kind != "file"]
    for key, one in records.items():
        found.append(
            Zone(
                one.origin,
                key,
                "file",
                version=one.version,
                cuts=one.cuts,
                wildcards=one.wildcards,
                signed=one.signed,
                nsec3=one.nsec3,
            )
        )
    return tuple(sorted(found, key=lambda zone: (-zone.key.count(0), -len(zone.key), zone.key)))


def dead_versions(txn: lmdb.Transaction, tables: Tables) -> list[int]:
    """Return the versions that have rows and that no record names."""
    live = {record.version for record in records_of(txn, tables).values()}
    dead, version = [], 0
    with txn.cursor(db=tables.zone_rows) as cursor:
        while cursor.set_range(version.to_bytes(4)):
            found = int.from_bytes(cursor.key()[:4])
            if found not in live:
                dead.append(found)
            version = found + 1
    return dead


def remove_rows(txn: lmdb.Transaction, tables: Tables, version: int) -> bool:
    """Remove up to CHUNK rows of a version; return whether there may be more."""
    prefix = version.to_bytes(4)
    with txn.cursor(db=tables.zone_rows) as cursor:
        found = cursor.set_range(prefix)
        for _ in range(CHUNK):
            if not found or cursor.key()[:4] != prefix:
                return False
            cursor.delete()  # leaves the cursor on the row behind
            found = bool(cursor.key())
    return True
