"""What a question costs among many Pods whose answers were made one by one, and among the same, made anew.

    python bench/answers_anew.py [PODS [ROUNDS [FOLDER]]]

Three registries (many_names.py says of what): of 10,000 Pods, of PODS (500,000), and a copy of that one whose
answers have been made anew, as a change of settings or `svcdns restore` does.  FOLDER keeps them for the next
run.  Names of Pods are asked for at random, by dnsperf on core 1 as fast as they are answered, of one worker
each on core 0, the three in turns.  Printed is CPU a question in µs, medians, and how full pages of rows are.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from cpu_per_query import SERVER_CORE, Server, load
from many_names import name_of, registry
from measuring import RunningServer, cpu_of_family, pin, table

from svcdns.config.load import load as load_config
from svcdns.registry.answer_tables import current_table, have_made_anew
from svcdns.registry.registry import Registry
from svcdns.store.environment import DATA_FILE, FOLDER_MODE, open_store

SMALL, QUESTIONS = 10_000, 200_000
NODE_OCTETS, PAGE_OCTETS = 10, 4080
"""Of LMDB's pages: what a row takes beside key and value, and what a page has room for."""


def made_anew(grown: Path) -> Path:
    """Return a copy of a registry whose answers were made anew."""
    data = grown.with_name(f"{grown.name}-anew")
    if not data.exists():
        unfinished = data.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(FOLDER_MODE)
        shutil.copy(grown / DATA_FILE, unfinished)
        store = open_store(unfinished, "writer")
        with store.write() as txn:
            have_made_anew(store, txn)
        store.close()
        asyncio.run(start(unfinished))
        unfinished.rename(data)
    return data


async def start(data: Path) -> None:
    """Start a registry and stop it: then its answers are up to date."""
    store = open_store(data, "writer")
    one = Registry(store, load_config(None, {}, {"data": str(data)}))
    await one.start()
    await one.stop()
    store.close()


def fullness(data: Path) -> float:
    """Return how much of its pages the rows of answers take."""
    store = open_store(data, "reader")
    with store.read() as txn:
        answers = current_table(store, txn)
        taken = sum(len(key) + len(row) + NODE_OCTETS for key, row in txn.cursor(db=answers))
        pages = txn.stat(db=answers)["leaf_pages"]
    store.close()
    return taken / pages / PAGE_OCTETS


def questions(file: Path, pods: int) -> Path:
    """Write names of Pods at random."""
    file.write_text("".join(f"{name_of(number)} A\n" for number in random.choices(range(pods), k=QUESTIONS)))
    return file


def main(pods: int = 500_000, rounds: int = 5, keep: str | None = None) -> None:
    """Measure and print."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = Path(keep) if keep else folder
        grown = registry(store, pods)
        sizes = [(registry(store, SMALL), SMALL), (grown, pods), (made_anew(grown), pods)]
        found: list[list[float]] = [[] for _ in sizes]
        running = [stack.enter_context(RunningServer(workers=1, data=data)) for data, _ in sizes]
        files = [questions(folder / f"{at}", size) for at, (_, size) in enumerate(sizes)]
        for one in running:
            pin(one.worker_pids[0], SERVER_CORE)
        for turn in range(rounds + 1):
            for one, file, costs in zip(running, files, found, strict=True):
                pid = one.worker_pids[0]
                before = cpu_of_family(pid)
                done, _ = load(Server("svcdns", (pid,), one.dns), file, None)
                if turn:  # before that, pages are not in memory
                    costs.append((cpu_of_family(pid) - before) / done * 1e6)
        medians = [statistics.median(costs) for costs in found]
        names = (f"{SMALL:,} Pods", f"{pods:,} Pods", "the same, made anew")
        rows = [
            (name, f"{cost:.2f}", f"{cost / medians[0]:.2f}", f"{fullness(data):.0%}")
            for name, cost, (data, _) in zip(names, medians, sizes, strict=True)
        ]
        table(("", "µs", "ratio", "pages full"), rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:4])
