"""Watchers that begin together: what others wait for meanwhile, those that stop reading, and a restart.

    python bench/many_watchers.py [PODS]

Each watcher asks for the present state as a stream, as informers do (sendInitialEvents), and reads it in a
process of its own.  Beside them, every few milliseconds, /livez is asked for and a Service is changed; both
are shown with the time of the slowest.  Those that stop reading are looked at until they are cut off.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from measuring import PODS, SERVICES, RunningServer, pod, register, service, table, wait_for
from toolbox.watching import Informers, cpu_seconds, rss

PAUSE = 0.002
"""Seconds between two calls."""


@dataclass
class Slowest:
    """How long calls took that were made one after the other."""

    seconds: list[float] = field(default_factory=list)

    def shown(self) -> str:
        """Return the slowest in milliseconds."""
        return f"{max(self.seconds) * 1000:.0f}"


@contextmanager
def steadily(
    url: str, method: str, path: str, body: Callable[[], object] = lambda: None
) -> Iterator[Slowest]:
    """Make calls beside the block."""
    slowest, ended = Slowest(), threading.Event()
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    headers = {"Content-Type": "application/merge-patch+json"}

    def run() -> None:
        while not ended.wait(PAUSE):
            octets = json.dumps(body())
            begun = time.perf_counter()
            connection.request(method, path, octets, headers)
            answer = connection.getresponse()
            answer.read()
            slowest.seconds.append(time.perf_counter() - begun)
            assert answer.status == 200, answer.status
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield slowest
    finally:
        ended.set()
        thread.join()


def read_all(url: str, count: int, seconds: multiprocessing.Queue[float], query: str) -> None:
    """Be informers, until each has been told that it has all."""
    begun = time.perf_counter()
    with Informers(url, count, f"/api/v1/pods?{query}") as informers:
        informers.all_complete()
    seconds.put(time.perf_counter() - begun)


def informed(url: str, count: int, query: str = "") -> float:
    """Return how long it takes until new informers have all."""
    queue: multiprocessing.Queue[float] = multiprocessing.Queue()
    process = multiprocessing.Process(target=read_all, args=(url, count, queue, query))
    process.start()
    seconds = queue.get(timeout=600)
    process.join()
    return seconds


def beginning(server: RunningServer, count: int, query: str = "") -> list[str]:
    """Return a row: informers that begin while others want something small."""

    def change() -> object:
        return {"metadata": {"annotations": {"n": str(time.monotonic())}}}

    used = cpu_seconds(server.writer_pid)
    with (
        steadily(server.api, "GET", "/livez") as lives,
        steadily(server.api, "PATCH", f"{SERVICES}/web", change) as writes,
    ):
        seconds = informed(server.api, count, query)
    used = cpu_seconds(server.writer_pid) - used
    return [f"{count} {query}", f"{seconds:.2f}", f"{used:.2f}", lives.shown(), writes.shown()]


def stopped(server: RunningServer, count: int) -> list[str]:
    """Return a row: informers that read nothing."""
    pid = server.writer_pid
    before = peak = rss(pid)
    with Informers(server.api, count, "/api/v1/pods", receive_buffer=4096):
        begun = time.perf_counter()

        def all_cut() -> bool:
            nonlocal peak
            peak = max(peak, rss(pid))
            return f"svcdns_api_watches_cut_total {count:.1f}" in server.get("/metrics").text

        wait_for(all_cut, "all to be cut off")
        seconds = time.perf_counter() - begun
    return [f"{count}", f"{seconds:.1f}", f"{(peak - before) / 1e6:.1f}"]


def restarted(server: RunningServer, count: int) -> list[str]:
    """Return a row: the writer is killed, and informers come back as soon as somebody listens."""
    os.kill(server.writer_pid, signal.SIGKILL)
    begun = time.perf_counter()
    seconds = informed(server.api, count)
    return [f"{count}", f"{time.perf_counter() - begun:.2f}", f"{seconds:.2f}"]


def main() -> None:
    """Fill a server and print the tables."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    pods = [
        (PODS, pod(f"p-{n}", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "web")) for n in range(1, count + 1)
    ]
    with RunningServer(workers=1) as server:
        register(server.api, [(SERVICES, service("web")), *pods], clients=32)
        heads = [
            f"{count:,} Pods, informers",
            "s until all have all",
            "writer's CPU s",
            "slowest /livez ms",
            "slowest write ms",
        ]
        rows = [beginning(server, few) for few in (3, 20)]
        rows.append(beginning(server, 20, "labelSelector=app%3Dno"))
        table(heads, rows)
        heads = ["informers that read nothing", "s until all are cut off", "MB more held"]
        table(heads, [stopped(server, 10)])
        heads = ["informers after a restart", "s from its end", "of it since they asked"]
        table(heads, [restarted(server, 100)])


if __name__ == "__main__":
    main()
