"""Fixtures of the tests of `dns`: an empty world and a filled one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from toolbox.answerer_harness import AnswererHarness, fill


@pytest.fixture
def empty_world(tmp_path: Path) -> Iterator[AnswererHarness]:
    world = AnswererHarness(tmp_path / "data")
    yield world
    world.store.close()


@pytest.fixture
def world(empty_world: AnswererHarness) -> AnswererHarness:
    return fill(empty_world)


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswererHarness]:
    """A filled world that no test may change."""
    world = AnswererHarness(tmp_path_factory.mktemp("shared") / "data")
    yield fill(world)
    world.store.close()
