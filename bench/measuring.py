"""What the benchmarks share: a server filled over its API, CPU time of processes, a table.

Numbers of a shared machine: CPU time says more than wall time, and ratios taken in one run more than
either.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

from toolbox.builders import pod, service  # noqa: E402
from toolbox.calls import PODS, SERVICES, Calls, fqdn  # noqa: E402
from toolbox.running_server import PYTHONPATH, RunningServer  # noqa: E402
from toolbox.waiting import wait_for  # noqa: E402
from toolbox.witness import Witness, connected, make_question, read_answer  # noqa: E402

__all__ = [
    "PODS",
    "SERVICES",
    "Calls",
    "RunningServer",
    "Witness",
    "connected",
    "fqdn",
    "make_question",
    "pod",
    "read_answer",
    "service",
    "wait_for",
]
"""The clients and the running server are those of the tests."""

TICKS = os.sysconf("SC_CLK_TCK")

# A server that compiles its modules at each start has 4 MiB more than one that is installed.  Those that are
# measured keep what they compile, and the next start reads it.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Return the CPU time that a process has taken, (user, system), from /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def cpu_of_family(pid: int) -> float:
    """Return the CPU time, in seconds, of a process and all that descend from it.

    All threads are counted by ns; children that have ended (dnsmasq forks one a TCP connection) by ticks.
    """
    return sum(_own_cpu(one) for one in family(pid))


def _own_cpu(pid: int) -> float:
    try:
        threads = [(task / "schedstat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has ended meanwhile: its parent has it
    return sum(int(line.split()[0]) for line in threads) / 1e9 + (int(fields[13]) + int(fields[14])) / TICKS


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it, as far as they are there."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def memory_of_family(pid: int) -> tuple[float, float]:
    """Return what a process and all that descend from it have, in MiB: PSS, and of it what no file holds."""
    found = [memory(one) for one in family(pid)]
    return sum(one["Pss"] for one in found), sum(one["Pss_Anon"] for one in found)


def memory(pid: int) -> dict[str, float]:
    """Return the lines of smaps_rollup of a process by their names, in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) / 1024 for name, _, rest in (line.partition(":") for line in lines)}


def pin(pid: int, core: int) -> None:
    """Keep all threads of a process on one core."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core % (os.cpu_count() or 1)})


class Pace:
    """A client that asks for one name at an even pace, ahead of other processes where that is allowed."""

    def __init__(self, where: tuple[str, int], name: str, rate: int, core: int | None = None) -> None:
        """`rate` is in questions a second; `core` is the only one that it runs on."""
        program = HERE.parent / "tests" / "forward" / "faults" / "even_pace.py"
        self._process = subprocess.Popen(
            [sys.executable, str(program), *map(str, where), name, str(rate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": PYTHONPATH},
        )
        if core is not None:
            pin(self._process.pid, core)
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(self._process.pid, os.SCHED_FIFO, os.sched_param(1))

    def begin(self, seconds: float) -> None:
        """Have it ask for so long; `measured` waits for the end."""
        assert self._process.stdin is not None
        print(seconds, file=self._process.stdin, flush=True)

    def measured(self) -> dict[str, float]:
        """Return percentiles of the answers' times in microseconds."""
        assert self._process.stdout is not None
        found: dict[str, float] = json.loads(self._process.stdout.readline())
        return found

    def measure(self, seconds: float) -> dict[str, float]:
        """Do both."""
        self.begin(seconds)
        return self.measured()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def register(url: str, bodies: Iterable[tuple[str, object]], clients: int = 16) -> None:
    """POST (collection, object) pairs by several clients."""
    parts = [list(bodies)]
    parts = [parts[0][start::clients] for start in range(clients)]

    def post(part: Sequence[tuple[str, object]]) -> None:
        calls = Calls(url)
        for collection, body in part:
            calls.done("POST", collection, body)
        calls.close()

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(post, parts))


def services(count: int) -> list[tuple[str, object]]:
    """Return `count` ClusterIP Services, svc-0 and so on."""
    return [(SERVICES, service(f"svc-{number}")) for number in range(count)]


def headless(name: str, pods: int) -> list[tuple[str, object]]:
    """Return a headless Service and its Pods."""
    made: list[tuple[str, object]] = [(SERVICES, service(name, clusterIP="None"))]
    for number in range(pods):
        ip = f"10.1.{number // 250}.{number % 250 + 1}"
        made.append((PODS, pod(f"{name}-{number}", ip, name)))
    return made


def table(head: Sequence[str], rows: Iterable[Sequence[object]], out: Callable[[str], None] = print) -> None:
    """Print rows under a head, first column to the left, numbers to the right."""
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        out("  ".join([line[0].ljust(widths[0]), *cells]))


def request(method: str, path: str, body: object) -> bytes:
    """Return the octets of an HTTP/1.1 request with a JSON body, for clients that must cost little."""
    octets = json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(octets)}\r\n\r\n".encode() + octets
