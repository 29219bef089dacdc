"""Fixtures of the behaviour tests: worlds to ask, and the marker that names the rows of docs/dns.md."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from behaviour.cluster_harness import ClusterHarness, Reply, config
from behaviour.forwarding_harness import ForwardingClusterHarness, forwarding_config
from behaviour.objects import Object
from toolbox.upstreams import Unbound

MakeHarness = Callable[..., ClusterHarness]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "row(*ids): the rows of docs/dns.md that a test checks (see rows.py)")


def _clusters(factory: pytest.TempPathFactory) -> Iterator[MakeHarness]:
    made: list[ClusterHarness] = []

    def make(*objects: Object, **options: Any) -> ClusterHarness:
        """Start a registry with these objects; `options` as in `cluster_harness.config`."""
        world = ClusterHarness(factory.mktemp("world"), config(**options))
        made.append(world)
        world.add(*objects)
        return world

    yield make
    for world in made:
        world.close()


@pytest.fixture(scope="module")
def make_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeHarness]:
    """Return a function that makes a world for all tests of a module, which none of them may change."""
    yield from _clusters(tmp_path_factory)


@pytest.fixture
def new_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeHarness]:
    """Return a function that makes a world for one test, which may change it."""
    yield from _clusters(tmp_path_factory)


@pytest.fixture(scope="module")
def upstream(need: Callable[..., str]) -> Iterator[Unbound]:
    """Give a real upstream, one for all tests of a module."""
    need("unbound")
    with Unbound(tls=False, https=False) as running:
        yield running


@pytest.fixture
def forward_to(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ForwardingClusterHarness]]:
    """Return a function that makes a world for one test: `forward_to(["127.0.0.1:5300"], *objects)`."""
    yield from _forwarding(tmp_path_factory)


@pytest.fixture(scope="module")
def forward_all_to(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., ForwardingClusterHarness]]:
    """Return the same for a world for all tests of a module, which none of them may change."""
    yield from _forwarding(tmp_path_factory)


def _forwarding(
    factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., ForwardingClusterHarness]]:
    made: list[ForwardingClusterHarness] = []

    def make(upstreams: Iterable[str], *objects: Object, **options: Any) -> ForwardingClusterHarness:
        """Forward to `upstreams`; `options` are of [dns], `forward`, `cache` and `acl` of these."""
        world = ForwardingClusterHarness(factory.mktemp("world"), forwarding_config(upstreams, **options))
        made.append(world)
        world.add(*objects)
        return world

    yield make
    for world in made:
        world.close()


@pytest.fixture(scope="module")
def ask(world: ClusterHarness) -> Callable[..., Reply]:
    """Ask the module's `world`: `ask(name, type)`, `ask(name, "SRV", edns=1232)`, `ask(name, tcp=True)`."""
    return world.ask
