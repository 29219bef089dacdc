"""`svcdns backup` and `svcdns restore`: the registry in one file, and back (svcdns.registry.backup).

They work where the data folder is, for the user whose it is, and need nothing of a running server.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from .data_folders import counted, explained, locked
from .flags import ConfigFlag, DataFlag, loaded
from .outcome import Refused
from .progress import Progress


def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Becomes the backup; replaced if it is there.")
    ],
    config: ConfigFlag = None,
    data: DataFlag = None,
) -> None:
    """Copy the registry to one file, while the server runs or not.

    The copy is of one moment, checked, and gets its name last: what was there before stays until then. Only
    its owner may read it. Exit code 1 when there is no registry, or no room.

    Examples:

        svcdns backup /var/backups/svcdns.mdb --data /var/lib/svcdns

        svcdns backup svcdns-$(date +%F).mdb --config /etc/svcdns/svcdns.toml
    """
    folder = loaded(config, {"data": data}).data
    with explained(file):
        from svcdns.registry.backup import back_up

        made = back_up(folder, file, Progress(_copied))
    typer.echo(f"{file}: {counted(made.objects)} at revision {made.revision}, {_size(made.octets)}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `svcdns backup` made.")],
    config: ConfigFlag = None,
    data: DataFlag = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a registry that is there; it is kept beside.")
    ] = False,
) -> None:
    """Make a backup the registry of a data folder, while no server runs on it.

    Nothing is changed unless the backup is whole and this svcdns can read it. Clients that watch list again,
    and all answers are made anew at the next start. Where the configuration names an etcd, it becomes the
    registry there. Exit code 1 when a server runs there, or there is a registry already and no --force; of
    etcd, when there is anything below the prefix.

    Examples:

        svcdns restore /var/backups/svcdns.mdb --data /var/lib/svcdns

        svcdns restore svcdns-2026-01-31.mdb --data /var/lib/svcdns --force
    """
    told = loaded(config, {"data": data})
    if told.store.etcd:
        from .migrate import restore_into_etcd

        with explained(told.data):
            restored = restore_into_etcd(file, told)
        typer.echo(f"etcd, below {told.store.etcd_prefix}: {counted(restored)} of {file}")
        return
    folder = told.data
    with explained(folder), locked(folder):
        from svcdns.registry.backup import restore
        from svcdns.store.environment import DATA_FILE

        keep = None
        if (folder / DATA_FILE).exists():
            if not force:
                text = f"there is a registry in {folder} already; --force replaces it, and keeps it beside"
                raise Refused(text)
            keep = folder / f"{DATA_FILE}.before-restore-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        done = restore(file, folder, keep, Progress(_copied))
    made = f" made {done.made}" if done.made else ""
    typer.echo(f"{folder}: {counted(done.objects)} of {file}{made}")
    if keep is not None:
        typer.echo(f"what was there before is {keep}")


def _copied(done: int, octets: int) -> str:
    return f"copied {_size(done)} of {_size(max(done, octets))}"


def _size(octets: int) -> str:
    return f"{octets / 1024 / 1024:.1f} MiB"
