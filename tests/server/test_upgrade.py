"""What an upgrade in place promises, with stand-ins for the children (tests/promises asks under load)."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from server.upgrading import (
    command,
    descriptors,
    fake,
    lives,
    pids,
    refused,
    upgraded,
    who,
)
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.server.counters import WRITER
from svcdns.server.upgrade_progress import read


@pytest.fixture
def running() -> Iterator[RunningServer]:
    with fake(workers=2) as server:
        yield server


def test_all_children_are_new_and_the_process_is_the_same(running: RunningServer) -> None:
    before, there, held = pids(running), (running.dns, running.api), descriptors(running)
    upgraded(running)
    assert running.process is not None
    assert running.process.poll() is None
    assert not pids(running) & before
    assert not any(lives(pid) for pid in before)
    assert (running.dns, running.api) == there
    assert who(running).startswith("worker-")
    assert len(descriptors(running)) == len(held)
    assert running.counters().ready()
    assert "upgraded" in running.log()


def test_twenty_upgrades_leave_nothing_behind(running: RunningServer) -> None:
    upgraded(running)
    before = len(descriptors(running))
    for _ in range(5):
        upgraded(running)
    assert len(descriptors(running)) == before
    assert set(os.listdir(running.data)) == {"addresses.json", "lock", "upgrade.json"}
    assert running.stop() == 0
    assert not (running.data / "upgrade.json").exists()


def test_the_signal_does_the_same(running: RunningServer) -> None:
    before = pids(running)
    assert running.process is not None
    running.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: read(running.data).number == 1 and read(running.data).code == 0, "the upgrade")
    assert not pids(running) & before


def test_two_signals_are_one_upgrade_or_two_but_never_a_mix(running: RunningServer) -> None:
    assert running.process is not None
    for _ in range(30):
        running.process.send_signal(signal.SIGUSR2)
        time.sleep(0.1)  # some of them come while the process is becoming another program
    wait_for(lambda: read(running.data).code == 0, "the last upgrade")
    assert who(running).startswith("worker-")
    assert running.process.poll() is None
    assert running.log().count("an upgrade is under way already") > 0


def test_what_is_signalled_during_the_exec_is_not_lost(running: RunningServer) -> None:
    """Nor does it end the process in another way than it should."""
    assert running.process is not None
    running.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "goes on as" in running.log(), "the exec")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(GUARD_SECONDS) == 0
    assert "Traceback" not in running.log()


@pytest.mark.parametrize("moment", ["the new code checks", "goes on as"])
def test_a_stop_during_an_upgrade_ends_all(running: RunningServer, moment: str) -> None:
    assert running.process is not None
    (running.data / "never-ready").write_text("worker")
    old = pids(running)
    running.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: moment in running.log(), "the moment")
    if moment == "goes on as":
        wait_for(lambda: len(children(running)) > len(old), "the new processes")
    all_of_them = children(running)
    assert running.stop() == 0
    assert not any(lives(pid) for pid in all_of_them | old)


def children(server: RunningServer) -> set[int]:
    assert server.process is not None
    pid = server.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


@pytest.mark.parametrize("which", ["worker", "writer"])
def test_who_is_not_ready_in_time_leaves_the_old_ones_at_work(which: str) -> None:
    environ = {"SVCDNS_TEST_READY_SECONDS": "2"}
    with fake(workers=2, environ=environ) as server:
        before, held = pids(server), descriptors(server)
        (server.data / "never-ready").write_text(which)
        assert refused(server).startswith("not ready within 2 s: ")
        assert {int(who(server).split()[1]) for _ in range(10)} <= before
        assert pids(server) == before == children(server)
        assert len(descriptors(server)) == len(held)
        (server.data / "never-ready").unlink()
        os.kill(server.worker_pids[0], signal.SIGKILL)
        counters = server.counters()
        wait_for(lambda: counters.get(1, "restarts") == 1 and counters.ready(), "another worker")
        upgraded(server)
        assert not pids(server) & before


def test_who_dies_at_its_start_leaves_the_old_ones_at_work(running: RunningServer) -> None:
    before = pids(running)
    (running.data / "crash-worker").write_text("1")
    assert refused(running) == "the new dns worker 1 ended with code 3: the log says more"
    assert pids(running) == before == children(running)


def test_an_old_worker_that_dies_meanwhile_is_no_matter(running: RunningServer) -> None:
    (running.data / "slow-writer").touch()
    assert running.process is not None
    old = running.worker_pids
    running.process.send_signal(signal.SIGUSR2)
    wait_for((running.data / "told").exists, "the old writer to be told")
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    assert who(running).startswith("worker-")
    (running.data / "go").touch()
    wait_for(lambda: read(running.data).code == 0, "the upgrade")
    assert who(running).startswith("worker-")


def test_an_old_process_that_ignores_its_end_is_killed(running: RunningServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(GUARD_SECONDS)
        one.sendto(b"deaf", running.dns)
        deaf = int(one.recv(512).decode().split()[1])
    upgraded(running)
    assert not lives(deaf)


# Who asks for it


def test_no_server_no_upgrade(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        code, _, err = command(folder)
        assert (code, err) == (
            1,
            f"svcdns: no server runs on {folder}; allowed: --data or --config of one that does\n",
        )


def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "lock").write_text(f"{other.pid}\n")
        code, _, err = command(tmp_path)
        assert code == 1
        assert "no server runs on" in err
        assert other.poll() is None
        other.kill()


def test_an_older_server_is_not_ended_by_the_signal(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    locks = f"fcntl.flock(f := open({str(lock)!r}), 2)"
    script = f"import fcntl, time; {locks}; print('.', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as old:
        assert old.stdout is not None
        assert old.stdout.readline()
        lock.write_text(f"{old.pid}\n")
        code, _, err = command(tmp_path)
        assert (code, old.poll()) == (1, None)
        assert "is of a version that can't be upgraded: restart it instead" in err
        old.kill()


# What else stays


def test_counters_go_on(running: RunningServer) -> None:
    running.counters().slot(0).write([7] * running.counters().width)
    before = running.counters().totals()
    upgraded(running)
    upgraded(running)
    assert running.counters().totals() == before


def test_a_worker_that_was_given_up_is_there_again(running: RunningServer) -> None:
    counters = running.counters()
    (running.data / "crash-worker").write_text("0")
    os.kill(running.worker_pids[0], signal.SIGKILL)
    wait_for(lambda: counters.get(1, "given_up"), "worker 0 to be given up")
    (running.data / "crash-worker").unlink()
    upgraded(running)
    assert len([pid for pid in running.worker_pids if pid]) == 2
    assert running.counters().ready()
    assert {who(running).split()[0] for _ in range(100)} == {"worker-0", "worker-1"}


def test_children_still_end_with_a_killed_supervisor(running: RunningServer) -> None:
    upgraded(running)
    alive = pids(running)
    running.kill()
    running.start()
    assert not any(lives(pid) for pid in alive)
    assert who(running).startswith("worker-")


def test_a_second_server_is_still_refused(running: RunningServer) -> None:
    upgraded(running)
    other = fake(data=running.data)
    other.launch()
    assert other.process is not None
    assert other.process.wait(GUARD_SECONDS) == 1
    assert re.search(rf"in use by another svcdns \(process {running.process.pid}\)", other.log())  # type: ignore[union-attr]
    other.close()


def test_a_writer_that_dies_after_an_upgrade_comes_back(running: RunningServer) -> None:
    upgraded(running)
    before = running.writer_pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: running.writer_pid not in (0, before), "another writer")
    assert running.counters().get(WRITER, "restarts") == 2
