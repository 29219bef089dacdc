"""What a question costs among a million names, beside a thousand: svcdns, Knot and NSD.

Registries of headless Services of 10 Pods each, filled through the registry without a server, in a folder
each; those that are there already are used again. Asked is the name of each Pod's address once, in random
order (`10-1-2-3.svc-7.default.svc.cluster.local`), and those of the small registry as many times in all.
Knot and NSD have the same names from a zone file. The two sizes take turns.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cpu_per_query import SERVER_CORE, Server, load
from documents import Found, cell, markdown, note, ratio
from filling import fill, pod_ip, pods_and_services
from measuring import RunningServer, pin
from mixes import CLUSTER
from peer_servers import Peer, others
from rates import spent

from svcdns.config.load import load as load_config

PODS_OF_ONE = 10
SMALL = 1_000
PEERS = ("Knot", "NSD")


def name_of(number: int) -> str:
    """Return the name of a Pod's address below its Service."""
    return f"{pod_ip(number).replace('.', '-')}.svc-{number // PODS_OF_ONE}.default.svc.{CLUSTER}"


def registry(folder: Path, pods: int) -> Path:
    """Return a data folder with so many Pods; fill it where it is not there."""
    data = folder / f"pods-{pods}"
    if not data.exists():
        began, unfinished = time.perf_counter(), folder / f"pods-{pods}.unfinished"
        config = load_config(None, {}, {"data": str(unfinished)})
        fill(unfinished, config, pods_and_services(pods, PODS_OF_ONE))
        unfinished.rename(data)
        print(f"{pods:,} Pods are in after {time.perf_counter() - began:,.0f} s", file=sys.stderr)
    return data


def zone_file(folder: Path, pods: int) -> Path:
    """Write a zone of the same names and addresses."""
    file = folder / f"{pods}.zone"
    with file.open("w") as out:
        out.write(f"{CLUSTER}. 5 IN SOA ns.dns.{CLUSTER}. hostmaster.{CLUSTER}. 1 7200 1800 86400 5\n")
        out.write(f"{CLUSTER}. 5 IN NS ns.dns.{CLUSTER}.\nns.dns.{CLUSTER}. 5 IN A 127.0.0.1\n")
        for number in range(pods):
            service = f"svc-{number // PODS_OF_ONE}.default.svc.{CLUSTER}"
            for name in (name_of(number), service):
                out.write(f"{name}. 5 IN A {pod_ip(number)}\n")
    return file


def questions(folder: Path, pods: int, many: int) -> Path:
    """Write `many` questions: each of the names as often as any other, in random order."""
    numbers = [number % pods for number in range(many)]
    random.Random(1).shuffle(numbers)
    file = folder / f"{pods}.questions"
    file.write_text("".join(f"{name_of(number)} A\n" for number in numbers))
    return file


@contextlib.contextmanager
def sized(folder: Path, store: Path, pods: int) -> Iterator[list[Peer]]:
    """Run all servers with so many Pods."""
    own = folder / str(pods)
    own.mkdir()
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(RunningServer(workers=1, data=registry(store, pods)))
        pin(running.worker_pids[0], SERVER_CORE)
        assert running.process is not None
        server = Server("svcdns", (running.worker_pids[0],), running.dns)
        zones = {CLUSTER: zone_file(own, pods)}
        known = name_of(pods - 1)
        peers = stack.enter_context(others(own, zones, known=known, names=PEERS))
        yield [Peer(server, running.process.pid), *peers]


def measure(folder: Path, store: Path, pods: int, rounds: int) -> str:
    """Return the table in Markdown."""
    found: Found = {}
    store.mkdir(parents=True, exist_ok=True)
    with sized(folder, store, SMALL) as small, sized(folder, store, pods) as large:
        sizes = [(small, questions(folder, SMALL, pods), SMALL), (large, questions(folder, pods, pods), pods)]
        names = [peer.server.name for peer in large]
        for peers, file, _ in sizes:  # once, so that pages that are asked for are in memory
            for peer in peers:
                load(peer.server, file, None)
        for _ in range(rounds):
            for at in range(len(large)):
                for peers, file, size in sizes:
                    before = spent(peers[at])
                    done, _ = load(peers[at].server, file, None)
                    note(found, f"{size:,}", peers[at].server.name, (spent(peers[at]) - before) / done * 1e6)
    rows = []
    for name in names:
        values = [cell(found, f"{size:,}", name, 1, ("Knot", "floor")) for size in (SMALL, pods)]
        rows.append([name, *values, ratio(found[f"{pods:,}", name], found[f"{SMALL:,}", name])])
    return markdown(["server", f"{SMALL:,} names", f"{pods:,} names", "ratio"], rows)
