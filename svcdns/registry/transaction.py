"""One write in progress: its transaction, what it changed, and which names have to be rebuilt.

`WriteTransaction` goes down the write path.  The accept half (`accept`, `addresses`) puts objects and
allocations through it; the derive half (`slices`, `facts`) adds what follows from them and collects the
touched names in `Touched`; `dns_rows` rebuilds those once for all writes of a commit.
"""

from __future__ import annotations

import functools
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import lmdb
import msgspec

from svcdns.cluster.endpoints import is_generated, selector_of
from svcdns.cluster.event_messages import EventMessage
from svcdns.objects.errors import not_found
from svcdns.objects.field_selectors import SELECTABLE
from svcdns.objects.kinds import ENDPOINTSLICE, EVENT, LEASE, NAMESPACE, POD, SERVICE, Kind
from svcdns.store import log
from svcdns.store.environment import Tables
from svcdns.store.rows import joined as joined
from svcdns.store.rows import object_key as object_key
from svcdns.store.rows import scan as scan
from svcdns.store.rows import scan_keys as scan_keys
from svcdns.store.rows import scan_keys_in_batches as scan_keys_in_batches

from .settings import Settings

REVISION = b"revision"
POSITION = b"etcd"
"""How far the store has come, where it is the map of a registry on etcd (see `replicated.applying`)."""
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

LARGE = 64 * 1024
"""Octets of a large object."""

Object = dict[str, Any]

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
    aliases: set[bytes] = field(default_factory=set)
    """Keys of the aliases that may have another holder."""

    def merge(self, other: Touched) -> None:
        """Add what another write touched."""
        self.services |= other.services
        self.endpoints |= other.endpoints
        self.addresses |= other.addresses
        self.pods |= other.pods
        self.namespaces |= other.namespaces
        self.aliases |= other.aliases

    def __bool__(self) -> bool:
        names = self.services or self.endpoints or self.addresses or self.pods or self.namespaces
        return bool(names or self.aliases)


