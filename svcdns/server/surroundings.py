"""What a server needs of the system that started it, looked at before anything is bound.

Each refusal is one line that names the remedy.  Standard library only.
"""

from __future__ import annotations

import os
import pwd
import resource
import subprocess
import sys

from svcdns.config.sections import Config
from svcdns.store.map_size import MAP_OCTETS

_REST_OCTETS = 2 << 30
"""For all else that a process maps: Python, its libraries and threads."""
_CACHE_MAPS = 4
"""Octets of the cache's map for each that it may hold (svcdns.cache.store)."""
_TRY = "import svcdns.config.sections, lmdb"


class NotHere(Exception):
    """The server can't run here; the text is one line."""


def check(config: Config) -> None:
    """Raise NotHere where the processes of a server could not run."""
    _make_room_for_maps(config)
    if config.user and os.geteuid() == 0:
        _check_interpreter(config.user)


def _make_room_for_maps(config: Config) -> None:
    """Raise the limit of address space (ulimit -v) as far as is needed and may be."""
    needed = MAP_OCTETS + _CACHE_MAPS * config.cache.octets + _REST_OCTETS
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise NotHere(
            f"address space is limited to {hard >> 20} MiB for each process, the store's map takes "
            f"{MAP_OCTETS >> 30} GiB of it (not of memory): start svcdns with `ulimit -v unlimited` "
            "(systemd: LimitAS=infinity)"
        )
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _check_interpreter(name: str) -> None:
    """Try whether a user may run this Python with our packages: a folder such as /root may be in the way."""
    account = pwd.getpwnam(name)
    python = sys.executable
    remedy = "install svcdns where all users may read it (such as /opt/svcdns), or choose another user"
    try:
        tried = subprocess.run(
            [python, "-c", _TRY],
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=os.getgrouplist(name, account.pw_gid),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    except PermissionError:
        raise NotHere(f"user: {name!r} may not execute {python}: {remedy}") from None
    if tried.returncode:
        *_, last = tried.stderr.splitlines() or [f"it ended with code {tried.returncode}"]
        raise NotHere(f"user: {name!r} can't run svcdns with {python} ({last}): {remedy}")
