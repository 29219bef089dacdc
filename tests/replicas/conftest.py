"""An etcd for all tests of a module, and a registry of its own in it for each test."""

from pathlib import Path

import pytest
from replicas.replicas_harness import Replicas
from toolbox.running_etcd import RunningEtcd


@pytest.fixture
def replicas(etcd: RunningEtcd, tmp_path: Path) -> Replicas:
    """Give a registry of which there is no replica yet."""
    return Replicas(etcd, tmp_path)
