"""A forwarder that can't make its socket for `svcdns cache flush` forwards, and makes it when it can."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forward.behaviour.expecting import kill_forwarder, to, wait_for_forwarder
from toolbox.running_server import RunningServer
from toolbox.small_disk import small_disk, take_all_inodes
from toolbox.upstreams import Unbound
from toolbox.waiting import wait_for

from svcdns.forward.control import SOCKET

INODES = 100
OUTSIDE = ["192.0.2.10"]


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder on a file system that has room for few files."""
    place = tmp_path / "data"
    place.mkdir(mode=0o700)
    with small_disk(place, f"nr_inodes={INODES}"):
        yield place


def can_flush(server: RunningServer) -> bool:
    command = [sys.executable, "-m", "svcdns", "cache", "flush", "--data", str(server.data)]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def test_a_forwarder_that_cannot_make_its_socket_forwards(data: Path, need: Callable[..., str]) -> None:
    need("unbound")
    with (
        Unbound("*.example. 300 IN A 192.0.2.10", tls=False, https=False) as upstream,
        to(upstream.address, data=data) as server,
    ):
        assert server.answers("first.example") == OUTSIDE
        ballast = take_all_inodes(data)
        for number in range(2):
            kill_forwarder(server)
            wait_for_forwarder(server)
            assert server.answers(f"n{number}.example") == OUTSIDE
        log = server.log()
        assert log.count(f"`svcdns cache flush` can't reach this server: {data / SOCKET}: No space left") == 2
        assert not can_flush(server)
        for file in ballast:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
        wait_for(lambda: can_flush(server), "the socket")
        assert "Traceback" not in server.log()
        counters = server.counters()
        assert counters.get(counters.forwarder, "restarts") == 2
