"""Taking back all that the proxy changed of this machine: offline, as often as you like.

Everything of ours is known by its name, its number, its comment, or by the file of `changes_made`; nothing
else is touched.  What is gone already is no failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from svcdns.netlink import rulesets, wire

from . import docker_jump, machine_settings, own_routes
from .changes_made import DEFAULT_FOLDER, ChangesMade, Restored
from .host import read

TABLE = "svcdns"
_FAMILIES = ("ip", "ip6")


def cleanup(folder: Path = DEFAULT_FOLDER) -> list[Restored]:
    """Take back everything in this network namespace; return what came of it, [] where there was nothing.

    `folder` is where the file of what was changed is.  Raises OSError where the kernel cannot be asked.
    """
    with wire.Socket(wire.ROUTE) as routes, wire.Socket(wire.NETFILTER) as packets:
        return list(_taken_back(routes, packets, folder))


def _taken_back(routes: wire.Socket, packets: wire.Socket, folder: Path) -> Iterator[Restored]:
    yield from docker_jump.remove(packets)
    yield from _tables(packets)
    yield from own_routes.remove(routes, read(routes))
    docker_is_here = bool(docker_jump.backs(packets))
    yield from machine_settings.restore(routes, read(routes), ChangesMade(folder), docker_is_here)


def _tables(packets: wire.Socket) -> Iterator[Restored]:
    """Delete our tables of packet rules, of whatever version of ours."""
    for family, name in rulesets.tables(packets):
        if family not in _FAMILIES or not (name == TABLE or name.startswith(f"{TABLE}-")):
            continue
        try:
            if rulesets.delete_table(packets, family, name):
                yield Restored(f"the table {family} {name} is gone", True)
        except wire.NetlinkError as wrong:
            why = "a proxy still runs; end it first" if wrong.errno == 1 else wrong.strerror
            yield Restored(f"the table {family} {name} stays: {why}", False)
