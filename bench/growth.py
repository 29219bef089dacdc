"""What grows with the registry: a question, a write, a flip, a restart, memory and the file.

    python bench/growth.py [--largest PODS] [--svg FILE] [--keep FOLDER]

Registries of 1,000 Pods, of ten times as many and so on up to PODS (100,000 unless told otherwise), in
headless Services of 10, each in a folder of its own: below the temporary directory, or below FOLDER, where
those that are there already are used again.  They are filled through the registry, not over HTTP, 128 writes
at a time.  Then all sizes are measured in turns, so that what else runs on the machine concerns each alike.
Printed is a Markdown table.

* question: A of a Service chosen at random, from octets to octets, 64 in one snapshot, CPU;
* write: a Service that is registered, 32 at a time as with as many clients, CPU of all its commit;
* flip: a Pod chosen at random becomes unready, or ready, one at a time, CPU;
* first answer: a process that has imported all it needs opens the store and answers a question, wall time;
* writes again: the same until a process that writes has opened the store, looked at all of its rows
  (`look at all rows` is that part alone) and registered something;
* memory: what the writing process has of its own, without pages of the file that it shares.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench_answer import BATCH, question
from flip_cost import flip
from log_chart import chart
from measuring import pod, service

from svcdns.config.sections import Config
from svcdns.dns.answer import Answerer
from svcdns.dns.stats import Stats
from svcdns.objects.kinds import POD, SERVICE
from svcdns.registry.registry import Registry
from svcdns.registry.requests import DeleteOptions, WriteOptions
from svcdns.store.environment import DATA_FILE, Store, open_store
from svcdns.store.snapshot import Snapshots

SMALLEST, LARGEST = 1_000, 100_000
PODS_OF_ONE = 10
ROUNDS = 5
QUESTIONS, WRITES, FLIPS = 20_000, 320, 100
AT_ONCE, FILL_AT_ONCE = 32, 128
OPTIONS = WriteOptions()

COLUMNS = {
    "question us": "question",
    "write us": "write",
    "flip us": "flip",
    "first answer ms": "first answer",
    "look at all rows ms": "",
    "writes again ms": "",
    "memory MiB": "",
    "file MiB": "",
}
"""The columns of the table, and the lines of the chart for those that have one."""

AGAIN = """
import asyncio, json, re, sys, time
from pathlib import Path
from svcdns.config.sections import Config
from svcdns.dns.answer import Answerer
from svcdns.dns.stats import Stats
from svcdns.objects.kinds import SERVICE
from svcdns.registry.backup import what_is_wrong
from svcdns.registry.registry import Registry
from svcdns.registry.requests import WriteOptions
from svcdns.store.environment import open_store
from svcdns.store.snapshot import Snapshots

data, octets, name = Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), sys.argv[3]
began = time.perf_counter()
store = open_store(data, "reader")
with Snapshots(store).begin() as snapshot:
    reply = Answerer(Stats()).answer(octets, snapshot)
answered = time.perf_counter() - began
assert int.from_bytes(reply[6:8]), "the answer is empty"
store.close()

async def write():
    began = time.perf_counter()
    assert not what_is_wrong(data)
    looked = time.perf_counter() - began
    store = open_store(data, "writer")
    registry = Registry(store, Config())
    await registry.start()
    body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}
    await registry.create(SERVICE, "default", body, WriteOptions())
    took = time.perf_counter() - began
    own = int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    await registry.stop()
    return looked, took, own

looked, took, own = asyncio.run(write())
print(json.dumps({"first answer ms": answered * 1e3, "look at all rows ms": looked * 1e3,
                  "writes again ms": took * 1e3, "memory MiB": own}))
"""
"""A process that comes up with a store that is there."""


@dataclass
class Site:
    """A registry of so many Pods, and what was measured of it."""

    pods: int
    data: Path
    found: dict[str, list[float]] = field(default_factory=dict)
    written: int = 0
    run: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def services(self) -> int:
        """Return how many Services there are."""
        return self.pods // PODS_OF_ONE

    def note(self, column: str, value: float) -> None:
        """Keep a figure."""
        self.found.setdefault(column, []).append(value)

    def cell(self, column: str) -> float:
        """Return the median of a column's figures."""
        return statistics.median(self.found[column])

    def next_name(self) -> str:
        """Return the name of a Service that is not there yet."""
        self.written += 1
        return f"more-{self.run}-{self.written}"


async def fill(registry: Registry, site: Site) -> None:
    """Register all Services and their Pods."""
    names = [f"set-{number}" for number in range(site.services)]
    await create_all(registry, (service(name, clusterIP="None") for name in names), SERVICE)
    addresses = (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(1, site.pods + 1))
    members = (f"{name}-{member}" for name in names for member in range(PODS_OF_ONE))
    each = zip(members, addresses, strict=True)
    await create_all(registry, (pod(name, ip, name.rpartition("-")[0]) for name, ip in each), POD)


