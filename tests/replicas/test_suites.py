"""What is promised of a registry is promised on etcd too: three folders of tests, with an etcd behind each.

They run in children of pytest, each with a share of the files: most of their time they wait.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from toolbox.running_etcd import RunningEtcd

TESTS = Path(__file__).parents[1]
FOLDERS = ("api", "promises", "registry")
SHARES = 3
SECONDS = 1500


def run_share(files: list[Path], etcd: str, output: Path) -> int | None:
    """Run the tests of some files with their registries in an etcd; return the exit code, None: they hang."""
    command = [
        *(sys.executable, "-m", "pytest", *map(str, files), "-q", "-n", "0", "-p", "no:cacheprovider"),
        *("-m", "not embedded and not soak and not alone", "--timeout", "300"),
    ]
    environ = {"SVCDNS_TEST_ETCD": etcd, "PYTEST_ADDOPTS": "", "READ_YOUR_WRITE_CHECKS": "2000"}
    with output.open("wb") as out, suppress(subprocess.TimeoutExpired):
        env, cwd = {**os.environ, **environ}, TESTS.parent
        return subprocess.run(command, cwd=cwd, env=env, stdout=out, stderr=out, timeout=SECONDS).returncode
    return None


@pytest.mark.timeout(SECONDS + 60)
def test_the_tests_of_the_api_the_promises_and_the_registry_pass_on_etcd(
    need: Callable[..., str], tmp_path: Path
) -> None:
    """All but those marked `embedded`, each with the reason."""
    need("etcd")
    files = [file for folder in FOLDERS for file in sorted((TESTS / folder).glob("test_*.py"))]
    outputs = [tmp_path / f"share-{at}" for at in range(SHARES)]
    with RunningEtcd(options=("--unsafe-no-fsync",)) as etcd, ThreadPoolExecutor(SHARES) as children:

        def run(at: int) -> int | None:
            return run_share(files[at::SHARES], etcd.endpoints[0], outputs[at])

        codes = list(children.map(run, range(SHARES)))
    said = [output.read_text(errors="replace") for output in outputs]
    assert codes == [0] * SHARES, "\n".join(
        text[-6000:] for text, code in zip(said, codes, strict=True) if code != 0
    )
    assert all(" passed" in text for text in said)
