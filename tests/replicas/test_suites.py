"""What is promised of a registry is promised on etcd too: three folders of tests, with an etcd behind each.

They run in children of pytest, each with a share of the files: most of their time they wait.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from toolbox.running_etcd import RunningEtcd

TESTS = Path(__file__).parents[1]
FOLDERS = ("api", "promises", "registry")
SHARES = 4
SECONDS = 1500


def run_share(files: list[Path], etcd: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of some files with their registries in an etcd."""
    environ = {"SVCDNS_TEST_ETCD": etcd, "PYTEST_ADDOPTS": "", "READ_YOUR_WRITE_CHECKS": "2000"}
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", *map(str, files), "-q", "-n", "0", "-p", "no:cacheprovider"),
            *("-m", "not embedded and not soak and not alone", "--timeout", "300"),
        ],
        cwd=TESTS.parent,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.timeout(SECONDS + 60)
def test_the_tests_of_the_api_the_promises_and_the_registry_pass_on_etcd(need: Callable[..., str]) -> None:
    """All but those marked `embedded`, each with the reason."""
    need("etcd")
    files = [file for folder in FOLDERS for file in sorted((TESTS / folder).glob("test_*.py"))]
    shares = [files[at::SHARES] for at in range(SHARES)]
    with RunningEtcd(options=("--unsafe-no-fsync",)) as etcd, ThreadPoolExecutor(SHARES) as children:
        done = list(children.map(lambda share: run_share(share, etcd.endpoints[0]), shares))
    failed = [ran.stdout[-6000:] for ran in done if ran.returncode]
    assert not failed, "\n".join(failed)
    assert all(" passed" in ran.stdout for ran in done)
