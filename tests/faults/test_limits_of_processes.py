"""Limits that the system sets to processes: each is named, in one line, with the remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toolbox.calls import SERVICES, Calls, service
from toolbox.running_server import SOURCE, RunningServer
from toolbox.waiting import GUARD_SECONDS

LARGEST_FILE = 1 << 20
WHY = "larger than the process may make a file (ulimit -f)"
TEXT = f"the data folder can't be written: {WHY}; nothing was changed"


def limited(option: str) -> tuple[str, ...]:
    """Return a command that runs svcdns under one of prlimit's limits."""
    prlimit = shutil.which("prlimit")
    if prlimit is None:
        pytest.skip("prlimit is not installed here")
    return (prlimit, option, sys.executable, "-m", "svcdns")


def refusal(server: RunningServer) -> str:
    """Return the one line of a server that must not start."""
    server.launch()
    assert server.process is not None
    try:
        assert server.process.wait(GUARD_SECONDS) == 1, server.log()
        (line,) = server.log().splitlines()
        return line.removeprefix("svcdns: ")
    finally:
        server.close()


def test_a_file_that_may_not_grow_refuses_each_write_with_507() -> None:
    """The first refusal too, of which LMDB only says that a write was short."""
    with RunningServer(workers=1, command=limited(f"--fsize={LARGEST_FILE}")) as server:
        calls = Calls(server.api)
        body = service("web")
        body["metadata"]["annotations"] = {"much": "x" * 20_000}
        refused = 0
        for number in range(10_000):
            body["metadata"]["name"] = f"s{number}"
            status, answer = calls.call("POST", SERVICES, body)
            if status == 201:
                continue
            assert (status, answer["reason"], answer["message"]) == (507, "InsufficientStorage", TEXT)
            refused += 1
            if refused == 20:
                break
        assert refused == 20
        assert server.get("/readyz").text == f"ok; writes are refused: {WHY}"
        assert "Traceback" not in server.log()
        assert server.log().count("the data can't be written: ") <= 2
        assert server.answers("kubernetes.default.svc.cluster.local") == []


@pytest.mark.parametrize("gibibytes", [4, 64])
def test_too_little_address_space_is_named(gibibytes: int) -> None:
    line = refusal(RunningServer(workers=1, command=limited(f"--as={gibibytes << 30}")))
    assert line == (
        f"address space is limited to {gibibytes << 10} MiB for each process, the store's map takes 64 GiB "
        "of it (not of memory): start svcdns with `ulimit -v unlimited` (systemd: LimitAS=infinity)"
    )


def test_a_limit_that_may_be_raised_is_raised() -> None:
    with RunningServer(workers=1, command=limited(f"--as={4 << 30}:unlimited")) as server:
        assert Calls(server.api).call("POST", SERVICES, service("web"))[0] == 201


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_an_interpreter_that_the_user_may_not_execute_is_named(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    python = private / "python"
    python.symlink_to(sys.executable)
    environ = {"PYTHONPATH": os.pathsep.join((str(SOURCE), *filter(None, sys.path)))}
    command = (str(python), "-m", "svcdns")
    line = refusal(RunningServer(workers=1, command=command, config='user = "nobody"\n', environ=environ))
    assert line.startswith(
        f"user: 'nobody' may not execute {python}: install svcdns where all users may read it"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_packages_that_the_user_may_not_read_are_named(tmp_path: Path) -> None:
    python = "/usr/bin/python3"
    tried = subprocess.run([python, "-c", "import lmdb"], capture_output=True)
    if tried.returncode == 0 or not Path(python).exists():
        pytest.skip("the system's Python has our packages")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from svcdns.server.surroundings import NotHere, _check_interpreter\n"
        f"sys.executable = {python!r}\n"
        "try: _check_interpreter('nobody')\n"
        "except NotHere as text: print(text)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(SOURCE)], capture_output=True, text=True, cwd=private
    )
    assert "user: 'nobody' can't run svcdns with /usr/bin/python3 (" in done.stdout
    assert "install svcdns where all users may read it" in done.stdout
