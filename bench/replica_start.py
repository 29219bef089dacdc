"""From the start of a replica to its first answer: from nothing, and with a map that it had before.

    python bench/replica_start.py [PODS] [TURNS] [TREE...]      needs etcd

A registry of so many Pods, 10 of each headless Service, is moved into an etcd of one member.  Then each TREE
(a checkout of svcdns; this one where none is named) has a replica of it started, in turns: with an empty data
folder, and again with what that left.  "first answer" is the first that is not SERVFAIL.  CPU is that of all
processes of the server up to there; the peak is the resident memory of the largest one.  Medians; the other
column of two trees that were compared in one run says more than any figure.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from filling import fill, pods_and_services
from measuring import HERE, RunningServer, cpu_of_family, family, table
from start_time import first_answer
from toolbox.running_etcd import RunningEtcd

from svcdns.config.load import load

PODS_A_SERVICE = 10
NAME = "svc-0.default.svc.cluster.local"
A = 1
Measured = tuple[float, float, float]
"""Seconds to the first answer, CPU seconds, and MiB."""


def peak(pid: int) -> float:
    """Return the most resident memory that one of a server's processes has had, in MiB."""
    return max(_peak(one) for one in family(pid))


def _peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def start(tree: Path, config: str, data: Path) -> Measured:
    """Start a replica and end it when it has answered."""
    server = RunningServer(workers=1, config=config, data=data, environ={"PYTHONPATH": str(tree)})
    began = time.perf_counter()
    server.launch()
    assert server.process is not None
    pid = server.process.pid
    seconds = first_answer(data, NAME, A, pid)[0] - began
    found = seconds, cpu_of_family(pid), peak(pid)
    server.stop()
    server.close()
    return found


def main(pods: int = 100_000, turns: int = 3, *trees: str) -> None:
    """Print the table."""
    places = [Path(tree).resolve() for tree in trees] or [HERE.parent]
    with RunningEtcd() as etcd, tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        fill(data, load(None, {}, {"data": str(data)}), pods_and_services(pods, PODS_A_SERVICE))
        where = etcd.endpoints[0].removeprefix("http://")
        command = [sys.executable, "-m", "svcdns", "migrate", "--data", str(data), "--to", f"etcd://{where}"]
        subprocess.run(command, check=True, cwd=HERE.parent, stdout=subprocess.DEVNULL)
        shutil.rmtree(data)
        measure(f'[store]\netcd = ["{etcd.endpoints[0]}"]\n', places, turns, Path(folder))


def measure(config: str, trees: list[Path], turns: int, folder: Path) -> None:
    """Start replicas of a registry in turns, and print the table."""
    found: dict[tuple[Path, str], list[Measured]] = {}
    for turn in range(turns):
        for tree in trees:
            data = folder / f"{tree.name}-{turn}"
            for how in ("from nothing", "with its map"):
                found.setdefault((tree, how), []).append(start(tree, config, data))
            shutil.rmtree(data)
    rows = []
    for (tree, how), each in found.items():
        seconds, cpu, most = (statistics.median(column) for column in zip(*each, strict=True))
        rows.append((f"{tree.name}, {how}", f"{seconds:.1f}", f"{cpu:.1f}", f"{most:.0f}"))
    table(("", "first answer s", "CPU s", "peak MiB"), rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:])
