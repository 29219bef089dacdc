"""Harnesses of the forwarder's parts, and two real upstreams; a module may have its own of these names."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forward.unit.forwarder_harness import ForwarderHarness, forwarder_in
from forward.unit.single_flight_harness import SingleFlightHarness, single_flight_over
from toolbox.upstreams import Knot, Unbound

from svcdns.server.sockets import link


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


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForwarderHarness]:
    with forwarder_in(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def single_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SingleFlightHarness]:
    with single_flight_over(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give the two ends of a link: the worker's and the forwarder's."""
    made = link()
    yield made
    for end in made:
        end.close()
