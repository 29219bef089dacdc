"""Go's own client against a started server: typed calls, which send protobuf, informers, leader election.

Building it takes minutes and some hundred megabytes of modules: `make soak`, and only where Go is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from toolbox.running_server import RunningServer

SOURCE = Path(__file__).parent / "go"
BUILD_SECONDS = 1800
pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(2 * BUILD_SECONDS),
    pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed here"),
]


def run(command: Sequence[str], seconds: float = BUILD_SECONDS) -> subprocess.CompletedProcess[bytes]:
    environ = {**os.environ, "GOFLAGS": "-mod=readonly"}
    return subprocess.run(command, cwd=SOURCE, env=environ, capture_output=True, timeout=seconds, check=False)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built programs."""
    folder = tmp_path_factory.mktemp("go")
    if run(["go", "mod", "download"]).returncode:
        pytest.skip("the modules of client-go can't be had here")
    built = run(["go", "build", "-o", f"{folder}/", "./..."])
    assert built.returncode == 0, built.stderr.decode()
    return folder


def test_typed_client_and_informers(programs: Path) -> None:
    with RunningServer(workers=1) as server:
        ended = run([str(programs / "typed"), server.api], 120)
    told = ended.stdout.decode()
    assert told.splitlines()[-1] == "done", told + ended.stderr.decode()


def test_leader_election_and_newer_events(programs: Path) -> None:
    with RunningServer(workers=1) as server:
        ended = run([str(programs / "leader"), server.api], 300)
    told = ended.stdout.decode()
    assert told.splitlines()[-1] == "done", told + ended.stderr.decode()


def test_bodies_that_other_tests_read_are_up_to_date(programs: Path) -> None:
    checked_in = SOURCE.parent.parent / "api" / "go_bodies.jsonl"
    assert run([str(programs / "bodies")]).stdout == checked_in.read_bytes()
