"""`svcdns migrate`: a registry moves from a data folder into etcd, or back (svcdns.registry.migration)."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from svcdns.config import sharing
from svcdns.config.sections import Config, ConfigError

from .data_folders import counted, explained, locked
from .flags import ConfigFlag, DataFlag, flag_value, loaded
from .outcome import Refused
from .progress import Progress

_ETCD = "etcd"


def migrate(
    to: Annotated[
        str, typer.Option("--to", metavar="PLACE", help="etcd://HOST:PORT/PREFIX, etcd, or a folder.")
    ],
    origin: Annotated[
        str | None, typer.Option("--from", metavar="PLACE", help="Where it is: etcd, beside --to FOLDER.")
    ] = None,
    config: ConfigFlag = None,
    data: DataFlag = None,
) -> None:
    """Move a registry from a data folder into etcd, or back, as it is: uids, addresses, ports.

    `etcd` alone means the members, prefix, certificates and user of store in the configuration; several
    members are HOST:PORT,HOST:PORT. No server may run on the folder; where it came from it stays. Exit code 1
    when there is something below the prefix already, or a registry in the folder.

    Examples:

        svcdns migrate --to etcd://127.0.0.1:2379 --data /var/lib/svcdns

        svcdns migrate --to /var/lib/svcdns --from etcd://127.0.0.1:2379
    """
    told = loaded(config, {"data": data})
    if _is_etcd(to) and origin is None:
        there = in_etcd(told, to, "--to")
        with explained(told.data), locked(told.data):
            moved = move_into_etcd(there, told.data)
        typer.echo(f"{to}: {counted(moved)} of {told.data}, which stays; replicas want other folders")
    elif origin is not None and _is_etcd(origin) and not _is_etcd(to):
        there, folder = in_etcd(told, origin, "--from"), Path(to)
        with explained(folder), locked(folder):
            moved = _move_into_folder(there, folder)
        typer.echo(f"{folder}: {counted(moved)} of {origin}, which stays as it is")
    else:
        text = "allowed: --to etcd://HOST:PORT (from --data), or --to FOLDER --from etcd://HOST:PORT"
        raise ConfigError(f"--to {to}: one of the two places is etcd; {text}")


def restore_into_etcd(file: Path, told: Config) -> int:
    """Make a backup the registry in the etcd of a configuration; return how many objects that were."""
    from svcdns.registry.backup import restore

    with tempfile.TemporaryDirectory(prefix="svcdns-restore-") as name:
        folder = Path(name)
        restore(file, folder, None, lambda done, octets: None)
        return move_into_etcd(told, folder)


def in_etcd(told: Config, place: str, flag: str) -> Config:
    """Return a configuration with the etcd that a flag names.  Raises ConfigError."""
    if place == _ETCD:
        if not told.store.etcd:
            text = "allowed: with [store] etcd in the configuration, or etcd://HOST:PORT"
            raise ConfigError(f"{flag} etcd: the configuration names no etcd; {text}")
        return told
    members, _, prefix = place.removeprefix(f"{_ETCD}://").partition("/")
    scheme = "https" if told.store.etcd_ca or told.store.etcd_certificate else "http"
    etcd = tuple(flag_value(flag, sharing.member, f"{scheme}://{member}") for member in members.split(","))
    below = told.store.etcd_prefix
    if prefix:
        below = flag_value(flag, sharing.prefix, f"/{prefix.rstrip('/')}/")
    return replace(told, store=replace(told.store, etcd=etcd, etcd_prefix=below))


def move_into_etcd(told: Config, folder: Path) -> int:
    """Move the registry of a folder into the etcd of a configuration; return how many objects that were."""
    import asyncio

    from svcdns.registry.migration import MigrationError, into_etcd
    from svcdns.registry.replicated import engine_of
    from svcdns.store.environment import DATA_FILE, open_store

    if not (folder / DATA_FILE).exists():
        raise Refused(
            f"there is no registry in {folder}; allowed: --data or --config of a server that has run"
        )
    engine = engine_of(told)
    assert engine is not None, "etcd is named"
    with closing(open_store(folder, "writer")) as store:
        try:
            return asyncio.run(into_etcd(store, told, engine, Progress(_moved)))
        except MigrationError as wrong:
            raise Refused(str(wrong)) from None


def _move_into_folder(told: Config, folder: Path) -> int:
    import asyncio

    from svcdns.registry.backup import give_to_owner
    from svcdns.registry.migration import MigrationError, into_folder
    from svcdns.registry.replicated import engine_of
    from svcdns.store.environment import DATA_FILE, LOCK_FILE, open_store

    if (folder / DATA_FILE).exists():
        raise Refused(f"there is a registry in {folder} already; name another folder")
    engine = engine_of(told)
    assert engine is not None, "etcd is named"
    try:
        with closing(open_store(folder, "writer")) as store:
            moved = asyncio.run(into_folder(store, told, engine))
    except BaseException as failed:
        for name in (DATA_FILE, LOCK_FILE):
            (folder / name).unlink(missing_ok=True)
        if isinstance(failed, MigrationError):
            raise Refused(str(failed)) from None
        raise
    for name in (DATA_FILE, LOCK_FILE):
        give_to_owner(folder, name)
    return moved


def _is_etcd(place: str) -> bool:
    return place == _ETCD or place.startswith(f"{_ETCD}://")


def _moved(done: int, total: int) -> str:
    return f"moved {done:,} of {counted(total)}"
