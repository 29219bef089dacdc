"""A whole server in front of a real upstream, one for all tests of a module."""

from collections.abc import Callable, Iterator

import pytest
from toolbox.running_server import RunningServer
from toolbox.upstreams import Unbound


@pytest.fixture(scope="module")
def upstream(need: Callable[..., str]) -> Iterator[Unbound]:
    need("unbound")
    with Unbound(tls=False, https=False) as running:
        yield running


@pytest.fixture(scope="module")
def forwarding(upstream: Unbound) -> Iterator[RunningServer]:
    with RunningServer(config=f'[forward]\nupstreams = ["{upstream.address}"]\n') as running:
        yield running
