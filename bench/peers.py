"""CPU time for each question beside other servers with the same names, rates, latencies and memory.

    python bench/peers.py [SECONDS [ROUNDS [NAMES]]] [--only TABLES] [--docs FOLDER]
        [--pods PODS [--store FOLDER]]

`make bench`; needs dnsperf.  CoreDNS is in PATH, or what the variable COREDNS names; servers that are not
installed are left out.

CPU: each server has one worker on core 0, dnsperf core 1 and as many questions as it can have answered;
mixes.py says what is asked, peer_servers.py of whom. One of the zone files has NAMES names (1,000 where it
is not said). "svcdns in Python" is the same server without its compiled path; "floor" (echo_floor.c) only
sends datagrams back: what no server gets below. rates.py says how rates, latencies and memory are measured.
Two workers beside one are measured by themselves (two_workers.py).
With --pods a registry of so many Pods is filled and asked beside a small one (many_names.py; a million
takes long, and some GiB of disk); --store keeps it for the next run.  --only makes the tables that it names:
"servers" (CPU, rates, the chart), "workers" (two beside one), "names" (many, with --pods).

The servers take turns; printed are medians of all rounds, in brackets ratios to Knot and the floor, round by
round, as tables in Markdown.  With --docs they are put into performance.md of that folder, and the chart
into peers.svg.  A server that has no such answer leaves its cell empty.  What is forwarded is measured by
forwarding.py.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import many_names
import two_workers
from cpu_per_query import load
from documents import Found, cell, circumstances, markdown, medians, note, publish
from log_chart import dots
from mixes import Mix, mixes, written_zones
from peer_servers import IN_PYTHON, Peer, others, ours, transferred_zones, wait_until_loaded
from rates import BESIDE, Rates, spent

TABLES = ("servers", "workers", "names")
"""What can be measured by itself."""


def one_core(folder: Path, kinds: Sequence[Mix], given: argparse.Namespace, rates: Rates) -> Found:
    """Measure with one thread each: CPU of all mixes, and what `rates` wants."""
    found: Found = {}
    zones = written_zones(made(folder / "zones"), given.names)
    variants = {"svcdns": {}, "svcdns in Python": IN_PYTHON}
    with contextlib.ExitStack() as stack:
        peers = stack.enter_context(ours(folder / "zones", 1, variants))
        wait_until_loaded(peers, given.names)
        zones |= transferred_zones(folder, peers[0].server.where)
        peers = [*peers, *stack.enter_context(others(folder, zones))]
        for _ in range(given.rounds):
            for number, mix in enumerate(kinds):
                for peer in peers:
                    if mix.is_for(peer.server.name):
                        cost = microseconds(peer, folder / str(number), given.seconds, mix.options)
                        note(found, mix.name, peer.server.name, cost)
            for peer in peers:
                rates.one_core(peer, folder / "0", given.seconds)
    return found


def microseconds(peer: Peer, questions: Path, seconds: float, options: Sequence[str]) -> float:
    """Return the CPU time of a question."""
    before = spent(peer)
    done, _ = load(peer.server, questions, seconds, options)
    return (spent(peer) - before) / done * 1e6


def two_cores(folder: Path, given: argparse.Namespace, rates: Rates) -> None:
    """Measure with two threads each."""
    second = made(folder / "two")
    zones = written_zones(made(second / "zones"), given.names)
    with contextlib.ExitStack() as stack:
        peers = stack.enter_context(ours(second / "zones", 2, {"svcdns": {}}))
        wait_until_loaded(peers, given.names)
        zones |= transferred_zones(second, peers[0].server.where)
        peers = [*peers, *stack.enter_context(others(second, zones, threads=2))]
        for _ in range(given.rounds):
            for peer in peers:
                rates.two_cores(peer, folder / "0", given.seconds)


def made(folder: Path) -> Path:
    """Make a folder and return it."""
    folder.mkdir()
    return folder


def costs(kinds: Sequence[Mix], found: Found, servers: Sequence[str]) -> str:
    """Return the table of the CPU time of a question."""
    rows = [[mix.name, *(cell(found, mix.name, name, 1, BESIDE) for name in servers)] for mix in kinds]
    return markdown(["question", *servers], rows)


def beside_others(folder: Path, kinds: Sequence[Mix], given: argparse.Namespace, done: str) -> dict[str, str]:
    """Return the tables of CPU and rates of all servers, and draw the chart where it is wanted."""
    rates = Rates()
    found = one_core(folder, kinds, given, rates)
    two_cores(folder, given, rates)
    if given.docs is not None:
        (given.docs / "peers.svg").write_text(dots(medians(found), "CPU of a question, µs"))
    when = circumstances(done)
    blocks = {}
    blocks["CPU of a question"] = f"{when}\n{costs(kinds, found, rates.servers)}"
    blocks["rates"] = f"{when}\n{rates.table()}"
    return blocks


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("seconds", type=float, nargs="?", default=3.0)
    parser.add_argument("rounds", type=int, nargs="?", default=5)
    parser.add_argument("names", type=int, nargs="?", default=1_000)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=TABLES, help="make these tables")
    parser.add_argument("--pods", type=int, help="ask for so many names of Pods, too")
    parser.add_argument("--store", type=Path, help="where registries of many Pods stay and are found again")
    parser.add_argument(
        "--docs", type=Path, help="the folder of performance.md, to put tables and chart there"
    )
    return parser.parse_args()


def main() -> None:
    """Measure, print, and write what was asked for."""
    given = arguments()
    kinds = mixes(given.names)
    blocks: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, mix in enumerate(kinds):
            (folder / str(number)).write_text("".join(f"{question}\n" for question in mix.questions))
        done = f"{given.rounds} rounds of {given.seconds:g} s each"
        if "servers" in given.only:
            blocks |= beside_others(folder, kinds, given, done)
        if "workers" in given.only:
            table = two_workers.measure(made(folder / "workers"), folder / "0", given.seconds, given.rounds)
            blocks["two workers"] = f"{circumstances(done)}\n{table}"
        if "names" in given.only and given.pods:
            store = given.store or folder / "registries"
            table = many_names.measure(made(folder / "many"), store, given.pods, given.rounds)
            done = f"each name once, {given.rounds} rounds"
            blocks["many names"] = f"{circumstances(done)}\n{table}"
    publish(given.docs, blocks)


if __name__ == "__main__":
    main()
