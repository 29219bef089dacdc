"""Opening the LMDB environment of the registry, alike in every process (the cache has one of its own).

House rules (each was measured to go wrong otherwise):

* one environment, with the same sparse map and reader table size in every process;
* a commit that returned has been flushed to disk; only the last one of a map of what etcd holds may be undone
  by a power cut (MDB_NOMETASYNC: what is there stays whole), as it is applied again;
* opened after exec, never across a fork; its folder belongs to one uid and is 0700;
* only the writer process opens it with role="writer"; all others read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import lmdb

from . import counts
from .damage import Damaged
from .map_size import MAP_OCTETS

MAX_READERS = 1024
FOLDER_MODE = 0o700
FILE_MODE = 0o600
DATA_FILE, LOCK_FILE = "data.mdb", "lock.mdb"


@dataclass(frozen=True, slots=True)
class Tables:
    """The database handles; each field is a table, described where its rows are made.

    meta         single values: revision, layout, rules, settings, serving (see snapshot.py);
                 dependents by their owner (see registry/owners.py); whether there was a Pod with probes
    objects      kind NUL namespace NUL name -> JSON as served
    log          revision u64 -> event (see log.py)
    event_log    the same for Events and Leases, with a bound of its own
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
    row_log      what rows of answers were before each change of a zone (see row_log.py)
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
    row_log: lmdb._Database

    def by_name(self) -> dict[str, lmdb._Database]:
        """Return all tables."""
        return {name: getattr(self, name) for name in _NAMES}


_NAMES = [field.name for field in fields(Tables)]


class NotThere(Exception):
    """The environment has not been created yet (a reader came before the writer's first start)."""


@dataclass(frozen=True, slots=True)
class Store:
    """An open environment and its tables."""

    env: lmdb.Environment
    tables: Tables
    has_lock: bool = True
    """False on a read-only file system, where readers can't say what they read: nobody writes there."""

    def read(self) -> lmdb.Transaction:
        """Begin a read transaction: everything as of the last commit."""
        return self.env.begin()

    @contextmanager
    def write(self) -> Iterator[lmdb.Transaction]:
        """Begin a write transaction that is committed with its counts; an exception aborts it."""
        with self.env.begin(write=True) as txn:
            yield txn
            counts.note(txn, self.tables.by_name())

    def check(self, *, as_copied: bool = False) -> None:
        """Walk through all tables; raise Damaged, or one of damage.OF_LMDB, where they are not whole.

        In what LMDB has copied (`as_copied`) transactions are numbered anew.
        """
        with self.read() as txn:
            counts.check(txn, self.tables.by_name(), as_copied=as_copied)

    def close(self) -> None:
        """Close the environment; no transaction may be open."""
        self.env.close()


def is_read_only(folder: Path) -> bool:
    """Return whether a folder lies on a file system that is mounted read-only.

    Never found out by opening a file of the store: to close it would end LMDB's locks on it.
    """
    try:
        return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def open_store(folder: Path, role: Literal["writer", "reader"], *, is_map: bool = False) -> Store:
    """Open the environment in `folder`; the writer creates folder and tables where they are missing.

    `is_map`: all that is written there is durable elsewhere, and is taken up again from what is there.

    On a read-only file system LMDB does without its lock file, which could not be written: readers have no
    slots in it.  That is safe for as long as nobody can write the data.  When the file system has become
    writable, all readers open the store again before the writer does (server.store_reader, server.writer).

    Raises NotThere for a reader when the writer has never finished creating it, lmdb.Error for
    everything that LMDB refuses (a damaged file, no permission), Damaged where tables are gone.
    """
    has_lock = not is_read_only(folder)
    if role == "writer":
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        env = _environment(folder, readonly=False, metasync=not is_map)
        _check_length(env, folder / DATA_FILE)
        handles = _tables_or_close(env)
    else:
        if not (folder / DATA_FILE).exists():
            raise NotThere(f"no data in {folder} yet")
        env = _environment(folder, readonly=True)
        try:
            # without a transaction of ours: a handle lives only if the one that opened it commits
            handles = {name: env.open_db(name.encode(), create=False) for name in _NAMES}
        except lmdb.NotFoundError as missing:
            env.close()
            raise NotThere(f"no tables in {folder} yet") from missing
    return Store(env, Tables(**handles), has_lock)


def open_file(file: Path) -> Store:
    """Open a store that is one file and nobody else's, for writing; tables that it lacks are made.

    Raises lmdb.Error, Damaged.
    """
    env = lmdb.open(
        str(file),
        subdir=False,
        lock=False,
        map_size=MAP_OCTETS,
        max_dbs=len(_NAMES) + 8,
        mode=FILE_MODE,
        create=False,
    )
    return Store(env, Tables(**_tables_or_close(env)))


def _tables_or_close(env: lmdb.Environment) -> dict[str, lmdb._Database]:
    try:
        return _make_tables(env)
    except (lmdb.Error, Damaged):
        env.close()
        raise


def _make_tables(env: lmdb.Environment) -> dict[str, lmdb._Database]:
    """Open all tables; those that an older svcdns did not have are made, and counted with the others."""
    with env.begin() as txn, txn.cursor() as cursor:
        there = {bytes(name) for name in cursor.iternext(values=False)}
    if env.info()["last_txnid"] and b"meta" not in there:
        raise Damaged("it lacks the table meta, which each store has")
    with env.begin(write=True) as txn:
        handles = {name: env.open_db(name.encode(), txn=txn) for name in _NAMES}
        missing = [name for name in _NAMES if name.encode() not in there]
        if there and missing:
            counts.refuse_to_lack(txn, handles["meta"], missing)
            counts.note(txn, handles)
    return handles


def _environment(folder: Path, *, readonly: bool, metasync: bool = True) -> lmdb.Environment:
    return lmdb.open(
        str(folder),
        map_size=MAP_OCTETS,
        max_readers=MAX_READERS,
        max_dbs=len(_NAMES) + 8,
        readonly=readonly,
        metasync=metasync,
        mode=FILE_MODE,
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
