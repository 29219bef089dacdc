"""What a registry promises, it promises on etcd too: the tests of `registry/`, with an etcd behind each."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toolbox.running_etcd import RunningEtcd

TESTS = Path(__file__).parents[1] / "registry"
SECONDS = 1500


@pytest.mark.timeout(SECONDS + 60)
def test_the_tests_of_the_registry_pass_on_etcd(need: Callable[..., str]) -> None:
    """All but those marked `embedded`, each with the reason."""
    need("etcd")
    with RunningEtcd(options=("--unsafe-no-fsync",)) as etcd:
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", str(TESTS), "-q", "-n", "0", "-p", "no:cacheprovider"),
                *("-m", "not embedded and not soak and not alone", "--timeout", "300"),
            ],
            cwd=TESTS.parents[1],
            env={**os.environ, "SVCDNS_TEST_ETCD": etcd.endpoints[0], "PYTEST_ADDOPTS": ""},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    assert ran.returncode == 0, ran.stdout[-6000:]
    assert " passed" in ran.stdout
