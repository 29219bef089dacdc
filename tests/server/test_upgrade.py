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
from toolbox.running_server import SOURCE, RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.server.counters import WRITER
from svcdns.server.progress import read

FAKE = (sys.executable, str(Path(__file__).with_name("fake_server.py")))
UPGRADE = (sys.executable, "-m", "svcdns", "upgrade")


def fake(**how: object) -> RunningServer:
    return RunningServer(command=FAKE, **how)  # type: ignore[arg-type]


@pytest.fixture
def running() -> Iterator[RunningServer]:
    with fake(workers=2) as server:
        yield server


def command(folder: Path) -> tuple[int, str, str]:
    """Run `svcdns upgrade`; return its exit code, stdout and stderr."""
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [*UPGRADE, "--data", str(folder)],
        capture_output=True,
        text=True,
        env=environ,
        timeout=3 * GUARD_SECONDS,
    )
    return done.returncode, done.stdout, done.stderr


def upgraded(server: RunningServer) -> None:
    code, out, err = command(server.data)
    assert (code, err) == (0, ""), (code, out, err, server.log())
    assert out.splitlines()[-1].startswith("upgraded to svcdns ")


def refused(server: RunningServer) -> str:
    """Return the last line of an upgrade that fails."""
    code, out, err = command(server.data)
    assert code == 1, (code, out, err)
    assert err.startswith("svcdns: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err + server.log()
    return err.removeprefix("svcdns: ").rstrip("\n")


def who(server: RunningServer, where: tuple[str, int] | None = None) -> str:
    """Ask from a new port; return who answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(GUARD_SECONDS)
        one.sendto(b"who", where or server.dns)
        return one.recv(512).decode()


def pids(server: RunningServer) -> set[int]:
    return {server.writer_pid, *server.worker_pids}


def lives(pid: int) -> bool:
    """Return whether a process runs; of one that has ended something may be left until its parent looks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descriptors(server: RunningServer) -> set[str]:
    assert server.process is not None
    found = set()
    for name in os.listdir(f"/proc/{server.process.pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{server.process.pid}/fd/{name}"))
        except FileNotFoundError:
            continue
    return found


def reconfigure(server: RunningServer, before: str, after: str) -> None:
    file = server.folder / "svcdns.toml"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def configured(dns: str = '"127.0.0.1:0"', workers: int = 2, rest: str = "") -> str:
    """Return a configuration that flags do not override."""
    return (
        f'{rest}\n[dns]\nlisten = [{dns}]\nworkers = {workers}\n[api]\nlisten = "127.0.0.1:0"\n'
        "[forward]\nupstreams = []\n"
    )


class Configured(RunningServer):
    """A server whose configuration is all in its file, so that an upgrade can find it changed."""

    def __init__(self, config: str) -> None:
        super().__init__(command=FAKE, config=config)
        self._command = [
            *FAKE,
            "serve",
            "--config",
            str(self.folder / "svcdns.toml"),
            "--data",
            str(self.data),
        ]


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


# The new code and its configuration


def test_mistakes_in_the_configuration_leave_all_as_it_was() -> None:
    with Configured(configured()) as server:
        before = pids(server)
        reconfigure(server, "workers = 2", "workers = true")
        assert "dns.workers" in refused(server)
        assert pids(server) == before
        reconfigure(server, "workers = true", "workers = 2")
        upgraded(server)


def test_a_configuration_that_is_gone_leaves_all_as_it_was() -> None:
    with Configured(configured()) as server:
        before = pids(server)
        (server.folder / "svcdns.toml").unlink()
        assert "svcdns.toml" in refused(server)
        assert pids(server) == before


def test_a_manifest_with_a_mistake_leaves_all_as_it_was_only_where_that_is_asked_for(tmp_path: Path) -> None:
    strict = "strict_manifests = true"
    with Configured(configured(rest=f'manifests = ["{tmp_path}"]\n{strict}')) as server:
        (tmp_path / "wrong.yaml").write_text("kind: Service\n")
        before = pids(server)
        assert "wrong.yaml" in refused(server)
        assert pids(server) == before
        reconfigure(server, strict, "")
        upgraded(server)


@pytest.mark.parametrize("workers", [1, 3, 5])
def test_another_number_of_workers(workers: int) -> None:
    with Configured(configured()) as server:
        reconfigure(server, "workers = 2", f"workers = {workers}")
        upgraded(server)
        assert len(server.worker_pids) == workers
        met = {who(server).split()[0] for _ in range(200)}
        assert met <= {f"worker-{number}" for number in range(workers)}
        assert workers == 1 or len(met) > 1
        reconfigure(server, f"workers = {workers}", "workers = 2")
        upgraded(server)
        assert who(server).startswith("worker-")


def test_listeners_come_and_go() -> None:
    with Configured(configured()) as server:
        first = server.dns
        reconfigure(server, '["127.0.0.1:0"]', '["127.0.0.1:0", "127.0.0.2:0"]')
        upgraded(server)
        assert server.dns == first
        second = server.dns_addresses[1]
        assert who(server, second).startswith("worker-")
        socket.create_connection(second, timeout=GUARD_SECONDS).close()
        reconfigure(server, '["127.0.0.1:0", "127.0.0.2:0"]', f'["{second[0]}:{second[1]}"]')
        upgraded(server)
        assert server.dns_addresses == [second]
        assert who(server).startswith("worker-")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(first, timeout=GUARD_SECONDS)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(first)


def test_a_listener_that_cannot_be_had_leaves_all_as_it_was() -> None:
    with Configured(configured()) as server, socket.create_server(("127.0.0.3", 0)) as taken:
        before = pids(server)
        place = f"127.0.0.3:{taken.getsockname()[1]}"
        reconfigure(server, '["127.0.0.1:0"]', f'["127.0.0.1:0", "{place}"]')
        line = refused(server)
        assert f"{place} (DNS, TCP) is in use by " in line
        assert line.endswith("or restart svcdns instead of upgrading it")
        assert pids(server) == before
        assert who(server).startswith("worker-")


def test_another_data_folder_takes_a_restart(tmp_path: Path) -> None:
    with Configured(configured()) as server:
        server._command[-2:] = []
        assert server.stop() == 0
        (server.folder / "svcdns.toml").write_text(f'data = "{server.data}"\n' + configured())
        server.start()
        reconfigure(server, f'data = "{server.data}"', f'data = "{tmp_path}"')
        assert refused(server).endswith("which takes a restart instead of an upgrade")


def test_a_script_is_run_as_it_is_now(tmp_path: Path) -> None:
    """So a new version may come with another interpreter: it stands in the first line of the script."""
    script = tmp_path / "svcdns"

    def write(*more: str) -> None:
        lines = (
            f"#!{sys.executable}",
            "import runpy, sys",
            *more,
            f"runpy.run_path({FAKE[1]!r}, run_name='__main__')",
        )
        script.write_text("\n".join(lines))
        script.chmod(0o755)

    write()
    with RunningServer(command=[str(script)]) as server:
        write("print('the new script', file=sys.stderr, flush=True)")
        upgraded(server)
        assert server.log().count("the new script") >= 1
        before = pids(server)
        script.chmod(0o644)
        script.write_text("raise SystemExit('broken')\n")
        assert refused(server)
        assert pids(server) == before
        script.unlink()
        assert refused(server)
        assert pids(server) == before


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
