"""The two tables of answers, a and b: building the other one when the rules or the settings have changed.

`meta` holds the layout (binary format) and what made the answers: the rules (settings.RULES) and a
fingerprint of the settings.  On a difference at start the other table is filled from the objects in small
transactions, and one small transaction switches to it; until then the old one answers.  Interrupted, it
begins again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

import lmdb
import msgspec

from svcdns.names.packed import LAYOUT
from svcdns.objects.kinds import NAMESPACE, POD, SERVICE
from svcdns.store import counts, row_log
from svcdns.store.damage import Damaged
from svcdns.store.environment import Store
from svcdns.store.snapshot import Serving, Zone, read_serving, write_serving

from . import alias_claims, facts
from .derive import derive
from .dns_rows import AnswerTable, move_serials, put_fixed_rows, rebuild
from .settings import RULES, Settings, own_reverse_prefixes
from .transaction import POSITION, TIME_FORMAT, WriteTransaction, collection_prefix, decode, scan

logger = logging.getLogger(__name__)

CHUNK = 500
MOST_LAYOUTS = 10_000
"""There will never be so many."""
MADE_BY = b"made by"


class NewerLayout(Exception):
    """The data were written by a newer svcdns whose format this one can't read."""


def refuse_newer(store: Store) -> bytes | None:
    """Raise NewerLayout for data that this svcdns can't read; return the row that names the layout.

    Raises Damaged for a number that no layout will have.
    """
    with store.read() as txn:
        stored = txn.get(counts.LAYOUT, db=store.tables.meta)
    if stored is not None and int.from_bytes(stored) > MOST_LAYOUTS:
        raise Damaged(f"it says that its layout is {int.from_bytes(stored)}")
    if stored is not None and int.from_bytes(stored) > LAYOUT:
        raise NewerLayout(
            f"the data have layout {int.from_bytes(stored)}, this svcdns reads up to {LAYOUT}: "
            "start the newer svcdns, or name another data folder"
        )
    return None if stored is None else bytes(stored)


def layout_of(store: Store) -> int | None:
    """Return the layout of the data, None where they have none yet."""
    with store.read() as txn:
        stored = txn.get(counts.LAYOUT, db=store.tables.meta)
    return None if stored is None else int.from_bytes(stored)


def store_layout(txn: lmdb.Transaction, store: Store) -> None:
    """Store that the data have our layout.  A small write, by which is seen whether any succeeds."""
    txn.put(counts.LAYOUT, counts.layout_row(LAYOUT), db=store.tables.meta)


def has_answers(store: Store) -> bool:
    """Return whether there is something to answer from: manifests and zone files have been in once."""
    with store.read() as txn:
        serving = read_serving(txn, store.tables)
    return serving is not None and serving.loaded


def bring_up_to_date(store: Store, settings: Settings) -> None:
    """Fill the other answer table, and switch to it, if the current one was made otherwise."""
    made_by = b"%d %d " % (LAYOUT, RULES) + settings.fingerprint()
    with store.read() as txn:
        current = read_serving(txn, store.tables)
        if current is not None and txn.get(MADE_BY, db=store.tables.meta) == made_by:
            return
    target = "b" if current is not None and current.table == "a" else "a"
    began = time.monotonic()
    _clear(store, target)
    touched_objects = sum(_fill(store, settings, target))
    _switch(store, settings, target, current, made_by)
    if current is not None:
        seconds = time.monotonic() - began
        logger.info("answers made anew for changed settings: %d objects in %.1f s", touched_objects, seconds)


def have_made_anew(store: Store, txn: lmdb.Transaction) -> None:
    """Have the next start make all answers anew; until then those that are there answer."""
    txn.delete(MADE_BY, db=store.tables.meta)


def set_loaded(store: Store) -> None:
    """Store that manifests and zone files are in: from now on unknown names are NXDOMAIN."""
    with store.read() as txn:
        serving = read_serving(txn, store.tables)
    if serving is None or serving.loaded:
        return  # nothing is written at a usual start, which a full disk must not hold up
    with store.write() as txn:
        write_serving(txn, store.tables, msgspec.structs.replace(serving, loaded=True))


def _table(store: Store, letter: str) -> lmdb._Database:
    return store.tables.answers_b if letter == "b" else store.tables.answers_a


def current_table(store: Store, txn: lmdb.Transaction) -> lmdb._Database:
    """Return the table that answers now."""
    serving = read_serving(txn, store.tables)
    return _table(store, serving.table if serving is not None else "a")


def _clear(store: Store, letter: str) -> None:
    """Empty the facts and the table to fill; nothing may be taken for made until the switch."""
    tables = store.tables
    with store.write() as txn:
        txn.delete(MADE_BY, db=tables.meta)
        alias_claims.clear(txn, tables)
        for table in (tables.endpoints, tables.addresses, tables.pod_ips, _table(store, letter)):
            txn.drop(table, delete=False)


def _fill(store: Store, settings: Settings, letter: str) -> Iterator[int]:
    """Derive facts and answers from all objects, CHUNK objects a transaction; yield how many each."""
    now = datetime.now(UTC).strftime(TIME_FORMAT)  # of slices that older rules did not make
    for kind in (NAMESPACE, SERVICE, POD):
        keys = [b""]
        while keys:
            with store.write() as txn:
                write = WriteTransaction(txn, store.tables, settings, now)
                after, table = keys[-1], store.tables.objects
                objects = dict(islice(scan(txn, table, collection_prefix(kind), after), CHUNK))
                for octets in objects.values():
                    if kind is POD:  # what its slices hold follows from its Services
                        facts.pod_changed(write, None, decode(octets))
                    else:
                        derive(write, kind, None, decode(octets))
                rebuild(AnswerTable(write, _table(store, letter)), write.touched)
            yield len(objects)
            keys = list(objects)


def _switch(store: Store, settings: Settings, letter: str, current: Serving | None, made_by: bytes) -> None:
    """Make the filled table the one that answers, in one small transaction."""
    tables = store.tables
    with store.write() as txn:
        answers = AnswerTable(WriteTransaction(txn, tables, settings, ""), _table(store, letter))
        put_fixed_rows(answers)
        zones = [settings.names.apex, *(key for _, key in settings.reverse_zones)]
        is_map = txn.get(POSITION, db=tables.meta) is not None  # serials are those of the other replicas
        move_serials(answers, None if is_map else int(time.time()), zones)
        row_log.clear(txn, tables.row_log)
        write_serving(txn, tables, _next_serving(settings, letter, current))
        txn.put(MADE_BY, made_by, db=tables.meta)


def _next_serving(settings: Settings, letter: str, current: Serving | None) -> Serving:
    dns = settings.config.dns
    ours = [(settings.names.domain, settings.names.apex, "cluster")]
    ours += [(origin, key, "reverse") for origin, key in settings.reverse_zones]
    zones = [Zone(*zone, fallthrough=settings.may_fall_through(zone[1])) for zone in ours]
    zones += [zone for zone in (current.zones if current else ()) if zone.kind == "file"]
    return Serving(
        table=letter,
        cluster_key=settings.names.apex,
        short_names=dns.short_names,
        pods=dns.pods,
        ttl=dns.ttl,
        zones=tuple(sorted(zones, key=lambda zone: -len(zone.key))),
        own_reverse=own_reverse_prefixes(settings.own_ranges),
        fallthrough=settings.fallthrough,
        alias_zones=settings.alias_zones,
        epoch=(current.epoch if current else 0) + 1,
        loaded=current.loaded if current else False,
    )
