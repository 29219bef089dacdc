"""Own names beside an upstream that answers oddly: the 99th percentile, without load and under it.

    python bench/beside_hostile_upstream.py [SECONDS [ROUNDS]]     needs dnsperf, knotd, two cores; takes root

Core 0 has one worker and the forwarder, and a knotd that serves the same own names.  Core 1 has all else:
a client that asks for an own name 500 times a second at an even pace, before all others of its core
(SCHED_FIFO: else it would wait for them and not for the server), dnsperf with names that are not ours, each
asked once, and their upstream.  That one answers right, late, with garbage, another ID, another question, TC
and no TCP, SERVFAIL, a response of 4,000 octets, or not at all, as its dice say.

Measured in turns are svcdns and Knot, each without load and while the forwarder is asked: so Knot shows what
a server in C that is not concerned waits for on such a core.  Printed are medians over all rounds.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import Pace, RunningServer, cpu_seconds, fqdn, pin, register, services, table, wait_for
from toolbox.upstreams import Knot

OURS, THEIRS = 0, 1
"""The core that is measured, and the one of all else."""
PACE = 500
RATES = (500, 2_000, 5_000)
"""Foreign names a second."""
CONFIG = '[forward]\nupstreams = ["{upstream}"]\n[acl]\nforward = ["loopback"]\n'
LATE_SECONDS = 0.3


def hostile(ready: multiprocessing.Queue[int]) -> None:
    """Be the upstream, until ended."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(("127.0.0.1", 0))
    ready.put(sock.getsockname()[1])
    dice = random.Random(1)
    late: list[tuple[bytes, Any]] = []
    while True:
        query, client = sock.recvfrom(4096)
        for reply in replies(query, dice):
            sock.sendto(reply, client)
        if dice.random() < 0.05:
            late.append((answer(query), client))
        if len(late) > 100:
            sock.sendto(*late.pop(0))


def replies(query: bytes, dice: random.Random) -> list[bytes]:
    """Return what is sent for a query, often the right answer."""
    right = answer(query)
    match dice.choices(range(8), (40, 10, 10, 10, 10, 10, 5, 5))[0]:
        case 0:
            return [right]
        case 1:
            return [dice.randbytes(dice.randrange(1, 500)) for _ in range(3)] + [right]
        case 2:
            return [bytes((query[0] ^ 1, query[1])) + right[2:]] * 3 + [right]
        case 3:
            return [right[:13] + bytes((right[13] ^ 1,)) + right[14:], right]
        case 4:
            return [right[:2] + bytes((right[2] | 2,)) + right[3:]]
        case 5:
            return [right[:3] + b"\x82" + right[4:]]
        case 6:
            return [right + dice.randbytes(4_000)]
    return []


def answer(query: bytes) -> bytes:
    """Return an A record for the question."""
    question = query[12 : query.index(b"\0", 12) + 5]
    rr = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\7"
    return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question + rr


@contextlib.contextmanager
def upstream() -> Iterator[str]:
    """Run the upstream on the other core; yield its address."""
    ready: multiprocessing.Queue[int] = multiprocessing.Queue()
    process = multiprocessing.Process(target=hostile, args=(ready,), daemon=True)
    process.start()
    assert process.pid is not None
    pin(process.pid, THEIRS)
    yield f"127.0.0.1:{ready.get()}"
    process.kill()
    process.join()


class Load:
    """dnsperf with names that nobody has asked for."""

    def __init__(self, folder: Path, where: tuple[str, int]) -> None:
        self._file = folder / "questions"
        self._where = where
        self._number = 0

    @contextlib.contextmanager
    def running(self, rate: int, seconds: float) -> Iterator[None]:
        """Ask beside the block, which must not take longer than `seconds`."""
        count = int(rate * (seconds + 2))
        names = range(self._number, self._number + count)
        self._number += count
        self._file.write_text("".join(f"n{number:x}.hostile.example A\n" for number in names))
        host, port = self._where
        command = ["dnsperf", "-s", host, "-p", str(port), "-d", str(self._file), "-l", str(seconds + 1)]
        more = ["-Q", str(rate), "-c", "20", "-q", "20000", "-t", "5", "-n", "1"]
        process = subprocess.Popen(["taskset", "-c", str(THEIRS), *command, *more], stdout=subprocess.DEVNULL)
        try:
            process_has_begun = 0.3
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(process_has_begun)
            yield
        finally:
            process.kill()
            process.wait()


def main() -> None:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    own = f"{fqdn('svc-1')}. 5 IN A 10.96.0.1\n"
    pin(os.getpid(), THEIRS)
    with (
        upstream() as address,
        tempfile.TemporaryDirectory() as folder,
        Knot(own) as knot,
        RunningServer(workers=1, config=CONFIG.format(upstream=address)) as server,
    ):
        register(server.api, services(2))
        counters = server.counters()
        forwarder = wait_for(lambda: counters.get(counters.forwarder, "pid"), "the forwarder")
        for pid in (server.worker_pids[0], forwarder, knot.pid):
            pin(pid, OURS)
        load = Load(Path(folder), server.dns)
        places = {"svcdns": server.dns, "Knot": ("127.0.0.1", knot.port)}
        paces = {name: Pace(place, fqdn("svc-1"), PACE, THEIRS) for name, place in places.items()}
        found: dict[tuple[str, int], list[dict[str, float]]] = {}
        used = dict.fromkeys(RATES, 0.0)
        for _ in range(rounds):
            for rate in (0, *RATES):
                for name, pace in paces.items():
                    before = sum(cpu_seconds(forwarder))
                    with load.running(rate, seconds) if rate else contextlib.nullcontext():
                        found.setdefault((name, rate), []).append(pace.measure(seconds))
                    if rate:
                        used[rate] += (sum(cpu_seconds(forwarder)) - before) / seconds / rounds / 2
        for pace in paces.values():
            pace.close()

    def middle(name: str, rate: int, what: str) -> float:
        return statistics.median(one[what] for one in found[name, rate])

    rows = []
    for rate in (0, *RATES):
        cells: list[object] = [f"{rate:,}", f"{used[rate]:.0%}" if rate else ""]
        for name in paces:
            quiet, now = middle(name, 0, "p99"), middle(name, rate, "p99")
            lost = sum(one["lost"] for one in found[name, rate])
            cells += [f"{middle(name, rate, 'p50'):.0f}", f"{now:.0f}", f"{now / quiet:.1f}", f"{lost:.0f}"]
        rows.append(cells)
    each = ("p50 µs", "p99 µs", "ratio", "lost")
    table(["foreign names a second", "forwarder's CPU", *each, *(f"Knot {head}" for head in each)], rows)


if __name__ == "__main__":
    main()
