"""`svcdns backup` and `svcdns restore`: the registry in one file, and back (svcdns.registry.backup).

They work where the data folder is, for the user whose it is, and need nothing of a running server.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from .flags import ConfigFlag, DataFlag, loaded
from .outcome import Refused

_FIRST_SECONDS, _BETWEEN_SECONDS = 2.0, 1.0


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

        made = back_up(folder, file, _Progress("copied"))
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
        done = restore(file, folder, keep, _Progress("copied"))
    made = f" made {done.made}" if done.made else ""
    typer.echo(f"{folder}: {counted(done.objects)} of {file}{made}")
    if keep is not None:
        typer.echo(f"what was there before is {keep}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the data folder as a server does.  Raises Refused where one has it."""
    from svcdns.registry.backup import give_to_owner
    from svcdns.server.data_folder import LOCK, FolderError, take

    try:
        descriptors = take(folder)
    except FolderError as used:
        raise Refused(str(used)) from None
    try:
        give_to_owner(folder, LOCK)
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@contextlib.contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn what can go wrong into one line; SIGTERM ends in order, so that nothing half is left."""
    import lmdb

    from svcdns.registry.answer_tables import NewerLayout
    from svcdns.registry.backup import BackupError
    from svcdns.store.damage import Damaged
    from svcdns.store.environment import NotThere

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    except (BackupError, NewerLayout, Damaged) as wrong:
        raise Refused(str(wrong)) from None
    except NotThere as nothing:
        raise Refused(f"{nothing}; allowed: --data or --config of a server that has run") from None
    except (OSError, lmdb.Error) as failed:
        raise Refused(_failure(failed, place)) from None


def _failure(failed: Exception, place: Path) -> str:
    text = (getattr(failed, "strerror", None) or str(failed)).strip()
    where = str(getattr(failed, "filename", None) or place)
    where = str(place) if where.endswith(".new") else where  # a name of ours, which nobody has to know
    if getattr(failed, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text:
        return f"{place}: there is no room for it; nothing was changed, and nothing half is left"
    remedy = "; run it as root or as the user whose the data folder is" if "ermission" in text else ""
    return f"{where}: {text[0].lower()}{text[1:]}{remedy}"


class _Progress:
    """Says on stderr how far a long copy is."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._next = time.monotonic() + _FIRST_SECONDS

    def __call__(self, done: int, octets: int) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _BETWEEN_SECONDS
            with contextlib.suppress(OSError):
                print(f"{self._verb} {_size(done)} of {_size(max(done, octets))}", file=sys.stderr)


def counted(count: int) -> str:
    """Return a number of objects in words."""
    return f"{count:,} object{'' if count == 1 else 's'}"


def _size(octets: int) -> str:
    return f"{octets / 1024 / 1024:.1f} MiB"
