"""Who runs first on a core that is full: workers, then the forwarder."""

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for

from svcdns.server import scheduling


def slice_of(pid: int) -> int:
    """Return the slice of the core that a process has asked for, nanoseconds."""
    try:
        text = Path(f"/proc/{pid}/sched").read_text()
    except FileNotFoundError:
        pytest.skip("this kernel doesn't show it")
    found = re.search(r"se\.slice\s*:\s*(\d+)", text)
    if found is None:
        pytest.skip("slices can't be asked for before Linux 6.12")
    return int(found[1])


@pytest.fixture(scope="module")
def pids() -> Iterator[dict[str, int]]:
    with RunningServer(workers=1, config='[forward]\nupstreams = ["127.0.0.1:9"]\n') as server:
        counters = server.counters()
        forwarder = wait_for(
            lambda: counters.get(counters.forwarder, "ready") and counters.get(counters.forwarder, "pid"),
            "the forwarder",
        )
        yield {"worker": server.worker_pids[0], "writer": server.writer_pid, "forwarder": forwarder}


def test_the_forwarder_steps_back(pids: dict[str, int]) -> None:
    nice = {name: os.getpriority(os.PRIO_PROCESS, pid) for name, pid in pids.items()}
    assert nice["worker"] == nice["writer"] == os.getpriority(os.PRIO_PROCESS, 0)
    assert nice["forwarder"] == min(nice["worker"] + scheduling.NICE, 19)


def test_a_worker_is_let_in_at_once(pids: dict[str, int]) -> None:
    assert slice_of(pids["worker"]) == scheduling.SLICE_NANOSECONDS < slice_of(pids["forwarder"])


@pytest.mark.parametrize("machine", ["pdp11", "x86_64"])
def test_what_is_refused_does_no_harm(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setitem(scheduling._SCHED_SETATTR, "x86_64", 100_000)  # no such call
    assert not scheduling.take_short_slices()
    monkeypatch.setattr(os, "nice", lambda _: os.kill(1 << 22, 0))  # an OSError
    scheduling.step_back()
