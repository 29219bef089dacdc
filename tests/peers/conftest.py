"""One start of all four servers for all tests with zone files."""

from collections.abc import Callable, Iterator

import pytest
from peers.four_servers import FourServers, running_servers


@pytest.fixture(scope="session")
def servers(need: Callable[..., str]) -> Iterator[FourServers]:
    for program in ("knotd", "nsd", "named"):
        need(program)
    with running_servers() as running:
        yield running
