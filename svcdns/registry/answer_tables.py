"""Stored answers know what made them: building them anew when the rules or the settings have changed.

`meta` holds `layout` (binary format), `rules` (see settings.RULES) and `settings` (fingerprint).  On a
difference at start the other table of answers is filled from the objects in small transactions, and one
small transaction switches to it; until then the old one answers.  Interrupted, it begins again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import lmdb
import msgspec

from svcdns.names.packed import LAYOUT
from svcdns.objects.kinds import NAMESPACE, POD, SERVICE, Kind
from svcdns.store.environment import Store
from svcdns.store.snapshot import SERVING, Serving, Zone, decode_serving, encode_serving

from . import facts, slices
from .dns_rows import AnswerTable, move_serials, put_fixed_rows, rebuild
from .settings import RULES, Settings, fallthrough_keys, may_fall_through, own_reverse_prefixes
from .transaction import Touched, WriteTransaction, collection_prefix

logger = logging.getLogger(__name__)

CHUNK = 500
_LAYOUT, _MADE_BY = b"layout", b"made by"


class NewerLayout(Exception):
    """The data were written by a newer svcdns whose format this one can't read."""


def stored_layout(store: Store) -> int | None:
    """Return the layout of the data, None where they have none yet."""
    with store.read() as txn:
        stored = txn.get(_LAYOUT, db=store.tables.meta)
    return None if stored is None else int.from_bytes(stored)


def refuse_newer(store: Store) -> None:
    """Raise NewerLayout for data of a newer layout."""
    stored = stored_layout(store)
    if stored is not None and stored > LAYOUT:
        raise NewerLayout(
            f"the data have layout {stored}, this svcdns reads up to {LAYOUT}: "
            "start the newer svcdns, or name another data folder"
        )


def note_layout(txn: lmdb.Transaction, store: Store) -> None:
    """Note that the data have our layout.  A small write, by which is seen whether any succeeds."""
    txn.put(_LAYOUT, LAYOUT.to_bytes(4), db=store.tables.meta)


def has_answers(store: Store) -> bool:
    """Return whether there is something to answer from: manifests and zone files have been in once."""
    with store.read() as txn:
        serving = _serving(store, txn)
    return serving is not None and serving.loaded


def bring_up_to_date(store: Store, settings: Settings) -> bool:
    """Fill the other answer table if the current one was made otherwise; return whether that was so."""
    made_by = b"%d %d " % (LAYOUT, RULES) + settings.fingerprint()
    with store.read() as txn:
        current = _serving(store, txn)
        if current is not None and txn.get(_MADE_BY, db=store.tables.meta) == made_by:
            return False
    target = "b" if current is not None and current.table == "a" else "a"
    began = time.monotonic()
    _clear(store, target)
    touched_objects = sum(_fill(store, settings, target))
    _switch(store, settings, target, current, made_by)
    if current is not None:
        seconds = time.monotonic() - began
        logger.info("answers made anew for changed settings: %d objects in %.1f s", touched_objects, seconds)
    return True


def set_loaded(store: Store) -> None:
    """Note that manifests and zone files are in: from now on unknown names are NXDOMAIN."""
    with store.env.begin(write=True) as txn:
        serving = _serving(store, txn)
        if serving is not None and not serving.loaded:
            changed = msgspec.structs.replace(serving, loaded=True)
            txn.put(SERVING, encode_serving(changed), db=store.tables.meta)


def _serving(store: Store, txn: lmdb.Transaction) -> Serving | None:
    octets = txn.get(SERVING, db=store.tables.meta)
    return None if octets is None else decode_serving(bytes(octets))


def _table(store: Store, letter: str) -> lmdb._Database:
    return store.tables.answers_b if letter == "b" else store.tables.answers_a


def current_table(store: Store, txn: lmdb.Transaction) -> lmdb._Database:
    """Return the table that answers now."""
    serving = _serving(store, txn)
    return _table(store, serving.table if serving is not None else "a")


