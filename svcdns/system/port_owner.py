"""Which program has a port: what /proc shows of it to this user (proc_net(5)).

Sockets stand in /proc/net/{tcp,udp}[6] with their inodes, and a process that has one open links to it from
/proc/PID/fd.  Processes of others are only shown to root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LISTEN = "0A"
_LOCAL, _STATE, _INODE = 1, 3, 9
"""Columns of a line of /proc/net/tcp and /proc/net/udp."""


def program_at(protocol: str, port: int) -> str:
    """Return who has a port ("tcp", "udp"), such as "dnsmasq (process 312)"; "" where that is not shown."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(protocol, port)}
    for process in _processes() if wanted else ():
        with suppress(OSError):
            for open_file in os.scandir(process / "fd"):
                with suppress(OSError):
                    if os.readlink(open_file) in wanted:
                        return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return ""


def _inodes(protocol: str, port: int) -> Iterator[str]:
    for table in (protocol, f"{protocol}6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                columns = line.split()
                is_open = protocol == "udp" or columns[_STATE] == _LISTEN
                if is_open and int(columns[_LOCAL].rpartition(":")[2], 16) == port:
                    yield columns[_INODE]


def _processes() -> Iterator[Path]:
    own = str(os.getpid())
    names = (name for name in os.listdir("/proc") if name.isdigit() and name != own)
    return (Path("/proc") / name for name in sorted(names, key=int))
