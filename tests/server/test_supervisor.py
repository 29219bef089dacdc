"""What the supervisor promises, with stand-ins for its children."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.server.counters import WRITER

FAKE = (sys.executable, str(Path(__file__).with_name("fake_server.py")))


def fake(**how: object) -> RunningServer:
    return RunningServer(command=FAKE, **how)  # type: ignore[arg-type]


@pytest.fixture
def running() -> Iterator[RunningServer]:
    with fake(workers=2) as server:
        yield server


def tell(server: RunningServer, text: str, where: tuple[str, int] | None = None) -> str:
    """Send a datagram from a new port; return the answer, "" when none comes."""
    host, port = where or server.dns
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(GUARD_SECONDS if text not in ("crash", "fatal") else 0.2)
        one.sendto(text.encode(), (host, port))
        try:
            return one.recv(512).decode()
        except TimeoutError:
            return ""


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as status:
            return status.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def refused(server: RunningServer) -> tuple[int, str]:
    """Launch a server that must not start; return its exit code and all that it printed."""
    server.launch()
    assert server.process is not None
    try:
        return server.process.wait(GUARD_SECONDS), server.log()
    finally:
        server.close()


def test_it_says_once_that_it_is_ready_and_where(running: RunningServer) -> None:
    (line,) = [line for line in running.log().splitlines() if "svcdns ready" in line]
    host, port = running.dns
    api = running.api.removeprefix("http://")
    assert line.endswith(f"svcdns ready: dns={host}:{port} api={api} workers=2 data={running.data}")


def test_it_says_that_nothing_is_forwarded(running: RunningServer) -> None:
    """Which an empty SVCDNS_FORWARD_UPSTREAMS says here."""
    assert running.log().count("nothing is forwarded: upstreams in [forward] is empty") == 1


def test_the_ready_line_comes_out_at_every_level() -> None:
    with fake(workers=1, arguments=("--log", "error")) as server:
        assert len(server.log().splitlines()) == 1


def test_udp_and_tcp_have_one_port_on_each_address() -> None:
    with fake(workers=2, dns=("127.0.0.1:0", "[::1]:0")) as server:
        for host, port in server.dns_addresses:
            assert tell(server, "who", (host, port)).startswith("worker-")
            socket.create_connection((host, port), timeout=GUARD_SECONDS).close()


def test_all_workers_share_the_questions(running: RunningServer) -> None:
    met: set[str] = set()

    def ask() -> bool:
        met.add(tell(running, "who").split()[0])
        return len(met) == 2

    wait_for(ask, "both workers to answer")


def test_a_killed_worker_comes_back_and_answers_what_waited(running: RunningServer) -> None:
    before = running.worker_pids
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(40)]
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for one in sockets:
        one.settimeout(GUARD_SECONDS)
        one.sendto(b"who", running.dns)
    pids = {int(one.recv(512).split()[1]) for one in sockets}
    for one in sockets:
        one.close()
    assert not pids & set(before)
    counters = running.counters()
    assert [counters.get(row, "restarts") for row in (1, 2)] == [1, 1]
    wait_for(counters.ready, "the server to be ready again")
    assert running.log().count("svcdns ready") == 1


def test_a_killed_writer_comes_back(running: RunningServer) -> None:
    before = running.writer_pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: running.writer_pid not in (0, before), "another writer")
    assert "writer was ended by SIGKILL; starting it again" in running.log()


def test_a_worker_that_dies_five_times_is_given_up_and_the_others_answer_for_it(
    running: RunningServer,
) -> None:
    counters = running.counters()
    (running.data / "crash-worker").write_text("0")
    os.kill(running.worker_pids[0], signal.SIGKILL)
    wait_for(lambda: counters.get(1, "given_up"), "worker 0 to be given up")
    wait_for(lambda: "given up" in running.log(), "the log line")
    answers = {tell(running, "who").split()[0] for _ in range(30)}
    assert answers == {"worker-1"}
    assert running.process is not None
    assert running.process.poll() is None


def test_the_last_worker_is_never_given_up() -> None:
    with fake(workers=1) as server:
        counters = server.counters()
        (server.data / "crash-worker").write_text("0")
        os.kill(server.worker_pids[0], signal.SIGKILL)
        wait_for(lambda: counters.get(1, "restarts") >= 6, "six starts")
        assert counters.get(1, "given_up") == 0
        (server.data / "crash-worker").unlink()
        assert tell(server, "who").startswith("worker-0 ")


def test_a_writer_that_dies_at_each_start_is_tried_again_and_dns_goes_on(running: RunningServer) -> None:
    counters = running.counters()
    (running.data / "crash-worker").write_text("-1")
    os.kill(running.writer_pid, signal.SIGKILL)
    wait_for(lambda: counters.get(WRITER, "restarts") >= 6, "six starts")
    assert tell(running, "who").startswith("worker-")
    (running.data / "crash-worker").unlink()
    wait_for(lambda: counters.get(WRITER, "ready"), "the writer")


def test_fatal_children_end_the_server_with_code_1(running: RunningServer) -> None:
    pids = [*running.worker_pids, running.writer_pid]
    tell(running, "fatal")
    assert running.process is not None
    assert running.process.wait(GUARD_SECONDS) == 1
    assert not any(map(alive, pids))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_with_code_0(running: RunningServer, number: signal.Signals) -> None:
    pids = [*running.worker_pids, running.writer_pid]
    counters = running.counters()
    assert running.process is not None
    running.process.send_signal(number)
    assert running.process.wait(GUARD_SECONDS) == 0
    assert counters.stopping
    assert not counters.ready()
    assert not any(map(alive, pids))
    assert not (running.data / "addresses.json").exists()
    assert "Traceback" not in running.log()


def test_a_child_that_does_not_end_is_killed(running: RunningServer) -> None:
    pid = int(tell(running, "deaf").split()[1])
    assert running.stop() == 0
    assert not alive(pid)
    assert "did not end in time and is killed" in running.log()


def test_children_have_their_own_process_groups(running: RunningServer) -> None:
    _, pid, group = tell(running, "who").split()
    assert pid == group  # Ctrl-C in a terminal reaches the supervisor only


def test_a_hangup_goes_to_the_writer(running: RunningServer) -> None:
    assert running.process is not None
    running.process.send_signal(signal.SIGHUP)
    wait_for((running.data / "hup").exists, "the writer to be told")


def test_children_end_with_a_killed_supervisor_and_a_new_one_takes_over(running: RunningServer) -> None:
    pids = [*running.worker_pids, running.writer_pid]
    running.kill()
    running.start()  # at once: it waits for the old ones itself
    assert not any(map(alive, pids))
    assert tell(running, "who").startswith("worker-")


def test_a_new_server_waits_for_the_processes_of_a_killed_one(running: RunningServer) -> None:
    old = int(tell(running, "linger").split()[1])
    running.kill()
    running.launch()
    wait_for(lambda: "waiting for the processes of a server that was killed" in running.log(), "the log line")
    assert alive(old)
    (running.data / "go").touch()
    wait_for(lambda: running.log().count("svcdns ready") == 2, "the new server")
    assert not alive(old)


def test_the_data_folder_is_private(running: RunningServer) -> None:
    assert stat.S_IMODE(running.data.stat().st_mode) == 0o700


# Refusals: exit code 1, one line


def test_a_second_server_on_the_same_data_is_refused(running: RunningServer) -> None:
    assert running.process is not None
    code, text = refused(fake(data=running.data))
    assert code == 1
    assert text == (
        f"svcdns: data folder {running.data} is in use by another svcdns (process {running.process.pid}); "
        "stop that, or choose another with --data\n"
    )
    assert tell(running, "who").startswith("worker-")
    assert running.api, "addresses.json is still that of the first"


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
@pytest.mark.parametrize("reuse", [False, True])
def test_a_dns_port_in_use_is_refused(kind: socket.SocketKind, reuse: bool) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        if reuse:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        code, text = refused(fake(dns=(place,)))
    protocol = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
    assert code == 1
    program = Path("/proc/self/comm").read_text().strip()
    assert text == (
        f"svcdns: {place} (DNS, {protocol}) is in use by {program} (process {os.getpid()}); "
        "stop that, or choose another with --dns\n"
    )


def test_an_api_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        code, text = refused(fake(arguments=("--api", place)))
    assert (code, text.count("\n")) == (1, 1)
    assert f"{place} (API, TCP) is in use" in text


def test_an_address_of_another_machine_is_refused() -> None:
    code, text = refused(fake(dns=("192.0.2.1:0",)))
    assert (code, text.count("\n")) == (1, 1)
    remedy = "choose another with --dns, or 0.0.0.0 for all"
    assert f"192.0.2.1:0 (DNS, UDP): this machine has no such address; {remedy}\n" in text


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    tmp_path.chmod(0o755)
    code, text = refused(fake(data=tmp_path))
    assert (code, text.count("\n")) == (1, 1)
    assert f"data folder {tmp_path} holds other files (diary.txt); choose a new or empty folder" in text
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_data_folder_that_cannot_be_made_is_refused() -> None:
    code, text = refused(fake(data=Path("/proc/svcdns-data")))
    assert (code, text.count("\n")) == (1, 1)
    assert "data folder /proc/svcdns-data can't be used: no such file or directory" in text


OF_PACKAGES = {
    "PYTHONPATH": os.pathsep.join(
        one for one in sys.path if one and (sys.base_prefix == "/usr" or sys.base_prefix not in one)
    )
}
"""Where our packages are, without the standard library of this Python: another one has its own."""


def is_for_everybody(python: str) -> bool:
    """Whether other users may run this Python with our packages (not one below /root)."""
    script = (
        f"import sys, ssl, typer, httpcore, svcdns; assert sys.version_info[:2] == (3, {sys.version_info[1]})"
    )
    try:
        ran = subprocess.run([python, "-c", script], user="nobody", env=OF_PACKAGES, capture_output=True)
    except OSError:
        return False
    return ran.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_started_as_root_it_becomes_the_user() -> None:
    python = next((path for path in (sys.executable, "/usr/bin/python3") if is_for_everybody(path)), "")
    if not python:
        pytest.skip("no Python here is for other users")
    server = RunningServer(command=(python, FAKE[1]), config='user = "nobody"\n', environ=OF_PACKAGES)
    server.folder.chmod(0o755)
    with server:
        assert server.process is not None
        for pid in (server.process.pid, server.writer_pid, *server.worker_pids):
            assert Path(f"/proc/{pid}").owner() == "nobody"
        assert server.data.owner() == "nobody"
        counters = server.counters()
        os.kill(server.worker_pids[0], signal.SIGKILL)
        wait_for(lambda: counters.get(1, "restarts") and counters.ready(), "another worker")