async def create_all(registry: Registry, bodies: Iterable[dict], kind: object) -> None:
    """Register objects, many at a time."""
    waiting: list[dict] = []
    for body in bodies:
        waiting.append(body)
        if len(waiting) == FILL_AT_ONCE:
            await asyncio.gather(*(registry.create(kind, "default", one, OPTIONS) for one in waiting))
            waiting.clear()
    await asyncio.gather(*(registry.create(kind, "default", one, OPTIONS) for one in waiting))


def ask(store: Store, site: Site) -> float:
    """Return CPU microseconds a question."""
    snapshots, answer = Snapshots(store), Answerer(Stats()).answer
    numbers = random.choices(range(site.services), k=QUESTIONS)
    packets = [question(f"set-{number}.default.svc.cluster.local", 1) for number in numbers]
    began = time.process_time()
    for at in range(0, QUESTIONS, BATCH):
        with snapshots.begin() as snapshot:
            for packet in packets[at : at + BATCH]:
                answer(packet, snapshot)
    return (time.process_time() - began) / QUESTIONS * 1e6


async def write(registry: Registry, site: Site) -> float:
    """Return CPU microseconds a Service that is registered; they are deleted again."""
    names = [site.next_name() for _ in range(WRITES)]
    began = time.process_time()
    for start in range(0, WRITES, AT_ONCE):
        some = [service(name) for name in names[start : start + AT_ONCE]]
        await asyncio.gather(*(registry.create(SERVICE, "default", one, OPTIONS) for one in some))
    took = (time.process_time() - began) / WRITES * 1e6
    await asyncio.gather(*(registry.delete(SERVICE, "default", name, DeleteOptions()) for name in names))
    return took


async def flips(registry: Registry, site: Site) -> float:
    """Return CPU microseconds a flip."""
    began = time.process_time()
    for _ in range(FLIPS // 2):
        chosen = f"set-{random.randrange(site.services)}-{random.randrange(PODS_OF_ONE)}"
        for ready in (False, True):
            await flip(registry, chosen, ready=ready)
    return (time.process_time() - began) / FLIPS * 1e6


async def measure(site: Site) -> None:
    """Measure one size once."""
    store = open_store(site.data, "writer")
    registry = Registry(store, Config())
    await registry.start()
    ask(store, site)  # pages and caches are warm
    site.note("question us", ask(store, site))
    await write(registry, site)
    site.note("write us", await write(registry, site))
    site.note("flip us", await flips(registry, site))
    site.note("file MiB", (site.data / DATA_FILE).stat().st_blocks * 512 / (1 << 20))
    await registry.stop()
    store.close()
    octets = question("set-0.default.svc.cluster.local", 1).hex()
    command = [sys.executable, "-c", AGAIN, str(site.data), octets, site.next_name()]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for column, value in json.loads(said).items():
        site.note(column, value)


async def make(site: Site) -> None:
    """Fill a new registry."""
    began = time.perf_counter()
    store = open_store(site.data, "writer")
    registry = Registry(store, Config())
    await registry.start()
    await registry.set_loaded()
    await fill(registry, site)
    await registry.stop()
    store.close()
    print(f"{site.pods:,} Pods are in after {time.perf_counter() - began:,.0f} s", file=sys.stderr)


async def run(largest: int, svg: Path | None, keep: Path | None) -> None:
    """Fill, measure and print."""
    sizes = [SMALLEST]
    while sizes[-1] * 10 <= largest:
        sizes.append(sizes[-1] * 10)
    place = contextlib.nullcontext(keep) if keep is not None else tempfile.TemporaryDirectory()
    with place as folder:
        sites = [Site(size, Path(folder) / str(size)) for size in sizes]
        for site in sites:
            if not site.data.exists():
                await make(site)
        for _ in range(ROUNDS):
            for site in sites:
                await measure(site)
    print("\n".join(markdown(sites)))
    if svg is not None:
        lines = {
            name: [(site.pods, site.cell(column) * (1e3 if column.endswith("ms") else 1)) for site in sites]
            for column, name in COLUMNS.items()
            if name
        }
        svg.write_text(chart(lines, "Pods", "microseconds"))


def markdown(sites: list[Site]) -> list[str]:
    """Return the lines of the table."""
    lines = [f"| Pods | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for site in sites:
        cells = (f"{site.cell(column):,.{1 if site.cell(column) < 100 else 0}f}" for column in COLUMNS)
        lines.append(f"| {site.pods:,} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=LARGEST, help="Pods of the largest registry")
    parser.add_argument("--svg", type=Path, help="where the chart goes")
    parser.add_argument("--keep", type=Path, help="where registries stay and are found again")
    given = parser.parse_args()
    asyncio.run(run(given.largest, given.svg, given.keep))


if __name__ == "__main__":
    main()
