"""Two real upstreams that say different things; a module may have its own of these names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from toolbox.upstreams import Knot, Unbound


@pytest.fixture(scope="module")
def unbound(need: Callable[[str], str]) -> Iterator[Unbound]:
    need("unbound")
    with Unbound("web.example.org. 300 IN A 192.0.2.1", tls=False, https=False) as server:
        yield server


@pytest.fixture(scope="module")
def knot(need: Callable[[str], str]) -> Iterator[Knot]:
    need("knotd")
    with Knot("web.example.org. 300 IN A 192.0.2.2\nweb.corp.example. 300 IN A 192.0.2.3") as server:
        yield server