def _clear(store: Store, letter: str) -> None:
    """Empty the facts and the table to fill; nothing may be taken for made until the switch."""
    tables = store.tables
    with store.env.begin(write=True) as txn:
        txn.delete(_MADE_BY, db=tables.meta)
        for table in (tables.endpoints, tables.addresses, tables.pod_ips, _table(store, letter)):
            txn.drop(table, delete=False)


def _fill(store: Store, settings: Settings, letter: str) -> Iterator[int]:
    """Derive facts and answers from all objects, CHUNK objects a transaction; yield how many each."""
    steps: list[tuple[Kind, Callable[[WriteTransaction, dict[str, object]], None]]] = [
        (NAMESPACE, lambda write, obj: write.touched.namespaces.add(_name(obj))),
        (SERVICE, _derive_service),
        (POD, lambda write, obj: facts.pod_changed(write, None, obj)),
    ]
    for kind, derive in steps:
        after = b""
        while True:
            with store.env.begin(write=True) as txn:
                write = WriteTransaction(txn, store.tables, settings, "")
                keys = _keys_after(write, kind, after)
                for key in keys:
                    _, namespace, name = key.decode().split("\0")
                    found = write.load(kind, namespace, name)
                    if found is not None:
                        derive(write, found)
                answers = AnswerTable(write, _table(store, letter))
                rebuild(answers, write.touched)
                write.touched = Touched()
            yield len(keys)
            if len(keys) < CHUNK:
                break
            after = keys[-1]


def _derive_service(write: WriteTransaction, service: dict[str, object]) -> None:
    facts.service_changed(write, None, service)
    slices.service_changed(write, None, service)


def _name(obj: dict[str, object]) -> str:
    metadata = obj["metadata"]
    assert isinstance(metadata, dict)
    return str(metadata["name"])


def _keys_after(write: WriteTransaction, kind: Kind, after: bytes) -> list[bytes]:
    prefix = collection_prefix(kind)
    keys: list[bytes] = []
    with write.txn.cursor(db=write.tables.objects) as cursor:
        if not cursor.set_range(after + b"\0" if after else prefix):
            return keys
        for key in map(bytes, cursor.iternext(values=False)):
            if not key.startswith(prefix) or len(keys) == CHUNK:
                break
            keys.append(key)
    return keys


def _switch(store: Store, settings: Settings, letter: str, current: Serving | None, made_by: bytes) -> None:
    """Make the filled table the one that answers, in one small transaction."""
    tables = store.tables
    with store.env.begin(write=True) as txn:
        answers = AnswerTable(WriteTransaction(txn, tables, settings, ""), _table(store, letter))
        put_fixed_rows(answers)
        zones = [settings.names.apex, *(key for _, key in settings.reverse_zones)]
        move_serials(answers, int(time.time()), zones)
        txn.put(SERVING, encode_serving(_next_serving(settings, letter, current)), db=tables.meta)
        txn.put(_MADE_BY, made_by, db=tables.meta)


def _next_serving(settings: Settings, letter: str, current: Serving | None) -> Serving:
    dns = settings.config.dns
    onward = fallthrough_keys(dns.fallthrough)
    ours = [(settings.names.domain, settings.names.apex, "cluster")]
    ours += [(origin, key, "reverse") for origin, key in settings.reverse_zones]
    zones = [Zone(*zone, fallthrough=may_fall_through(zone[1], onward)) for zone in ours]
    zones += [zone for zone in (current.zones if current else ()) if zone.kind == "file"]
    return Serving(
        table=letter,
        cluster_key=settings.names.apex,
        short_names=dns.short_names,
        pods=dns.pods,
        ttl=dns.ttl,
        zones=tuple(sorted(zones, key=lambda zone: -len(zone.key))),
        own_reverse=own_reverse_prefixes(settings.own_ranges),
        fallthrough=onward,
        epoch=(current.epoch if current else 0) + 1,
        loaded=current.loaded if current else False,
    )
