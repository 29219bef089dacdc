"""A server for the tests of a module, and an engine's name and namespace for each test."""

from collections.abc import Iterator
from itertools import count

import pytest
from toolbox.running_server import RunningServer

_numbers = count()


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as running:
        yield running


@pytest.fixture
def name() -> str:
    """The name of an engine that no other test has; its containers' project is called the same."""
    return f"engine-{next(_numbers)}"
