"""What one read transaction shows to those who answer questions.

    with snapshots.begin() as snapshot: ...

A Snapshot ends its transaction when its block ends; nothing may be awaited in the block.

`serving` (one small value in `meta`, written in the same transaction as what it describes) says how to
read the rest: which table of answers is current, which zones there are and the few settings that shape an
answer at question time.  It is decoded again only when its octets have changed: one comparison a
transaction.

A store that can't be read (not created yet, reader table full, damaged) must not cost a transport its
life: `never_raising` gives None in place of a snapshot, so that the answer is SERVFAIL and not silence.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import lmdb
import msgspec

from .environment import Store, Tables

log = logging.getLogger(__name__)

SERVING = b"serving"
POD_RANK = b"\3"
"""Of the Pods in `addresses`, behind an address; the registry's own ranks are in svcdns.registry.facts."""


class Nsec3Parameters(msgspec.Struct, frozen=True):
    """How the names of a zone are hashed (RFC 5155 section 4)."""

    salt: bytes
    iterations: int


class Zone(msgspec.Struct, frozen=True):
    """A zone that is served; `key` is the key of its origin."""

    origin: str
    key: bytes
    kind: str
    """"cluster", "reverse" or "file"."""
    fallthrough: bool = False
    """Some unknown names of the zone go on to zone files and upstreams; `Serving.fallthrough` says which."""
    version: int = msgspec.field(default=0, name="generation")
    """Of a file: the prefix (u32) of its rows in `zone_rows`; another one each time the file is loaded."""
    cuts: bool = False
    """Of a file: it holds delegations or DNAMEs, so a name's ancestors must be looked at first."""
    wildcards: bool = False
    """Of a file: it has a label `*`, be it at the left end of an owner name or in its middle."""
    signed: bool = False
    """Of a file: its SOA has an RRSIG, so RRSIGs and proofs go with its answers to who sets DO."""
    nsec3: Nsec3Parameters | None = None
    """Of a signed file: how it proves what is not there; None: by NSEC records."""


class Serving(msgspec.Struct, frozen=True):
    """How to read the answers of this snapshot."""

    table: str = msgspec.field(name="generation")
    """"a" or "b": which table of answers is current."""
    cluster_key: bytes
    """Key of the cluster domain."""
    short_names: bool
    pods: str
    """"verified", "insecure" or "disabled"."""
    ttl: int
    """Of records made at question time, in seconds."""
    zones: tuple[Zone, ...]
    """All zones, longest origin first."""
    own_reverse: tuple[bytes, ...] = ()
    """Key prefixes of the reverse names of our own ranges: these never fall through."""
    fallthrough: tuple[bytes, ...] = ()
    """Keys of the zones whose unknown names go on to zone files and upstreams."""
    alias_zones: tuple[bytes, ...] = ()
    """Keys of the zones below which Services have aliases; they are no zones of ours."""
    loaded: bool = True
    """False until manifests and zone files are in for the first time ever."""
    epoch: int = 0
    """Counts up whenever zones change, so that two states never have the same octets."""


decode_serving = msgspec.msgpack.Decoder(Serving).decode


encode_serving = msgspec.msgpack.Encoder().encode

_MOST_PODS = 16
"""That are told of one address."""


def read_serving(txn: lmdb.Transaction, tables: Tables) -> Serving | None:
    """Return `serving` as a transaction sees it, None where the registry has not written it yet."""
    octets = txn.get(SERVING, db=tables.meta)
    return None if octets is None else decode_serving(octets)


def write_serving(txn: lmdb.Transaction, tables: Tables, serving: Serving) -> None:
    """Put `serving`."""
    txn.put(SERVING, encode_serving(serving), db=tables.meta)


@dataclass(slots=True)
class Snapshot:
    """One read transaction and how to read it; `serving` is None before the first load has ended.

    A context manager: the end of its block ends the transaction.
    """

    txn: lmdb.Transaction
    store: Store
    serving: Serving | None
    answers: lmdb._Database

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.txn.abort()

    def row(self, key: bytes) -> bytes | None:
        """Return the row of a name in the registry's zones (cluster domain and reverse zones)."""
        row: bytes | None = self.txn.get(key, db=self.answers)  # type: ignore[assignment]  # no buffers
        return row

    def holds_address(self, octets: bytes) -> bool:
        """Return whether an address is registered; `octets` as keys of `addresses` begin: family, address."""
        with self.txn.cursor(db=self.store.tables.addresses) as cursor:
            return bool(cursor.set_range(octets)) and bytes(cursor.key()).startswith(octets)

    def pods_at(self, octets: bytes) -> list[tuple[str, str]]:
        """Return namespace and name of the Pods that have an address; `octets` as in `holds_address`."""
        prefix = octets + POD_RANK
        found: list[tuple[str, str]] = []
        with self.txn.cursor(db=self.store.tables.addresses) as cursor:
            there = cursor.set_range(prefix)
            while there and (key := bytes(cursor.key())).startswith(prefix) and len(found) < _MOST_PODS:
                namespace, _, pod = key[len(prefix) :].decode().partition("\0")
                found.append((namespace, pod))
                there = cursor.next()
        return found

    def zone_row(self, zone: Zone, key: bytes) -> bytes | None:
        """Return the row of a name in a zone file's zone."""
        stored = zone.version.to_bytes(4) + key
        row: bytes | None = self.txn.get(stored, db=self.store.tables.zone_rows)  # type: ignore[assignment]
        return row


class Snapshots:
    """Begins snapshots; keeps the last decoded `serving` between them."""

    def __init__(self, store: Store) -> None:
        """`store` was opened by this process, for reading or for writing."""
        self.store = store
        self._octets: bytes | None = None
        self._serving: Serving | None = None

    def begin(self) -> Snapshot:
        """Begin a read transaction; the end of the snapshot's block ends it."""
        txn = self.store.env.begin()
        octets = txn.get(SERVING, db=self.store.tables.meta)
        if octets != self._octets:
            self._octets = octets
            decoded = None if octets is None else decode_serving(octets)
            self._serving = decoded if decoded is not None and decoded.loaded else None
        tables = self.store.tables
        serving = self._serving
        answers = tables.answers_b if serving is not None and serving.table == "b" else tables.answers_a
        return Snapshot(txn, self.store, serving, answers)


MaybeSnapshot = AbstractContextManager[Snapshot | None]
"""A snapshot, or None while there is no store to read."""
Begin = Callable[[], MaybeSnapshot]
"""Begins a snapshot: `with begin() as snapshot`."""
NO_SNAPSHOT: MaybeSnapshot = nullcontext()
"""What begins while there is no store to read."""


def never_raising(begin: Begin) -> Begin:
    """Return a `begin` that gives None where the given one raises; the log says when that begins and ends."""
    failing = False

    def begin_or_none() -> MaybeSnapshot:
        nonlocal failing
        try:
            snapshot = begin()
        except Exception:
            if not failing:
                log.exception("the store can't be read; answering SERVFAIL")
            failing = True
            return NO_SNAPSHOT
        if failing:
            log.warning("the store can be read again")
            failing = False
        return snapshot

    return begin_or_none
