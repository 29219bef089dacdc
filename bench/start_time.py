"""From the start of the server to its first answer: a first start, restarts, and `make demo`.

    python bench/start_time.py [ROUNDS] [PODS]        needs make and a .venv that is in place

"first answer" is the first one that is not SERVFAIL (a server that has never loaded its manifests says
so); "ready" is the line in the log.  Medians of wall time, in seconds.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from filling import fill, pods_and_services
from measuring import HERE, RunningServer, connected, make_question, register, services, table

from svcdns.config.load import load

VERSION = "dns-version.cluster.local"
TXT = 16
SERVFAIL = 2
LOOK_SECONDS = 0.002


def first_answer(data: Path, name: str, rrtype: int, pid: int | None = None) -> tuple[float, int]:
    """Wait for the first answer of a server that writes to `data`; return when it came and its pid.

    With `pid` what an earlier server has left in the folder does not count.
    """
    while True:
        try:
            told = json.loads((data / "addresses.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            told = None
        if told and told["pid"] == (pid or told["pid"]) and answers(told["dns"][0], name, rrtype):
            return time.perf_counter(), told["pid"]
        time.sleep(LOOK_SECONDS)


def answers(place: str, name: str, rrtype: int) -> bool:
    """Ask once; say whether there was an answer that is not SERVFAIL."""
    host, _, port = place.rpartition(":")
    with connected((host, int(port))) as sock:
        sock.settimeout(2)
        sock.send(make_question(name, rrtype))
        try:
            return sock.recv(4096)[3] & 15 != SERVFAIL
        except OSError:
            return False


def timed_start(server: RunningServer) -> tuple[float, float]:
    """Start a server; return seconds to its first answer and to its ready line."""
    began = time.perf_counter()
    server.launch()
    assert server.process is not None
    answered = first_answer(server.data, VERSION, TXT, server.process.pid)[0] - began
    while not server._is_ready():
        time.sleep(LOOK_SECONDS)
    return answered, time.perf_counter() - began


def measure_pods(rounds: int, pods: int) -> tuple[float, float]:
    """Return the medians of restarts of a server whose store holds so many Pods."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        fill(data, load(None, {}, {"data": str(data)}), pods_and_services(pods))
        server = RunningServer(workers=2, data=data)
        times = []
        for _ in range(rounds):
            times.append(timed_start(server))
            server.stop()
        server.close()
    return statistics.median(one for one, _ in times), statistics.median(two for _, two in times)


def measure(rounds: int, count: int) -> tuple[float, float]:
    """Return the medians of restarts of a server that holds `count` Services; -1: of first starts."""
    times = []
    if count < 0:
        for _ in range(rounds):
            server = RunningServer(workers=2)
            times.append(timed_start(server))
            server.close()
    else:
        with RunningServer(workers=2) as server:
            register(server.api, services(count))
            for _ in range(rounds):
                server.stop()
                times.append(timed_start(server))
    return statistics.median(one for one, _ in times), statistics.median(two for _, two in times)


def make_run(rounds: int) -> float:
    """Return the median of seconds from `make demo` to the first answer for a Service of examples/."""
    times = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            flags = f"--data {data} --dns 127.0.0.1:0 --api 127.0.0.1:0"
            quiet = subprocess.DEVNULL
            began = time.perf_counter()
            process = subprocess.Popen(
                ["make", "demo", f"SERVE={flags}"], cwd=HERE.parent, stdout=quiet, stderr=quiet
            )
            ended, pid = first_answer(data, "web.default.svc.cluster.local", 1)
            times.append(ended - began)
            os.kill(pid, signal.SIGTERM)
            process.wait()
    return statistics.median(times)


def main(rounds: int = 5, pods: int = 100_000) -> None:
    """Print the table."""
    rows: list[tuple[str, str, str]] = []
    for name, count in (("first start", -1), ("restart, empty", 0), ("restart, 10,000 Services", 10_000)):
        answered, ready = measure(rounds, count)
        rows.append((name, f"{answered:.2f}", f"{ready:.2f}"))
    answered, ready = measure_pods(rounds, pods)
    rows.append((f"restart, {pods:,} Pods", f"{answered:.2f}", f"{ready:.2f}"))
    rows.append(("make demo", f"{make_run(rounds):.2f}", ""))
    table(("", "first answer s", "ready s"), rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
