"""The catalog zone (RFC 9432): all zones that are served, so that secondaries need not be told of each.

    version.CATALOG            TXT "2"
    MEMBER.zones.CATALOG       PTR to a zone; MEMBER follows from the zone's name

It stands among the zones from files, under the name of no file, and is made anew in the transaction that
finds it other than the zones.  Its serial moves then.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping

import lmdb

from svcdns.names.packed import APEX, NEGATIVE_SOA, RRset, pack_row
from svcdns.names.records import ns_rr, ptr_rr, soa_rr, txt_rr
from svcdns.store.environment import Tables
from svcdns.wire import codes
from svcdns.wire.key import key_of, text_of_key

from .zone_rows import ZoneRecord, new_version, put_rows, records_of, serving_of, switch

NO_FILE = ""
"""The file of its record."""
SCHEMA_VERSION = "2"
TTL = 0
"""Of all its records, which nobody resolves."""
NOBODY = "invalid"
"""What its NS and SOA name, as the RFC has it (section 4.1)."""


def is_due(txn: lmdb.Transaction, tables: Tables, origin: str) -> bool:
    """Return whether the catalog is other than it should be; `origin` is "" where there is to be none."""
    there = _records(txn, tables)
    if not origin:
        return bool(there)
    record = there.get(key_of(origin))
    return len(there) != 1 or record is None or record.digest != _digest(_members(txn, tables))


def bring_up_to_date(txn: lmdb.Transaction, tables: Tables, origin: str) -> None:
    """Make the catalog what it should be."""
    there = _records(txn, tables)
    if not origin:
        switch(txn, tables, {}, there.keys())
        return
    key, members = key_of(origin), _members(txn, tables)
    before, now = there.pop(key, None), int(time.time())
    serial = now if before is None else max(now, before.serial + 1)
    rows, version = _rows(origin, serial % (1 << 32), members), new_version(txn, tables)
    put_rows(txn, tables, version, rows.items())
    record = ZoneRecord(
        file=NO_FILE,
        digest=_digest(members),
        origin=f"{origin}.",
        serial=serial,
        version=version,
        rows=len(rows),
        cuts=False,
        wildcards=False,
    )
    switch(txn, tables, {key: record}, there.keys())


def _records(txn: lmdb.Transaction, tables: Tables) -> dict[bytes, ZoneRecord]:
    """Return the catalogs that there are by key: one, or none, or one of another name too."""
    return {key: one for key, one in records_of(txn, tables).items() if one.file == NO_FILE}


def _members(txn: lmdb.Transaction, tables: Tables) -> list[bytes]:
    """Return the keys of all other zones."""
    catalogs = _records(txn, tables)
    return sorted(zone.key for zone in serving_of(txn, tables).zones if zone.key not in catalogs)


def _digest(members: Iterable[bytes]) -> bytes:
    return hashlib.blake2b(b"\0".join(members), digest_size=16).digest()


def _rows(origin: str, serial: int, members: Iterable[bytes]) -> Mapping[bytes, bytes]:
    """Return the rows of a catalog, names without records between them included."""
    soa = soa_rr(NOBODY, NOBODY, serial, TTL, TTL)
    apex = [RRset(NEGATIVE_SOA, [soa]), RRset(codes.NS, [ns_rr(NOBODY, TTL)]), RRset(codes.SOA, [soa])]
    rows = {
        key_of(origin): pack_row(apex, APEX),
        key_of(f"version.{origin}"): pack_row([RRset(codes.TXT, [txt_rr(SCHEMA_VERSION, TTL)])]),
        key_of(f"zones.{origin}"): pack_row([]),
    }
    for member in members:
        label = hashlib.blake2b(member, digest_size=16).hexdigest()
        to = RRset(codes.PTR, [ptr_rr(text_of_key(member), TTL)])
        rows[key_of(f"{label}.zones.{origin}")] = pack_row([to])
    return rows
