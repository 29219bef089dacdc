"""Fixtures of the tests of `dns`: an empty world and a filled one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from toolbox.answerer_harness import World, fill


@pytest.fixture
def empty_world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data")
    yield world
    world.store.close()


@pytest.fixture
def world(empty_world: World) -> World:
    return fill(empty_world)


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A filled world that no test may change."""
    world = World(tmp_path_factory.mktemp("shared") / "data")
    yield fill(world)
    world.store.close()
