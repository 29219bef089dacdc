"""How many questions a second a server answers, how long answers take at half of that, and its memory.

Three measurements of one mix, the servers in turns:

* as many questions as it can have answered, on one core: the server's core 0, dnsperf's core 1;
* at an even pace of half of what the same server reached just before: percentiles of what dnsperf says of
  each reply;
* with two threads or processes on cores 0 and 1.  dnsperf has the cores that are left, on a machine of two
  cores the same ones: then the server and dnsperf share two cores.

"busy" is the share of its cores that the server had: where it is well below 1, dnsperf was the bound.
Memory is that of all processes of a server with two threads, after questions.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cpu_per_query import CLIENT_CORE, load
from documents import Found, cell, markdown, note
from measuring import cpu_of_family, memory_of_family
from peer_servers import ONE_THREAD, Peer

PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
BESIDE = ("Knot", "floor")


@dataclass
class Rates:
    """What was found of each server."""

    found: Found = field(default_factory=dict)
    servers: list[str] = field(default_factory=list)

    def one_core(self, peer: Peer, questions: Path, seconds: float) -> None:
        """Measure the most that one core answers, then times at half of that."""
        rate = self._most(peer, questions, seconds, "one core", 1, str(CLIENT_CORE))
        if peer.server.name not in self.servers:
            self.servers.append(peer.server.name)
        for name, value in latencies(peer, questions, seconds, rate / 2).items():
            note(self.found, name, peer.server.name, value)

    def two_cores(self, peer: Peer, questions: Path, seconds: float) -> None:
        """Measure the most that two cores answer, then memory."""
        name = peer.server.name
        if name not in ONE_THREAD:
            self._most(peer, questions, seconds, "two cores", 2, client_cores(2))
        elif (name, "PSS") not in self.found:
            load(peer.server, questions, min(seconds, 1.0))
        pss, anonymous = memory_of_family(peer.root)
        if name != "floor":
            note(self.found, "PSS", name, pss)
            note(self.found, "anonymous", name, anonymous)

    def _most(self, peer: Peer, questions: Path, seconds: float, row: str, threads: int, cores: str) -> float:
        before = spent(peer)
        done, rate = load(peer.server, questions, seconds, cores=cores)
        busy = (spent(peer) - before) / (done / rate) / threads
        note(self.found, row, peer.server.name, rate)
        note(self.found, f"busy, {row}", peer.server.name, busy)
        return rate

    def table(self) -> str:
        """Return the table in Markdown."""
        rows = []
        for name in self.servers:
            rates = []
            for row in ("one core", "two cores"):
                busy = self.found.get((f"busy, {row}", name))
                rates += [self._cell(row, name, 0), f"{statistics.median(busy):.2f}" if busy else ""]
            times = [self._cell(row, name, 0) for row in PERCENTILES]
            rows.append([name, *rates, *times, self._cell("PSS", name, 1), self._cell("anonymous", name, 1)])
        head = ["server", "a second, one core", "busy", "a second, two cores", "busy"]
        return markdown([*head, *(f"{name}, µs" for name in PERCENTILES), "PSS, MiB", "anonymous, MiB"], rows)

    def _cell(self, row: str, name: str, digits: int) -> str:
        return cell(self.found, row, name, digits, BESIDE if row not in ("PSS", "anonymous") else BESIDE[:1])


def spent(peer: Peer) -> float:
    """Return the CPU time, in seconds, of those processes of a server that answer."""
    return sum(cpu_of_family(pid) for pid in peer.server.pids)


def client_cores(threads: int) -> str:
    """Return the cores that a server of so many threads leaves; all where it leaves none."""
    cores = range(os.cpu_count() or 1)
    return ",".join(str(core) for core in cores[threads:] or cores)


def latencies(peer: Peer, questions: Path, seconds: float, rate: float) -> dict[str, float]:
    """Return percentiles of the time to a reply in microseconds, at so many questions a second."""
    output = questions.with_suffix(".replies")
    load(peer.server, questions, seconds, ("-v", "-Q", f"{max(rate, 1):.0f}"), output=output)
    return percentiles(output)


def percentiles(output: Path) -> dict[str, float]:
    """Return percentiles, in microseconds, of what `dnsperf -v` has printed.

    A reply is a line "> RCODE NAME TYPE SECONDS"; one that did not come has no SECONDS, and is left out here.
    """
    with output.open() as lines:
        replies = (line.split() for line in lines if line.startswith("> "))
        times = sorted(float(fields[4]) * 1e6 for fields in replies if len(fields) == 5)
    output.unlink()
    return {name: at(times, share) for name, share in PERCENTILES.items()}


def at(ordered: Sequence[float], share: float) -> float:
    """Return the value below which this share of all lies (nearest rank).  Raises IndexError for none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
