"""What the proxy changed of this machine that nothing in the kernel tells apart from others' doing: a file.

Tables, routes and packet rules of ours bear our name or number and need no file.  A sysctl or the mode of a
port doesn't.  Rules:

* a value is written down before it is changed, with what it was before the first change; what cannot be
  written down isn't changed;
* the file is one network namespace's, and one boot's: what it says of another is forgotten, because these
  settings ended with it;
* a file that cannot be read is as none: then nothing is restored, and nothing guessed;
* the folder may be another user's (a server's data folder, for root who cleans up): no link is followed, only
  a plain file of a sensible size is read, and whoever restores checks what it says.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from svcdns.system.replacing import atomic_write

DEFAULT_FOLDER = Path("/run/svcdns")
"""Where the file is, unless this process may not write there: then in the data folder."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/thread-self/ns/net")
_SO_NETNS_COOKIE = 71
_MOST_OCTETS = 1 << 24
"""Of the file: a machine with 100,000 ports of bridges has less to say."""


class Changed(NamedTuple):
    """One setting that was changed."""

    what: str
    """Its kind, such as "sysctl"."""
    name: str
    before: str


class Restored(NamedTuple):
    """What came of taking back one thing, in words."""

    text: str
    is_done: bool


def folder_for(data: Path) -> Path:
    """Return where this process keeps its file, given the data folder of its configuration."""
    nearest = next(one for one in (DEFAULT_FOLDER, *DEFAULT_FOLDER.parents) if one.exists())
    return DEFAULT_FOLDER if os.access(nearest, os.W_OK) else data


class ChangesMade:
    """The settings that were changed and not restored yet."""

    def __init__(self, folder: Path) -> None:
        """Read what was changed in this network namespace since the boot; the folder need not be there."""
        self._path = folder / f"changed-{_namespace()}.json"
        self._boot = _boot()
        self._before = self._read()

    def all(self) -> list[Changed]:
        """Return the changes, the oldest first."""
        return [Changed(what, name, before) for (what, name), before in self._before.items()]

    def note(self, what: str, name: str, before: str) -> None:
        """Write down what a setting was, before it is changed.  Raises OSError: then leave it as it is."""
        if (what, name) not in self._before:
            self._before[what, name] = before
            try:
                self._write()
            except BaseException:
                del self._before[what, name]
                raise

    def forget(self, what: str, name: str) -> None:
        """A setting is as it was, or gone.  Raises OSError."""
        if self._before.pop((what, name), None) is not None:
            self._write()

    def _read(self) -> dict[tuple[str, str], str]:
        try:
            said = json.loads(_plain_file(self._path))
            changed = [Changed(*map(str, one)) for one in said["changed"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}
        if said.get("boot") != self._boot:
            return {}
        return {(one.what, one.name): one.before for one in changed}

    def _write(self) -> None:
        if not self._before:
            self._path.unlink(missing_ok=True)
            with suppress(OSError):  # others have files there
                self._path.parent.rmdir()
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        said = {"boot": self._boot, "changed": self.all()}
        atomic_write(self._path, json.dumps(said).encode())


def _plain_file(path: Path) -> bytes:
    """Return what a file holds.  Raises OSError, ValueError for a link, a pipe and what is far too large."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a plain file")
        octets = file.read(_MOST_OCTETS + 1)
    if len(octets) > _MOST_OCTETS:
        raise ValueError("too large")
    return octets


def _namespace() -> int:
    """Return what tells this network namespace from all others of this boot, also from those that ended.

    The inode's number (Linux before 5.14) may be used again.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket:
        try:
            return int.from_bytes(
                any_socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder
            )
        except OSError:
            return os.stat(_NAMESPACE).st_ino


def _boot() -> str:
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""
