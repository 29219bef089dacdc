"""Growth of the map over many readiness flips: used and free pages, size of the file.

    python bench/map_growth.py [FLIPS]

Fifty headless Services of 20 Pods and one of 1,000, in this process; Pods chosen at random, 16 flips at
a time.  Beside it a reader begins and ends snapshots as a DNS worker does, for LMDB can't reuse what a
reader may still see.  The event log fills up to 10,000 events first and stays so.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import lmdb
from flip_cost import fill, flip
from measuring import table

from svcdns.config.sections import Config
from svcdns.registry.registry import Registry
from svcdns.store.environment import DATA_FILE, Store, open_store

SMALL, LARGE = 20, 1_000
SERVICES = 50
AT_ONCE = 16
READER = """
import sys, time
from pathlib import Path
from svcdns.store.environment import open_store
from svcdns.store.snapshot import Snapshots
snapshots = Snapshots(open_store(Path(sys.argv[1]), "reader"))
while True:
    snapshot = snapshots.begin()
    time.sleep(0.0001)
    snapshot.txn.abort()
    time.sleep(0.002)
"""


def pages(store: Store, file: Path) -> tuple[int, int, float]:
    """Return pages of the file as LMDB counts them, those of them that are free, and MiB on disk."""
    info, size = store.env.info(), file.stat().st_blocks * 512 / (1 << 20)
    with store.env.begin() as txn:
        used = 2  # the meta pages
        for name in [None, *(bytes(key) for key in txn.cursor().iternext(values=False))]:
            table = None if name is None else store.env.open_db(name, txn=txn, create=False)
            used += occupied(txn.stat(db=table) if table is not None else store.env.stat())
    last = info["last_pgno"] + 1
    return last, last - used, size


def occupied(stat: dict[str, int]) -> int:
    """Return how many pages a table has."""
    return stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]


async def run(flips: int) -> None:
    """Print a line for each tenth of the way."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        store = open_store(data, "writer")
        registry = Registry(store, Config())
        await registry.start()
        await registry.set_loaded()
        names = [(f"set{number}", SMALL) for number in range(SERVICES)] + [("large", LARGE)]
        for name, size in names:
            await fill(registry, name, size)
        pods = [f"{name}-{number}" for name, size in names for number in range(size)]
        reader = subprocess.Popen([sys.executable, "-c", READER, str(data)])
        ready = dict.fromkeys(pods, True)
        try:
            rows.append(row(0, store, data))
            for tenth in range(1, 11):
                for _ in range(flips // 10 // AT_ONCE):
                    chosen = random.sample(pods, AT_ONCE)
                    for pod in chosen:
                        ready[pod] = not ready[pod]
                    await asyncio.gather(*(flip(registry, pod, ready=ready[pod]) for pod in chosen))
                rows.append(row(flips * tenth // 10, store, data))
                assert reader.poll() is None, "the reader has died"
        finally:
            reader.kill()
            reader.wait()
        await registry.stop()
        store.close()
    table(("flips", "pages", "of them free", "MiB of the file"), rows)


def row(flips: int, store: Store, data: Path) -> tuple[str, str, str, str]:
    """Return a row of the table."""
    total, free, size = pages(store, data / DATA_FILE)
    return f"{flips:,}", f"{total:,}", f"{free:,}", f"{size:.1f}"


if __name__ == "__main__":
    print(f"lmdb {lmdb.version()}")
    asyncio.run(run(*(map(int, sys.argv[1:]) if sys.argv[1:] else [100_000])))
