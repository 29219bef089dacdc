"""Taking back all that the proxy changed of this machine: offline, as often as you like.

Everything of ours is known by its name, its number, its comment, or by the file of `changes_made`; nothing
else is touched.  What is gone already is no failure.  Where a proxy lives (`host_lock`, or a kernel that has
our tables for it), it would make everything anew: then nothing is taken back, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from svcdns.netlink import wire

from . import announcing, answer_gate, docker_jump, host_lock, kernel, machine_settings, own_routes
from .changes_made import DEFAULT_FOLDER, ChangesMade, Restored
from .engine import EngineError
from .host import read


def cleanup(folders: Sequence[Path] = (DEFAULT_FOLDER,)) -> list[Restored]:
    """Take back everything in this network namespace; return what came of it, [] where there was nothing.

    `folders` are where the file of what was changed may be.  Raises OSError where the kernel cannot be asked.
    """
    if who := host_lock.holder():
        return [Restored(f"the packet rules stay, and all else with them: {who} runs: end it first", False)]
    try:
        tables = kernel.clean_up()
    except EngineError as refused:
        return [Restored(f"the packet rules stay, and all else with them: {refused}", False)]
    with wire.Socket(wire.ROUTE) as routes, wire.Socket(wire.NETFILTER) as packets:
        return [
            *(Restored(f"the table {table} is gone", True) for table in tables),
            *_taken_back(routes, packets, folders),
        ]


def _taken_back(routes: wire.Socket, packets: wire.Socket, folders: Sequence[Path]) -> Iterator[Restored]:
    yield from docker_jump.remove(packets)
    yield from announcing.remove(routes)
    yield from answer_gate.remove(packets)
    yield from own_routes.remove(routes, read(routes))
    docker_is_here = docker_jump.is_here(packets)
    for folder in dict.fromkeys(folders):
        yield from machine_settings.restore(routes, read(routes), ChangesMade(folder), docker_is_here)