@dataclass(slots=True)
class WriteTransaction:
    """One write: everything that it reads and puts goes through here."""

    txn: lmdb.Transaction
    tables: Tables
    settings: Settings
    now: str
    """Wall clock of the accept half, RFC 3339 in UTC, whole seconds."""
    messages: list[EventMessage] = field(default_factory=list)
    """What happened; recorded as Events when the write has been committed."""
    dry_run: bool = False
    """Whether this write will be undone: what it answers then shows no revision of its own."""
    touched: Touched = field(default_factory=Touched)
    logged: list[log.Change] = field(default_factory=list)
    """What was logged, for those who watch."""
    changed: bool = False
    logs: bool = True
    """Whether changes are told, in the log and as messages; a map that is made from a list tells nothing."""
    with_facts: bool = True
    """Whether facts follow at once; not where all are made at the end (`all_answers`)."""
    operations: int = 0
    """At least so many things change that others can't derive: objects, addresses and ports."""
    octets: int = 0
    """Of the objects that are put."""
    most_operations: int | None = None
    """So many may change, or be relied on, at once; None for any number."""
    most_octets: int = 0
    """So many octets may be put at once, where `most_operations` is no None."""
    cascades: dict[str, bytes | None] = field(default_factory=dict)
    """Cascades that began, were changed or have ended (None), by the owner's uid (see `cascades`)."""
    relied_on: set[str] = field(default_factory=set)
    """Namespaces that were looked at, to decide whether something may be in them."""
    decided_on_all: bool = False
    """Whether it was decided on more than these namespaces and the objects that it changed."""
    derives: bool = True
    """Whether what follows from objects is brought in line with them; of a proposal, that is done later."""
    decided_on_derived: bool = False
    """Whether it was decided on what follows from other objects."""
    _namespace: tuple[str, Object | None] | None = None
    """The one that was looked at last: a write asks several times, and nobody else changes it meanwhile."""
    _revision: int | None = None
    """That of this write's last change, once it has made one."""

    @property
    def is_full(self) -> bool:
        """Whether small things that are left to do are better left for a write of its own."""
        if self.most_operations is None:
            return False
        return self.operations + len(self.relied_on) >= self.most_operations

    def has_room_for(self, kind: Kind, obj: Object) -> bool:
        """Return whether this write can change or delete an object too, or that is left for another one.

        The first one always fits: there is no other write that has more room.
        """
        if self.most_operations is None or not self.operations:
            return True
        operations = self.operations + len(self.relied_on) + _operations(kind, obj)
        if operations > self.most_operations:
            return False
        return not self.octets or self.octets + len(encode(obj)) <= self.most_octets

    def load(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return an object as this write sees it, or None."""
        octets = self.txn.get(object_key(kind, namespace, name), db=self.tables.objects)
        return None if octets is None else decode(octets)

    def namespace(self, name: str) -> Object | None:
        """Return a Namespace as this write sees it, or None; decoded once for all, so never to be changed."""
        self.relied_on.add(name)
        if self._namespace is None or self._namespace[0] != name:
            octets = self.txn.get(object_key(NAMESPACE, "", name), db=self.tables.objects)
            self._namespace = name, None if octets is None else _decode_kept(bytes(octets))
        return self._namespace[1]

    def forget_namespace(self) -> None:
        """Namespaces were put or removed: what was read of one before may be no longer so."""
        self._namespace = None

    def existing(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return an object as this write sees it.  Raises StatusError 404."""
        found = self.load(kind, namespace, name)
        if found is None:
            raise not_found(kind.plural, name, kind.group)
        return found

    def save(self, kind: Kind, old: Object | None, new: Object) -> bytes:
        """Put an object under a revision of its own and log the event; return its JSON."""
        _count_generation(kind, old, new)
        octets = self.put(kind, old, new)
        return octets if not self.dry_run else _with_revision_of(old, new)

    def put(self, kind: Kind, old: Object | None, new: Object) -> bytes:
        """Do what `save` does with an object that has been completed already."""
        key, octets = self._log("ADDED" if old is None else "MODIFIED", kind, old, new)
        self.txn.put(key, octets, db=self.tables.objects)
        if kind is NAMESPACE:
            self.forget_namespace()
        return octets

    def remove(self, kind: Kind, old: Object) -> bytes:
        """Delete an object and log its last state; return that as JSON."""
        key, octets = self._log("DELETED", kind, old, {**old, "metadata": dict(old["metadata"])})
        self.txn.delete(key, db=self.tables.objects)
        if kind is NAMESPACE:
            self.forget_namespace()
        return octets if not self.dry_run else encode(old)

    def _log(self, what: str, kind: Kind, old: Object | None, new: Object) -> tuple[bytes, bytes]:
        """Give an object the next revision and log it; return its key and its JSON."""
        revision = self.next_revision()
        self.changed = True
        metadata = new["metadata"]
        metadata["resourceVersion"] = str(revision)
        octets, namespace = encode(new), metadata.get("namespace", "")
        if self.logs:
            before = None if old is None else selectable(old)
            table = log_of(self.tables, kind)
            entry = log.append(self.txn, table, revision, (what, kind.name, namespace), octets, before)
            self.logged.append((revision, entry))
            self.operations += _operations(kind, new)
            self.octets += len(octets) if what != "DELETED" else 0
        return object_key(kind, namespace, metadata["name"]), octets

    def next_revision(self) -> int:
        """Return the resourceVersion of the next change, which is then taken."""
        if self._revision is None:
            self._revision = read_revision(self.txn, self.tables)
        revision = self._revision = self._revision + 1
        self.txn.put(REVISION, revision.to_bytes(8), db=self.tables.meta)
        return revision

    def later(self, seconds: int) -> str:
        """Return the time of this write plus some seconds, RFC 3339."""
        moment = datetime.fromisoformat(self.now) + timedelta(seconds=seconds)
        return moment.strftime(TIME_FORMAT)


_decode_kept = functools.lru_cache(maxsize=64)(decode)

_GENERATION_OF = {POD: ("spec",), ENDPOINTSLICE: ("addressType", "endpoints", "ports")}
"""The parts of an object whose changes metadata.generation counts; Kubernetes counts for these kinds only."""


def _count_generation(kind: Kind, old: Object | None, new: Object) -> None:
    parts = _GENERATION_OF.get(kind)
    if parts is None:
        return
    if old is None:
        new["metadata"]["generation"] = 1
        return
    before: int = old["metadata"].get("generation", 1)
    began_to_go = "deletionTimestamp" in new["metadata"] and "deletionTimestamp" not in old["metadata"]
    changed = began_to_go or any(new.get(part) != old.get(part) for part in parts)
    new["metadata"]["generation"] = before + 1 if changed else before


def _operations(kind: Kind, obj: Object) -> int:
    """Return how many things change with an object that others can't derive, or a few more."""
    if kind is ENDPOINTSLICE:
        return not is_generated(obj)
    return 1 if kind is not SERVICE else 4 + len(obj["spec"].get("ports") or ())


def _with_revision_of(old: Object | None, new: Object) -> bytes:
    """Return an object as JSON with the revision that it had before, none if it is new."""
    metadata = {key: value for key, value in new["metadata"].items() if key != "resourceVersion"}
    if old is not None:
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
    return encode({**new, "metadata": metadata})


def is_large(given: Object) -> bool:
    """Return whether to look at the structure of an object takes too long for the event loop."""
    with suppress(TypeError, ValueError, OverflowError, RecursionError):  # the schema says what is wrong
        return len(encode(given)) > LARGE
    return False


def present(old: Object | None, new: Object | None) -> Object:
    """Return an object as it is, or of a deleted one as it was."""
    found = new if new is not None else old
    assert found is not None
    return found


_OFTEN_WRITTEN = frozenset({EVENT.name, LEASE.name})
"""Kinds that would push the changes of all others out of a shared log."""


def log_of(tables: Tables, kind: Kind) -> lmdb._Database:
    """Return the table in which changes of a kind are logged."""
    return tables.event_log if kind.name in _OFTEN_WRITTEN else tables.log


def read_revision(txn: lmdb.Transaction, tables: Tables) -> int:
    """Return the revision of the last change that this transaction sees."""
    octets = txn.get(REVISION, db=tables.meta)
    return 0 if octets is None else int.from_bytes(octets)


_SELECTABLE = {
    part: tuple(field.split(".")[1] for field in sorted(SELECTABLE) if field.startswith(part + "."))
    for part in ("spec", "status")
}
_SELECTABLE["spec"] += ("clusterIPs",)  # IPAddresses follow from these


_SELECTABLE_OF_EVENTS = ("involvedObject", "reason", "reportingComponent", "source", "type")


SELECTS = "selects"


def selectable(obj: Object) -> bytes:
    """Return, as JSON, what label and field selectors can look at; of a Service also if it has a selector."""
    metadata = obj["metadata"]
    kept: Object = {"metadata": {k: metadata[k] for k in ("name", "namespace", "labels") if k in metadata}}
    for part, fields in _SELECTABLE.items():
        values = obj.get(part) or {}
        kept[part] = {k: values[k] for k in fields if k in values}
    if obj.get("kind") == SERVICE.name:
        kept[SELECTS] = selector_of(obj) is not None
    if "involvedObject" in obj:
        kept |= {k: obj[k] for k in _SELECTABLE_OF_EVENTS if k in obj}
    return encode(kept)


def collection_prefix(kind: Kind, namespace: str = "") -> bytes:
    """Prefix in `objects` of a kind, or of a kind in one namespace."""
    return joined(kind.name, namespace) if namespace else joined(kind.name)


def put_or_delete(txn: lmdb.Transaction, table: lmdb._Database, key: bytes, value: bytes | None) -> bool:
    """Bring one row to a state; return whether that changed anything."""
    if txn.get(key, db=table) == value:
        return False
    if value is None:
        txn.delete(key, db=table)
    else:
        txn.put(key, value, db=table)
    return True
