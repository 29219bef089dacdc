"""Children are forks of the supervisor: they share memory with it, and nothing else but what it hands them.

Which rights they have is in test_proxy_child.py.
"""

import errno
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolbox.running_server import SOURCE, RunningServer
from toolbox.waiting import wait_for

from svcdns.server import forking

CONFIG = '[forward]\nupstreams = ["127.0.0.1:9"]\n'
OF_THE_API = ("aiohttp", "jsonschema_rs", "multidict", "yaml")
"""What nobody but the writer may load."""
SELDOM_USED = ("difflib", "dnslib", "shutil")
"""What answers nothing, and would be in the memory of each process."""
NOT_OF_A_SERVER = ("bz2", "difflib", "gettext", "html.entities", "http.client", "idna.core")
"""What comes with aiohttp and others, and is for clients, commands and folders of files."""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=2, config=CONFIG) as running:
        yield running


def own_memory(pid: int | str) -> int:
    """Return the octets that a process shares with nobody."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty:"))


def loaded(module: str) -> set[str]:
    """Return all modules that a Python has after it has loaded one."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=SOURCE
    )
    return set(done.stdout.split())


def status(pid: int, field: str) -> str:
    """Return a field of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:"))


def was_forked(pid: int) -> bool:
    """Return whether a process is a fork that has not executed anything (PF_FORKNOEXEC, proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return bool(int(fields[9 - 3]) & 0x40)


def inodes(pid: int) -> set[str]:
    """Return what the descriptors of a process lead to, but for those of every process."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if int(descriptor.name) > 2:
                found.add(os.readlink(descriptor))
        except FileNotFoundError:
            continue
    return found


@pytest.mark.parametrize("module", ["svcdns.cli.start", "svcdns.server.supervisor", "svcdns.server.worker"])
def test_what_supervisor_and_workers_load_has_nothing_of_the_api_nor_of_the_commands(module: str) -> None:
    assert not loaded(module) & {*OF_THE_API, *SELDOM_USED, "typer", "rich", "click", "httpcore", "pydantic"}


def test_the_writer_loads_nothing_that_only_clients_and_commands_use() -> None:
    assert not loaded("svcdns.server.writer") & {*NOT_OF_A_SERVER, "dnslib", "typer", "rich"}


def test_the_forwarder_loads_nothing_of_the_api() -> None:
    assert not loaded("svcdns.server.forwarder") & {*OF_THE_API, *SELDOM_USED, "typer", "rich"}


def test_the_writer_loads_no_second_library_of_dns() -> None:
    """Zone files are parsed by a process of their own."""
    assert not loaded("svcdns.server.writer") & {"dns", "typer", "rich"}


def test_the_writer_loads_what_few_requests_need_with_the_first_of_them() -> None:
    found = loaded("svcdns.server.writer")
    assert not found & {"jsonschema_rs", "yaml", "logging.handlers", "svcdns.registry.explain"}
    assert not found & {"prometheus_client.exposition", "http.server"}


def test_the_writer_loads_no_client_of_http_nor_sources() -> None:
    found = loaded("svcdns.server.writer")
    assert not found & {"aiohttp.client", "aiohttp.connector", "httpcore", "h2", "svcdns.client"}
    assert not found & {"svcdns.sources.containers.process", "svcdns.sources.containers.source"}


def test_a_writer_without_a_write_has_no_validator_in_memory() -> None:
    with RunningServer(workers=1) as server:  # which registers its first namespaces
        server.stop()
        server.start()
        maps = Path(f"/proc/{server.writer_pid}/maps").read_text()
    assert "_http_parser" in maps
    assert "/jsonschema_rs" not in maps


def test_a_running_worker_has_nothing_of_the_api_in_memory(server: RunningServer) -> None:
    for pid in server.worker_pids:
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "lmdb" in maps
        assert not [name for name in OF_THE_API if f"/{name}" in maps]


def test_a_worker_has_far_less_memory_of_its_own_than_one_that_is_executed(server: RunningServer) -> None:
    code = "import svcdns.server.worker, sys; print(flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, cwd=SOURCE) as executed:
        assert executed.stdout is not None and executed.stdin is not None
        executed.stdout.readline()
        alone = own_memory(executed.pid)
        executed.stdin.close()
    for pid in server.worker_pids:
        assert own_memory(pid) < 0.7 * alone


def test_ps_shows_what_each_process_is(server: RunningServer) -> None:
    first, second = server.worker_pids
    for pid, words in {
        server.writer_pid: ["svcdns.server.writer"],
        first: ["svcdns.server.worker", "0"],
        second: ["svcdns.server.worker", "1"],
    }.items():
        shown = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        assert shown == [sys.executable, "-m", *words, ""]


def test_a_child_begins_as_a_program_does(server: RunningServer) -> None:
    supervisor = server.process
    assert supervisor is not None
    for pid in [server.writer_pid, *server.worker_pids]:
        assert status(pid, "PPid") == str(supervisor.pid)
        assert os.getpgid(pid) == pid
        assert int(status(pid, "SigBlk"), 16) == 0
        assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull


def test_a_child_has_no_descriptors_but_those_handed_to_it(server: RunningServer) -> None:
    assert server.process is not None
    first, second = (inodes(pid) for pid in server.worker_pids)
    of_supervisor = inodes(server.process.pid)
    udp_of_one = (first ^ second) & of_supervisor
    assert udp_of_one, "each has a UDP socket that the other doesn't have"
    neither = of_supervisor - first - second
    assert any(one.startswith("socket:") for one in neither), "the API's socket is the writer's alone"


def test_a_descriptor_above_a_limit_that_was_lowered_since_is_none_of_a_childs() -> None:
    code = (
        "import os; from resource import *; os.dup2(os.open(os.devnull, os.O_RDONLY), 900, False); "
        "setrlimit(RLIMIT_NOFILE, (512, getrlimit(RLIMIT_NOFILE)[1])); "
        "from svcdns.cli.start import main; main()"
    )
    command = (sys.executable, "-c", code)
    with RunningServer(workers=1, command=command) as server:
        assert server.process is not None
        assert Path(f"/proc/{server.process.pid}/fd/900").exists()
        for pid in (server.writer_pid, *server.worker_pids):
            assert not Path(f"/proc/{pid}/fd/900").exists()


def test_who_crashed_is_executed_and_who_was_killed_is_forked() -> None:
    with RunningServer(workers=2) as server:
        for number, is_a_fork in {signal.SIGKILL: True, signal.SIGSEGV: False}.items():
            before = server.worker_pids[0]
            os.kill(before, number)
            wait_for(lambda: server.worker_pids[0] not in (0, before), "the next worker")  # noqa: B023
            wait_for(lambda: server.counters().get(1, "ready"), "it to be ready")
            assert was_forked(server.worker_pids[0]) == is_a_fork
        assert was_forked(server.worker_pids[1]) and was_forked(server.writer_pid)


def test_where_the_modules_cannot_be_loaded_children_are_executed_and_say_why() -> None:
    code = "from svcdns.server import forking; forking.SHARED = 'svcdns.no_such'; "
    command = (sys.executable, "-c", code + "from svcdns.cli.start import main; main()")
    with RunningServer(workers=1, command=command) as server:
        assert "svcdns.no_such can't be loaded: children are executed" in server.log()
        assert (
            Path(f"/proc/{server.worker_pids[0]}/cmdline").read_text().endswith("svcdns.server.worker\x000\0")
        )


def test_after_another_version_was_installed_children_are_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[object] = []
    monkeypatch.setattr(forking, "execute", lambda *arguments: executed.append(arguments))
    monkeypatch.setattr(forking, "_INSTALLED", (0, 0, 0, 0))
    command = (sys.executable, "-m", "svcdns.server.worker", "0")
    forking.begin(command, (), -1)
    assert executed == [(command, (), -1)]


def test_a_fork_that_the_system_refuses_leaves_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    monkeypatch.setattr(forking, "read_config", lambda _: None)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(OSError, match="temporarily unavailable"):
        forking.begin((sys.executable, "-m", "svcdns.server.worker", "0"), (), -1)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == blocked
