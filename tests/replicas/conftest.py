"""An etcd for all tests of a module, and a registry of its own in it for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from replicas.replicas_harness import Replicas
from toolbox.running_etcd import RunningEtcd
from toolbox.waiting import GUARD_SECONDS

from svcdns.registry import events
from svcdns.registry.replicated import committer, consistent_reads


@pytest.fixture(autouse=True, scope="module")
def patience() -> Iterator[None]:
    """Have writes and reads that take long on a busy machine wait, and not be given up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(committer, "WRITE_SECONDS", GUARD_SECONDS)
        patch.setattr(consistent_reads, "SECONDS", GUARD_SECONDS)
        yield


@pytest.fixture
def no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no Events written in the background."""
    monkeypatch.setattr(events, "GATHER_SECONDS", 100 * GUARD_SECONDS)


@pytest.fixture
def replicas(etcd: RunningEtcd, tmp_path: Path) -> Replicas:
    """Give a registry of which there is no replica yet."""
    return Replicas(etcd, tmp_path)
