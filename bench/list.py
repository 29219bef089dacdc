"""Lists of many Pods: octets a second, and what the writer holds more meanwhile.

    python bench/list.py [PODS]

Memory is sampled while the answer is read: what the writer holds without what it maps of files.  "objects"
is the size of the list itself, so a list that is built in memory once, and once more as a body, would show
twice that.  The client is a raw socket that throws away what it reads.
"""

from __future__ import annotations

import socket
import statistics
import sys
import threading
import time

from measuring import PODS, RunningServer, pod, register, table
from toolbox.watching import cpu_seconds, rss

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
ROUNDS = 5


class Peak:
    """The most that a process holds while this is open, octets."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self.before = self.octets = rss(pid)
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.0005):
            self.octets = max(self.octets, rss(self._pid))


def read_list(server: RunningServer, query: str, accept: str) -> int:
    """Read one answer; return its octets."""
    host, _, port = server.api.removeprefix("http://").partition(":")
    head = (
        f"GET /api/v1/pods{query} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )
    total = 0
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode())
        while octets := connection.recv(1 << 20):
            total += len(octets)
    return total


def measured(server: RunningServer, name: str, query: str, accept: str) -> list[str]:
    """Return a row."""
    pid = server.writer_pid
    took, octets, used = [], 0, 0.0
    with Peak(pid) as peak:
        read_list(server, query, accept)
        used = cpu_seconds(pid)
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            octets = read_list(server, query, accept)
            took.append(time.perf_counter() - begun)
    used = (cpu_seconds(pid) - used) / ROUNDS
    seconds = statistics.median(took)
    more = max(peak.octets - peak.before, 0) / 1e6
    shown = (octets / 1e6, seconds * 1000, octets / 1e6 / seconds, used * 1000, more)
    return [name, *(f"{value:.1f}" for value in shown), f"{peak.octets / 1e6:.0f}"]


def main() -> None:
    """Fill a server and print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    pods = [
        (PODS, pod(f"p-{n}", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "web")) for n in range(1, count + 1)
    ]
    with RunningServer(workers=1) as server:
        register(server.api, pods, clients=32)
        forms = [
            ("all as JSON", "", "application/json"),
            ("all as a Table", "", TABLE),
            ("500 as JSON", "?limit=500", "application/json"),
            ("500 as a Table", "?limit=500", TABLE),
            ("by a label that all have", "?labelSelector=app%3Dweb", "application/json"),
            ("by a label that none has", "?labelSelector=app%3Dno", "application/json"),
            ("by name, all namespaces", "?fieldSelector=metadata.name%3Dp-77", "application/json"),
        ]
        heads = [f"{count:,} Pods", "MB", "ms", "MB/s", "CPU ms", "MB more held", "MB held"]
        table(heads, [measured(server, *form) for form in forms])


if __name__ == "__main__":
    main()
