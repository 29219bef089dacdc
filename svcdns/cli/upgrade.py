"""`svcdns upgrade`: have a running server become the code and the configuration that are there now."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .flags import ConfigFlag, DataFlag, loaded
from .outcome import Refused

if TYPE_CHECKING:
    from svcdns.server.upgrade_progress import State

SECONDS = 180.0
"""More than all that a server waits for in an upgrade."""
_POLL_SECONDS = 0.05


def upgrade(config: ConfigFlag = None, data: DataFlag = None) -> None:
    """Have a running server become the version, and take the configuration, that are there now.

    No question is lost: the new version checks its configuration first, then starts beside the old one on the
    same sockets. The process stays the same. Exit code 0 when the new version answers; 1 when not, and then
    the old one goes on and the last line says why. SIGUSR2 to the server does the same.

    Examples:

        pip install --upgrade svcdns && svcdns upgrade --data /var/lib/svcdns

        svcdns upgrade --config /etc/svcdns/svcdns.toml
    """
    folder = Path(data) if data is not None else loaded(config, {}).data
    _upgrade(folder.absolute(), typer.echo)


def reload(config: ConfigFlag = None, data: DataFlag = None) -> None:
    """Have a running server take the configuration, zone files and manifests that are there now.

    It is what `svcdns upgrade` does, by another name: no question is lost, and a mistake changes nothing.
    What can't be taken so (another data folder or user) is named. SIGHUP does the same where the
    configuration has changed, and looks at zone files.

    Example:

        svcdns reload --config /etc/svcdns/svcdns.toml
    """
    upgrade(config, data)


def _upgrade(folder: Path, say: Callable[[str], None]) -> None:
    """Tell the server on a data folder to, and follow it; `say` is given a line for each step.

    Raises Refused where there is none, where it can't, and where the upgrade fails: the old processes stay.
    """
    from svcdns.server.upgrade_progress import read

    pid = _running(folder)
    before = read(folder)
    if before.code is None:
        raise Refused(f"an upgrade of the server on {folder} is under way already")
    if not _understands(pid):
        who = f"the server on {folder} (process {pid})"
        raise Refused(f"{who} is of a version that can't be upgraded: restart it instead")
    try:
        os.kill(pid, signal.SIGUSR2)
    except OSError as failed:
        text = (failed.strerror or str(failed)).lower()
        remedy = "; run this as root or as the user whose it is" * isinstance(failed, PermissionError)
        raise Refused(f"the server on {folder} (process {pid}) can't be told: {text}{remedy}") from None
    _follow(folder, before, say)


def _follow(folder: Path, before: State, say: Callable[[str], None]) -> None:
    from svcdns.server.upgrade_progress import read

    said = 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        state = read(folder)
        if state.number > before.number:
            if state.code:
                *lines, last = state.lines[said:]
                for line in lines:
                    say(line)
                raise Refused(last)
            for line in state.lines[said:]:
                say(line)
            said = len(state.lines)
            if state.code == 0:
                return
        if said and not _is_held(folder):
            raise Refused(f"the server on {folder} has ended; its log says why")
        time.sleep(_POLL_SECONDS)
    raise Refused(
        f"the server on {folder} has not said within {SECONDS:g} s how the upgrade went; its log does"
    )


def _running(folder: Path) -> int:
    """Return the pid of the server on a data folder.  Raises Refused."""
    from svcdns.server.data_folder import LOCK

    try:
        text = (folder / LOCK).read_text().strip()
        held = _is_held(folder)
    except (FileNotFoundError, NotADirectoryError):
        text, held = "", False
    except OSError as failed:
        reason = (failed.strerror or str(failed)).lower()
        raise Refused(f"{folder} can't be read: {reason}; run this as the user whose it is") from None
    if not held or not text.isdigit():
        raise Refused(f"no server runs on {folder}; allowed: --data or --config of one that does")
    return int(text)


def _is_held(folder: Path) -> bool:
    """Return whether a server has the folder's lock; a pid alone could be another process' by now."""
    from svcdns.server.data_folder import LOCK

    descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _understands(pid: int) -> bool:
    """Return whether SIGUSR2 is caught, or waits: it would end an older server."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    masks = re.findall(r"^Sig(?:Cgt|Blk):\s*([0-9a-f]+)$", status, re.MULTILINE)
    return any(int(mask, 16) >> (signal.SIGUSR2 - 1) & 1 for mask in masks)
