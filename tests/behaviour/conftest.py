"""Fixtures of the behaviour tests: worlds to ask, and the marker that names the rows of docs/dns.md."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that tests can `from cluster_world import ...`

from cluster_world import Object, Reply, World, config

MakeWorld = Callable[..., World]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "row(*ids): the rows of docs/dns.md that a test checks (see rows.py)")


def _worlds(factory: pytest.TempPathFactory) -> Iterator[MakeWorld]:
    made: list[World] = []

    def make(*objects: Object, **options: Any) -> World:
        """Start a registry with these objects; `options` as in `cluster_world.config`."""
        world = World(factory.mktemp("world"), config(**options))
        made.append(world)
        world.add(*objects)
        return world

    yield make
    for world in made:
        world.close()


@pytest.fixture(scope="module")
def make_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeWorld]:
    """Return a function that makes a world for all tests of a module, which none of them may change."""
    yield from _worlds(tmp_path_factory)


@pytest.fixture
def new_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeWorld]:
    """Return a function that makes a world for one test, which may change it."""
    yield from _worlds(tmp_path_factory)


@pytest.fixture(scope="module")
def ask(world: World) -> Callable[..., Reply]:
    """Ask the module's `world`: `ask(name, type)`, `ask(name, "SRV", edns=1232)`, `ask(name, tcp=True)`."""
    return world.ask
