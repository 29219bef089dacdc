"""Opening the LMDB environment of the registry, alike in every process (the cache has one of its own).

House rules (each was measured to go wrong otherwise):

* one environment, with the same sparse map and reader table size in every process;
* default sync flags: a commit that returned has been flushed to disk;
* opened after exec, never across a fork; its folder belongs to one uid and is 0700;
* only the writer process opens it with role="writer"; all others read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import lmdb

MAP_OCTETS = 64 << 30
MAX_READERS = 1024
FOLDER_MODE = 0o700
DATA_FILE = "data.mdb"


@dataclass(frozen=True, slots=True)
class Tables:
    """The database handles; each field is a table, described where its rows are made.

    meta         single values: revision, layout, rules, settings, serving (see snapshot.py);
                 dependents by their owner (see registry/owners.py)
    objects      kind NUL namespace NUL name -> JSON as served
    log          revision u64 -> event (see log.py)
    event_log    the same for objects of kind Event, with a bound of its own
    allocations  addresses and ports in use -> their Service
    slices       namespace NUL service NUL slice -> what the endpoints rows of a slice need
    members      namespace NUL service NUL pod NUL family -> name of the generated slice that holds it
    selectors    namespace NUL label=value NUL service: Services by one pair of their selector
    labels       namespace NUL label=value NUL pod: Pods by each of their labels
    endpoints    namespace NUL service NUL endpoint label NUL address, slice -> packed RRs
    addresses    address, then who has it -> PTR
    pod_ips      namespace NUL address, pod: which live Pods have an address
    answers_a    key of an owner name -> packed row (table a)
    answers_b    the same, table b; `serving` says which one answers
    zones        key of an origin -> zone record (zone files)
    zone_rows    zone version u32, key -> packed row (zone files)
    """

    meta: lmdb._Database
    objects: lmdb._Database
    log: lmdb._Database
    event_log: lmdb._Database
    allocations: lmdb._Database
    slices: lmdb._Database
    members: lmdb._Database
    selectors: lmdb._Database
    labels: lmdb._Database
    endpoints: lmdb._Database
    addresses: lmdb._Database
    pod_ips: lmdb._Database
    answers_a: lmdb._Database
    answers_b: lmdb._Database
    zones: lmdb._Database
    zone_rows: lmdb._Database


class NotThere(Exception):
    """The environment has not been created yet (a reader came before the writer's first start)."""


@dataclass(frozen=True, slots=True)
class Store:
    """An open environment and its tables."""

    env: lmdb.Environment
    tables: Tables

    def read(self) -> lmdb.Transaction:
        """Begin a read transaction: everything as of the last commit."""
        return self.env.begin()

    def close(self) -> None:
        """Close the environment; no transaction may be open."""
        self.env.close()


def open_store(folder: Path, role: Literal["writer", "reader"]) -> Store:
    """Open the environment in `folder`; the writer creates folder and tables where they are missing.

    Raises NotThere for a reader when the writer has never finished creating it, lmdb.Error for
    everything that LMDB refuses (a damaged file, no permission).
    """
    names = [field.name for field in fields(Tables)]
    if role == "writer":
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        env = _environment(folder, readonly=False, tables=len(names))
        _check_length(env, folder / DATA_FILE)
        with env.begin(write=True) as txn:
            handles = {name: env.open_db(name.encode(), txn=txn) for name in names}
    else:
        if not (folder / DATA_FILE).exists():
            raise NotThere(f"no data in {folder} yet")
        env = _environment(folder, readonly=True, tables=len(names))
        try:
            # without a transaction of ours: a handle lives only if the one that opened it commits
            handles = {name: env.open_db(name.encode(), create=False) for name in names}
        except lmdb.NotFoundError as missing:
            env.close()
            raise NotThere(f"no tables in {folder} yet") from missing
    return Store(env, Tables(**handles))


def _environment(folder: Path, *, readonly: bool, tables: int) -> lmdb.Environment:
    return lmdb.open(
        str(folder),
        map_size=MAP_OCTETS,
        max_readers=MAX_READERS,
        max_dbs=tables + 8,
        readonly=readonly,
        mode=0o600,
        max_spare_txns=4,
    )


def _check_length(env: lmdb.Environment, file: Path) -> None:
    """Raise lmdb.CorruptedError when the file ends before rows that are in use.

    Reading behind the end is not an error but the end of the process (SIGBUS).  A file may also be shorter
    than LMDB counts pages by right, as pages that a transaction took and gave back are never written.
    So one that is too short is made as long as it should be, and all rows are read.
    """
    has, needs = file.stat().st_size, (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if has >= needs:
        return
    os.truncate(file, needs)
    try:
        _read_every_row(env)
    except lmdb.Error as missing:
        env.close()
        os.truncate(file, has)
        raise lmdb.CorruptedError(f"{file.name} was cut: it has {has} of {needs} octets") from missing


def _read_every_row(env: lmdb.Environment) -> None:
    with env.begin(write=True) as txn:
        with txn.cursor() as cursor:
            names = [bytes(name) for name in cursor.iternext(values=False)]
        for name in names:
            with txn.cursor(db=env.open_db(name, txn=txn, create=False)) as cursor:
                for _ in cursor:
                    pass
