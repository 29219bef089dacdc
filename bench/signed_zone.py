"""CPU time of answering from zone files: unsigned, and signed (dnssec-signzone) with NSEC and with NSEC3.

    python bench/signed_zone.py [ROUNDS]

1,000 names with an A each, 64 questions a snapshot, no sockets.  Microseconds a question: the best round,
as what else runs on the machine only adds.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import dns.message
from measuring import table
from toolbox.answerer_harness import AnswererHarness
from toolbox.served_zones import serve_zone
from toolbox.signed_zones import ORIGIN, Nsec3, sign

NAMES = 1000
BATCH = 64
HEAD = f"$ORIGIN {ORIGIN}\n$TTL 300\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n"
TEXT = HEAD + "".join(f"h{number} A 10.0.{number >> 8}.{number & 255}\n" for number in range(NAMES))


def packets(sort: str, do: bool) -> list[bytes]:
    """Return questions of one sort."""
    found = []
    for _ in range(10 * BATCH):
        label = random.randbytes(6).hex() if sort == "NXDOMAIN" else f"h{random.randrange(NAMES)}"
        rrtype = "TXT" if sort == "NODATA" else "A"
        found.append(dns.message.make_query(f"{label}.{ORIGIN}", rrtype, want_dnssec=do).to_wire())
    return found


def seconds(world: AnswererHarness, asked: list[bytes]) -> float:
    """Return CPU seconds for each question."""
    answer = world.answerer.answer
    began = time.process_time()
    for at in range(0, len(asked), BATCH):
        with world.snapshots.begin() as snapshot:
            for packet in asked[at : at + BATCH]:
                answer(packet, snapshot)
    return (time.process_time() - began) / len(asked)


def main(rounds: int = 20) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        texts = {
            "unsigned": TEXT,
            "NSEC": sign("dnssec-signzone", Path(folder) / "nsec", text=TEXT).text,
            "NSEC3": sign("dnssec-signzone", Path(folder) / "nsec3", Nsec3(), text=TEXT).text,
        }
        worlds = {}
        for name, text in texts.items():
            worlds[name] = AnswererHarness(Path(folder) / f"data-{name}")
            serve_zone(worlds[name], text)
        rows = []
        for do in (False, True):
            for sort in ("A", "NODATA", "NXDOMAIN"):
                best = {
                    name: min(seconds(world, packets(sort, do)) for _ in range(rounds))
                    for name, world in worlds.items()
                }
                times = [f"{best[name] * 1e6:.1f} µs" for name in texts]
                rows.append([f"{sort}{', DO' if do else ''}", *times])
        table(["question", *texts], rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
