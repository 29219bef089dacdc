"""One server for all clients; each test has a namespace of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from toolbox.running_server import RunningServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[RunningServer]:
    """A running server for all tests of this folder."""
    with RunningServer(workers=1) as running:
        yield running


@pytest.fixture
def namespace(server: RunningServer) -> Iterator[str]:
    """A namespace of the test's own, which goes with it."""
    name = f"client-{next(_numbers)}"
    assert server.post("/api/v1/namespaces", {"metadata": {"name": name}}).status == 201
    yield name
    server.delete(f"/api/v1/namespaces/{name}")
