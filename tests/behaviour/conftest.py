"""Fixtures of the behaviour tests: worlds to ask, and the marker that names the rows of docs/dns.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from behaviour.cluster_harness import Object, Reply, World, config
from behaviour.forwarding_harness import ForwardingWorld, forwarding_config
from toolbox.upstreams import Unbound

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
def upstream(need: Callable[..., str]) -> Iterator[Unbound]:
    """Give a real upstream, one for all tests of a module."""
    need("unbound")
    with Unbound(tls=False, https=False) as running:
        yield running


@pytest.fixture
def forward_to(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ForwardingWorld]]:
    """Return a function that makes a world for one test: `forward_to(["127.0.0.1:5300"], *objects)`."""
    yield from _forwarding_worlds(tmp_path_factory)


@pytest.fixture(scope="module")
def forward_all_to(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ForwardingWorld]]:
    """Return the same for a world for all tests of a module, which none of them may change."""
    yield from _forwarding_worlds(tmp_path_factory)


def _forwarding_worlds(factory: pytest.TempPathFactory) -> Iterator[Callable[..., ForwardingWorld]]:
    made: list[ForwardingWorld] = []

    def make(upstreams: Iterable[str], *objects: Object, **options: Any) -> ForwardingWorld:
        """Forward to `upstreams`; `options` are of [dns], `forward`, `cache` and `acl` of these."""
        world = ForwardingWorld(factory.mktemp("world"), forwarding_config(upstreams, **options))
        made.append(world)
        world.add(*objects)
        return world

    yield make
    for world in made:
        world.close()


@pytest.fixture(scope="module")
def ask(world: World) -> Callable[..., Reply]:
    """Ask the module's `world`: `ask(name, type)`, `ask(name, "SRV", edns=1232)`, `ask(name, tcp=True)`."""
    return world.ask
