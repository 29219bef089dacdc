"""The two tables of answers, a and b: building the other one when the rules or the settings have changed.

`meta` holds the layout (binary format) and what made the answers: the rules (settings.RULES) and a
fingerprint of the settings.  On a difference at start the other table is filled from the objects in small
transactions, and one small transaction switches to it; until then the old one answers.  Interrupted, it
begins again.
"""

from __future__ import annotations

import logging
import time

import lmdb
import msgspec

from svcdns.names.packed import LAYOUT
from svcdns.store import counts, row_log
from svcdns.store.damage import Damaged
from svcdns.store.environment import Store
from svcdns.store.snapshot import Serving, Zone, read_serving, write_serving

from . import alias_claims
from .all_answers import STEPS, AllAnswers
from .dns_rows import AnswerTable, move_serials, put_fixed_rows
from .settings import RULES, Settings, own_reverse_prefixes
from .transaction import POSITION, WriteTransaction

logger = logging.getLogger(__name__)

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
    _fill(store, settings, target)
    _switch(store, settings, target, current, made_by)
    if current is not None:
        seconds = time.monotonic() - began
        with store.read() as txn:
            objects = txn.stat(db=store.tables.objects)["entries"]
        logger.info("answers made anew for changed settings: %d objects in %.1f s", objects, seconds)


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


def _fill(store: Store, settings: Settings, letter: str) -> None:
    """Make facts and answers of all objects, some of them a transaction."""
    for step in STEPS:
        after, more = b"", True
        while more:
            with store.write() as txn:
                write = WriteTransaction(txn, store.tables, settings, "", logs=False, with_facts=False)
                making = AllAnswers(write, _table(store, letter))
                after = step(making, after)
                making.flush()
            more = bool(after)


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
