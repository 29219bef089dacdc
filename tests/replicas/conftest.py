"""An etcd for all tests of a module, and a registry of its own in it for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from replicas.replicas_harness import Replicas
from toolbox.running_etcd import RunningEtcd


@pytest.fixture(scope="module")
def etcd(need: Callable[..., str]) -> Iterator[RunningEtcd]:
    """Give an etcd of one member."""
    need("etcd")
    need("etcdctl")
    with RunningEtcd() as running:
        yield running


@pytest.fixture
def replicas(etcd: RunningEtcd, tmp_path: Path) -> Replicas:
    """Give a registry of which there is no replica yet."""
    return Replicas(etcd, tmp_path)
