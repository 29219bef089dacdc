"""One write in progress: its transaction, what it changed, and which names have to be made anew.

`WriteTransaction` is handed down the write path.  The accept half (`accept`, `addresses`) puts objects and
allocations through it; the apply half (`slices`, `facts`) adds what follows from them and notes the
touched names in `Touched`; `answers` rebuilds those once for all writes of a commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import lmdb
import msgspec

from svcdns.cluster.event_messages import EventMessage
from svcdns.objects.field_selectors import SELECTABLE
from svcdns.objects.kinds import EVENT, Kind
from svcdns.store import log
from svcdns.store.environment import Tables

from .settings import Settings

REVISION = b"revision"
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class Touched:
    """Names that may answer differently after a write, by what they follow from."""

    services: set[tuple[str, str]] = field(default_factory=set)
    """(namespace, service): SVC and its `_port._proto` names."""
    endpoints: set[tuple[str, str, str]] = field(default_factory=set)
    """(namespace, service, label): LABEL.SVC."""
    addresses: set[bytes] = field(default_factory=set)
    """Packed addresses: their reverse names."""
    pods: set[tuple[str, bytes]] = field(default_factory=set)
    """(namespace, packed address): A-B-C-D.NS.pod."""
    namespaces: set[str] = field(default_factory=set)
    """NS.svc and NS.pod."""

    def merge(self, other: Touched) -> None:
        """Add what another write touched."""
        self.services |= other.services
        self.endpoints |= other.endpoints
        self.addresses |= other.addresses
        self.pods |= other.pods
        self.namespaces |= other.namespaces

    def __bool__(self) -> bool:
        return bool(self.services or self.endpoints or self.addresses or self.pods or self.namespaces)


@dataclass(slots=True)
class WriteTransaction:
    """One write: everything that it reads and puts goes through here."""

    txn: lmdb.Transaction
    tables: Tables
    settings: Settings
    now: str
    """Wall clock of the accept half, RFC 3339 in UTC, whole seconds."""
    touched: Touched = field(default_factory=Touched)
    changed: bool = False
    messages: list[EventMessage] = field(default_factory=list)
    """What happened; recorded as Events when the write has been committed."""

    def load(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        """Return an object as this write sees it, or None."""
        octets = self.txn.get(object_key(kind, namespace, name), db=self.tables.objects)
        return None if octets is None else decode(octets)

    def save(self, kind: Kind, old: dict[str, Any] | None, new: dict[str, Any]) -> bytes:
        """Put an object under a revision of its own and log the event; return its JSON."""
        metadata = new["metadata"]
        revision = self._next_revision()
        metadata["resourceVersion"] = str(revision)
        octets = encode(new)
        namespace = metadata.get("namespace", "")
        self.txn.put(object_key(kind, namespace, metadata["name"]), octets, db=self.tables.objects)
        entry = ("ADDED" if old is None else "MODIFIED", kind.name, namespace)
        before = None if old is None else selectable(old)
        log.append(self.txn, log_of(self.tables, kind), revision, entry, octets, before)
        return octets

    def remove(self, kind: Kind, old: dict[str, Any]) -> bytes:
        """Delete an object and log its last state; return that as JSON."""
        revision = self._next_revision()
        metadata = {**old["metadata"], "resourceVersion": str(revision)}
        octets = encode({**old, "metadata": metadata})
        namespace = metadata.get("namespace", "")
        self.txn.delete(object_key(kind, namespace, metadata["name"]), db=self.tables.objects)
        entry = ("DELETED", kind.name, namespace)
        log.append(self.txn, log_of(self.tables, kind), revision, entry, octets, selectable(old))
        return octets

    def later(self, seconds: int) -> str:
        """Return the time of this write plus some seconds, RFC 3339."""
        moment = datetime.fromisoformat(self.now) + timedelta(seconds=seconds)
        return moment.strftime(TIME_FORMAT)

    def _next_revision(self) -> int:
        revision = read_revision(self.txn, self.tables) + 1
        self.txn.put(REVISION, revision.to_bytes(8), db=self.tables.meta)
        self.changed = True
        return revision


def log_of(tables: Tables, kind: Kind) -> lmdb._Database:
    """Return the table in which changes of a kind are logged."""
    return tables.event_log if kind is EVENT else tables.log


def read_revision(txn: lmdb.Transaction, tables: Tables) -> int:
    """Return the revision of the last change that this transaction sees."""
    octets = txn.get(REVISION, db=tables.meta)
    return 0 if octets is None else int.from_bytes(octets)


_SELECTABLE = {
    part: tuple(field.split(".")[1] for field in sorted(SELECTABLE) if field.startswith(part + "."))
    for part in ("spec", "status")
}


_SELECTABLE_OF_EVENTS = ("involvedObject", "reason", "reportingComponent", "source", "type")


def selectable(obj: dict[str, Any]) -> bytes:
    """Return, as JSON, what label and field selectors can look at."""
    metadata = obj["metadata"]
    kept = {"metadata": {k: metadata[k] for k in ("name", "namespace", "labels") if k in metadata}}
    for part, fields in _SELECTABLE.items():
        values = obj.get(part) or {}
        kept[part] = {k: values[k] for k in fields if k in values}
    if "involvedObject" in obj:
        kept |= {k: obj[k] for k in _SELECTABLE_OF_EVENTS if k in obj}
    return encode(kept)


def object_key(kind: Kind, namespace: str, name: str) -> bytes:
    """Key in `objects`."""
    return f"{kind.name}\0{namespace}\0{name}".encode()


def collection_prefix(kind: Kind, namespace: str = "") -> bytes:
    """Prefix in `objects` of a kind, or of a kind in one namespace."""
    return f"{kind.name}\0{namespace}\0".encode() if namespace else f"{kind.name}\0".encode()


def joined(*parts: str) -> bytes:
    """Parts of a key, each ended by NUL."""
    return "".join(part + "\0" for part in parts).encode()


def scan(txn: lmdb.Transaction, table: lmdb._Database, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of all keys with a prefix; the table must not be written meanwhile."""
    with txn.cursor(db=table) as cursor:
        if not cursor.set_range(prefix):
            return
        rows = cast(Iterator[tuple[bytes, bytes]], cursor.iternext())
        for key, value in rows:
            if not key.startswith(prefix):
                return
            yield key, value


def listed(txn: lmdb.Transaction, table: lmdb._Database, prefix: bytes) -> list[tuple[bytes, bytes]]:
    """Return what `scan` yields, for those who write the same table next."""
    return list(scan(txn, table, prefix))


def put_or_delete(txn: lmdb.Transaction, table: lmdb._Database, key: bytes, value: bytes | None) -> bool:
    """Bring one row to a state; return whether that changed anything."""
    if txn.get(key, db=table) == value:
        return False
    if value is None:
        txn.delete(key, db=table)
    else:
        txn.put(key, value, db=table)
    return True
