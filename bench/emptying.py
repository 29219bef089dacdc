"""What it costs to empty a namespace in steps as large as a transaction of etcd: CPU of all, and the slowest.

    python bench/emptying.py [OBJECTS]

Namespaces of OBJECTS objects (10,000 unless told otherwise) and of a quarter as many are deleted, each in a
registry of its own without etcd, whose writes are given the room that etcd has: Leases, Leases that a
finalizer holds, which stay, and EndpointSlices.  Printed is a Markdown table.  To compare with another
version of svcdns: PYTHONPATH=FOLDER.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from svcdns.config.sections import Config
from svcdns.objects.kinds import ENDPOINTSLICE, LEASE, NAMESPACE, Kind
from svcdns.registry.registry import Registry
from svcdns.registry.replicated.proposals import MOST_OCTETS, ROOM
from svcdns.registry.requests import DeleteOptions, WriteOptions
from svcdns.registry.transaction import WriteTransaction
from svcdns.store.environment import open_store

HELD = {"finalizers": ["example.org/hold"]}
SLICE = {"addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}]}
CASES: dict[str, tuple[Kind, dict[str, Any], dict[str, Any]]] = {
    "Leases": (LEASE, {}, {}),
    "Leases that are held": (LEASE, HELD, {}),
    "EndpointSlices": (ENDPOINTSLICE, {}, SLICE),
}
AT_ONCE = 1000


class Steps:
    """Has writes run with little room, and measures each."""

    def __init__(self, registry: Registry) -> None:
        self.seconds: list[float] = []
        self._write = registry._committer.write
        registry._committer.write = registry._unfinished._write = self.run  # type: ignore[method-assign]

    async def run(self, action: Callable[[WriteTransaction], Any], *, dry_run: bool = False) -> Any:
        """Run one write."""

        def measured(write: WriteTransaction) -> Any:
            write.most_operations = ROOM
            if hasattr(write, "most_octets"):
                write.most_octets = MOST_OCTETS // 2
            began = time.thread_time()
            try:
                return action(write)
            finally:
                self.seconds.append(time.thread_time() - began)

        return await self._write(measured, dry_run=dry_run)


async def empty(folder: Path, case: str, count: int) -> list[float]:
    """Return the CPU seconds of each write that emptied a namespace of so many objects."""
    kind, metadata, body = CASES[case]
    store = open_store(folder, "writer")
    registry = Registry(store, Config())
    await registry.start()
    await registry.set_loaded()
    await registry.create(NAMESPACE, "", {"metadata": {"name": "shop"}}, WriteOptions())
    made = [{"metadata": {"name": f"o-{number:06}", **metadata}, **body} for number in range(count)]
    for begin in range(0, count, AT_ONCE):
        some = made[begin : begin + AT_ONCE]
        await asyncio.gather(*(registry.create(kind, "shop", one, WriteOptions()) for one in some))
    steps = Steps(registry)
    await registry.delete(NAMESPACE, "", "shop", DeleteOptions())
    while registry._unfinished._tasks:
        await asyncio.sleep(0.01)
    await registry.stop()
    store.close()
    return steps.seconds


def main() -> None:
    """Measure and print."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    print("| what | objects | writes | CPU | slowest write |\n|---|---|---|---|---|")
    for case in CASES:
        for count in (most // 4, most):
            with tempfile.TemporaryDirectory() as folder:
                seconds = asyncio.run(empty(Path(folder) / "data", case, count))
            figures = f"{sum(seconds):.2f} s | {max(seconds) * 1000:.0f} ms"
            print(f"| {case} | {count:,} | {len(seconds)} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
