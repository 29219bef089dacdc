"""A whole server in front of a real upstream, one for all tests of a module."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import RunningServer
from upstreams import Unbound

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def upstream(need: Callable[..., str]) -> Iterator[Unbound]:
    need("unbound")
    with Unbound(tls=False, https=False) as running:
        yield running


@pytest.fixture(scope="module")
def forwarding(upstream: Unbound) -> Iterator[RunningServer]:
    with RunningServer(config=f'[forward]\nupstreams = ["{upstream.address}"]\n') as running:
        yield running
