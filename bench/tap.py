"""What it costs to record questions: CPU time of a batch over a socket, with nothing recorded, some, and all.

    python bench/tap.py [ROUNDS]                              # the compiled path, where it was built
    SVCDNS_FAST_PATH=python python bench/tap.py [ROUNDS]      # Python's

One process: a listener reads batches of 64, and single datagrams, of A questions for 200 Services; the
variants take turns in each round.  Printed are medians, ratios to "off" of the same round, and what the
observer takes to read a record and write its line.
"""

from __future__ import annotations

import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import dns.message
from measuring import table

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from toolbox.answerer_harness import AnswererHarness, rrset

from svcdns.dns.udp import UdpListener
from svcdns.tap.lines import json_line
from svcdns.tap.memory import Tap
from svcdns.tap.record import records_of
from svcdns.tap.recorder import Recorder
from svcdns.tap.ring import RingReader

SERVICES, BATCHES = 200, 100
VARIANTS = {"off": 0, "1 of 16": 16, "all": 1}


class Variant:
    """A listener with a recorder of its own."""

    def __init__(self, world: AnswererHarness, sample: int) -> None:
        self.tap = Tap.create(1, 4 << 20)
        ring = self.tap.ring(0)
        ring.octets[:] = bytes(ring.size)  # its first round costs a page fault for each 4 KiB
        recorder = Recorder(ring, wanted=lambda: sample)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        begin = world.snapshots.begin
        self.read = UdpListener(self.sock, begin, world.answerer, world.counters, recorder=recorder).reader()
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.connect(self.sock.getsockname())

    def nanoseconds(self, questions: list[bytes], batches: int) -> float:
        """Return the CPU time of a question in batches of these."""
        total = 0
        for _ in range(batches):
            for packet in questions:
                self.client.send(packet)
            before = time.process_time_ns()
            self.read()
            total += time.process_time_ns() - before
            for _ in questions:
                self.client.recv(4096)
        return total / batches / len(questions)


def main(rounds: int = 40) -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        world = AnswererHarness(Path(folder) / "data")
        world.registry_zone("cluster.local", "cluster")
        names = [f"svc-{number}.default.svc.cluster.local" for number in range(SERVICES)]
        for number, name in enumerate(names):
            world.put(name, rrset("A", f"10.96.0.{number}"))
        packets = [dns.message.make_query(name, "A", use_edns=0).to_wire() for name in names]
        variants = {name: Variant(world, sample) for name, sample in VARIANTS.items()}
        rows = []
        for size in (64, 1):
            found: dict[str, list[float]] = {name: [] for name in variants}
            batches = BATCHES if size > 1 else 10 * BATCHES
            for number in range(rounds):
                order = list(variants.items())
                for name, variant in order if number % 2 else order[::-1]:
                    found[name].append(variant.nanoseconds(packets[:size], batches))
            for name, values in found.items():
                ratios = [value / off for value, off in zip(values, found["off"], strict=True)]
                least = min(values) / min(found["off"])
                middle = f"{statistics.median(values):,.0f}"
                rows.append((size, name, middle, f"{statistics.median(ratios):.3f}", f"{least:.3f}"))
        table(("batches of", "recorded", "ns a question", "to off", "of the least"), rows)
        cost = _reading(variants["all"].tap)
        print(f"the observer takes {cost:.1f} us of CPU for a record and its line of JSON")


def _reading(tap: Tap) -> float:
    blocks = RingReader(tap.ring(0)).recent(tap.ring_octets)
    before = time.process_time()
    lines = [json_line(record) for block in blocks for record in records_of(block, lambda key: "own")]
    return (time.process_time() - before) / len(lines) * 1e6


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
