"""What watchers cost: how soon a change reaches all of them, memory and CPU of idle ones, a slow one.

    python bench/watch.py [ROUNDS]

Wall times are from the moment the client sends its PATCH to the moment the last watcher has the event, so
they hold the write itself (one fsync) too; its share is printed beside them.  Memory is what the writer
process holds without what it maps of files.
"""

from __future__ import annotations

import statistics
import sys
import time

from measuring import RunningServer, table
from toolbox.watching import Watchers, cpu_seconds, rss

SERVICES = "/api/v1/namespaces/default/services"
IDLE_SECONDS = 20.0


def change(server: RunningServer, number: int, octets: int = 0) -> None:
    """Change the one Service; `octets` makes the event larger."""
    annotations = {"round": str(number), "padding": "x" * octets}
    answer = server.patch(f"{SERVICES}/web", {"metadata": {"annotations": annotations}})
    assert answer.status == 200, answer.text


def fan_out(server: RunningServer, count: int, rounds: int) -> list[str]:
    """Return a row: from PATCH to the last watcher."""
    pid = server.writer_pid
    with Watchers(server, count, "/api/v1/services") as watchers:
        writes, took = [], []
        used = cpu_seconds(pid)
        for number in range(rounds):
            begun = time.perf_counter()
            change(server, number)
            writes.append(time.perf_counter() - begun)
            took.append(watchers.all_told(begun))
        used = (cpu_seconds(pid) - used) / rounds
    middle = statistics.median(took)
    worst = sorted(took)[int(len(took) * 0.95)]
    shown = (middle, worst, statistics.median(writes), used)
    return [f"{count:,}", *(f"{seconds * 1000:.1f}" for seconds in shown)]


def idle(server: RunningServer, count: int) -> list[str]:
    """Return a row: what watchers cost that are told nothing."""
    pid = server.writer_pid
    before = rss(pid)
    begun = time.perf_counter()
    with Watchers(server, count, "/api/v1/services"):
        opened = time.perf_counter() - begun
        used = cpu_seconds(pid)
        time.sleep(IDLE_SECONDS)
        share = (cpu_seconds(pid) - used) / IDLE_SECONDS
        grown = rss(pid) - before
    return [
        f"{count:,}",
        f"{grown / 1e6:.1f}",
        f"{grown / count / 1000:.1f}",
        f"{share:.2%}",
        f"{opened:.2f}",
    ]


def slow(server: RunningServer, size: int) -> list[str]:
    """Return a row: one that does not read, while another does."""
    pid = server.writer_pid
    with (
        Watchers(server, 1, "/api/v1/services", receive_buffer=4096),
        Watchers(server, 1, "/api/v1/services") as brisk,
    ):
        before = peak = rss(pid)
        begun = time.perf_counter()
        count = 0
        while "svcdns_api_watches_cut_total 1.0" not in server.get("/metrics").text:
            change(server, count, size)
            brisk.all_told(begun)
            peak = max(peak, rss(pid))
            count += 1
        seconds = time.perf_counter() - begun
    return [
        f"{size:,}",
        f"{seconds:.1f}",
        f"{count:,}",
        f"{count * size / 1e6:.0f}",
        f"{(peak - before) / 1e6:.1f}",
    ]


def main() -> None:
    """Print three tables."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    body = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    with RunningServer(workers=1) as server:
        assert server.post(SERVICES, body).status == 201
        heads = ["watchers", "median ms", "95 % ms", "of it the write ms", "writer's CPU ms"]
        table(heads, [fan_out(server, count, rounds) for count in (1, 100, 1_000)])
    with RunningServer(workers=1) as server:
        assert server.post(SERVICES, body).status == 201
        heads = ["idle watchers", "MB", "kB each", "CPU of a core", "s to open all"]
        table(heads, [idle(server, count) for count in (1_000,)])
    with RunningServer(workers=1) as server:
        assert server.post(SERVICES, body).status == 201
        heads = ["octets an event", "s until cut off", "events meanwhile", "MB of events", "MB more held"]
        table(heads, [slow(server, size) for size in (200_000,)])


if __name__ == "__main__":
    main()
