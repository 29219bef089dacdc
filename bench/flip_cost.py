"""What one readiness flip costs in headless Services of 10, 500, 1,000 and 5,000 Pods.

    python bench/flip_cost.py [FLIPS]

The registry runs in this process on a new folder in the temporary directory (TMPDIR says where), one
write at a time, each with its commit and fsync.  The Pods flipped are chosen at random.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import headless, table

from svcdns.config.sections import Config
from svcdns.objects.kinds import POD, SERVICE
from svcdns.registry.registry import Registry
from svcdns.registry.requests import Patch, WriteOptions
from svcdns.store.environment import open_store

SIZES = (10, 500, 1_000, 5_000)
"""500 are the most that a row holds as a whole, or nearly (names/row_parts.WHOLE): the dearest."""


async def fill(registry: Registry, name: str, pods: int) -> None:
    """Register a headless Service and its Pods."""
    first, *others = [body for _, body in headless(name, pods)]
    await registry.create(SERVICE, "default", body(first), WriteOptions())
    for start in range(0, len(others), 500):
        some = others[start : start + 500]
        await asyncio.gather(*(registry.create(POD, "default", body(one), WriteOptions()) for one in some))


def body(made: object) -> dict[str, Any]:
    """Return an object that was made for the API."""
    assert isinstance(made, dict)
    return made


async def flip(registry: Registry, pod: str, *, ready: bool) -> None:
    """Set a Pod's Ready condition."""
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    patch = Patch("merge", {"status": status})
    await registry.patch(POD, "default", pod, patch, WriteOptions(), "status")


async def measure(registry: Registry, pods: int, flips: int) -> tuple[float, float]:
    """Return the medians of wall time and of CPU time of one flip, in milliseconds."""
    name = f"set-{pods}"
    await fill(registry, name, pods)
    walls, cpus = [], []
    for _ in range(flips):
        pod = f"{name}-{random.randrange(pods)}"
        for ready in (False, True):
            wall, cpu = time.perf_counter(), time.process_time()
            await flip(registry, pod, ready=ready)
            walls.append((time.perf_counter() - wall) * 1e3)
            cpus.append((time.process_time() - cpu) * 1e3)
    return statistics.median(walls), statistics.median(cpus)


async def run(flips: int) -> None:
    """Print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "data", "writer")
        registry = Registry(store, Config())
        await registry.start()
        await registry.set_loaded()
        found = {pods: await measure(registry, pods, flips) for pods in SIZES}
        await registry.stop()
        store.close()
    wall_of_10, cpu_of_10 = found[SIZES[0]]
    for pods, (wall, cpu) in found.items():
        ratios = f"{wall / wall_of_10:.1f}", f"{cpu / cpu_of_10:.1f}"
        rows.append((f"{pods:,} Pods", f"{wall:.2f}", f"{cpu:.2f}", *ratios))
    table(("one flip", "median ms", "CPU ms", "to 10 Pods", "CPU to 10 Pods"), rows)


if __name__ == "__main__":
    asyncio.run(run(*(map(int, sys.argv[1:]) if sys.argv[1:] else [200])))
