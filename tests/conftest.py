"""What all tests share: external programs that may be missing, and a running server."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # so that all import `from toolbox... import ...`

from toolbox.running_server import RunningServer

pytest_plugins = ["toolbox.registry_harness"]

IN_CI = os.environ.get("CI") == "true"

# No limits of time on a shared machine; in CI the same examples in each run.
settings.register_profile(
    "svcdns", deadline=None, derandomize=IN_CI, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("svcdns")


@pytest.fixture(scope="session")
def need() -> Callable[..., str]:
    """Return a function: `need("dig")` gives a program's path, `need(module="etcd")` asks for a module.

    What is missing skips the test on a laptop and fails it in CI (CI=true).
    """

    def look(program: str = "", *, module: str = "") -> str:
        found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") if program else ""
        if module and importlib.util.find_spec(module) is not None:
            found = module
        if not found:
            text = f"{program or module} is not installed here"
            if IN_CI:
                pytest.fail(f"{text}, and CI must have it (see .ci/run)")
            pytest.skip(text)
        return found

    return look


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """Give a running server with two workers and no manifests, one for all tests of a module."""
    with RunningServer(workers=2) as running:
        yield running


@pytest.fixture(scope="session", autouse=True)
def no_group_is_killed() -> Iterator[None]:
    """Refuse pid 0, which a process that is being started again has: it would end the tests themselves."""
    kill = os.kill

    def kill_one(pid: int, number: int) -> None:
        assert pid > 0, f"pid {pid} is no process of the server"
        kill(pid, number)

    os.kill = kill_one
    yield
    os.kill = kill
