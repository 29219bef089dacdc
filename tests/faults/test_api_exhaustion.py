"""Clients without a token that hold connections, or send half a head: they lose them, and nobody else waits.

The limit of open files is lowered while the server runs, so that it is met with few connections.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import select
import socket
import subprocess
from collections.abc import Iterator

import pytest
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.server import logs

FILES = 320
MANY = 500
SERVICES = "/api/v1/services"
HEAD = b"GET /api/v1/services HTTP/1.1\r\nHost: loc"


@pytest.fixture
def tokened() -> Iterator[RunningServer]:
    server = RunningServer(workers=1, config='[api]\ntokens = "tokens"\n')
    try:
        token(server, "first")
        yield server.start()
    finally:
        server.close()


def token(server: RunningServer, name: str) -> dict[str, str]:
    file = server.folder / "tokens"
    command = [
        *server._command[:3],
        "token",
        "create",
        "--file",
        str(file),
        "--name",
        name,
        "--role",
        "admin",
    ]
    made = subprocess.run(command, capture_output=True, text=True, env=server._environ, check=True)
    return {"Authorization": f"Bearer {made.stdout.split()[-1]}"}


def listed(server: RunningServer, headers: dict[str, str]) -> int:
    """Return the status of a list."""
    return server.request("GET", SERVICES, headers=headers).status


@contextlib.contextmanager
def held(server: RunningServer, count: int, octets: bytes) -> Iterator[list[socket.socket]]:
    """Hold connections that have sent these octets and send no more."""
    host, _, port = server.api.removeprefix("http://").rpartition(":")
    made = []
    try:
        for _ in range(count):
            one = socket.create_connection((host, int(port)), timeout=GUARD_SECONDS)
            one.sendall(octets)
            made.append(one)
        yield made
    finally:
        for one in made:
            one.close()


def still_open(sockets: list[socket.socket]) -> int:
    polling = select.poll()
    for one in sockets:
        polling.register(one, select.POLLIN)
    return len(sockets) - len(polling.poll(0))


@pytest.mark.parametrize("octets", [b"", HEAD], ids=["silent", "half a head"])
def test_who_holds_connections_loses_them_and_probes_find_room(tokened: RunningServer, octets: bytes) -> None:
    admin = token(tokened, "admin")
    resource.prlimit(tokened.writer_pid, resource.RLIMIT_NOFILE, (FILES, FILES))
    before = len(tokened.log())
    with held(tokened, MANY, octets) as sockets:
        wait_for(lambda: still_open(sockets) < FILES, "room to be made")
        for _ in range(5):
            assert tokened.get("/livez").text == "ok"
        wait_for(lambda: listed(tokened, admin) == 200, "room for one who asks: 429 says to come back in 1 s")
        assert [listed(tokened, admin) for _ in range(5)] == [200] * 5
        later = token(tokened, "later")
        assert listed(tokened, later) == 200
        wait_for(lambda: still_open(sockets) == 0, "all to be closed, their heads never having come")
    assert listed(tokened, later) == 200
    log = tokened.log()[before:]
    assert "Traceback" not in log and log.count("open files allowed") <= 2, log[-2000:]
    assert len(log) < 20_000


def test_probes_find_room_among_watches(tokened: RunningServer) -> None:
    """Connections that are at work are not closed; the limit is told by name."""
    admin = token(tokened, "admin")
    head = "GET /api/v1/services?watch=1 HTTP/1.1\r\nHost: localhost\r\n"
    watch = f"{head}Authorization: {admin['Authorization']}\r\n\r\n".encode()
    resource.prlimit(tokened.writer_pid, resource.RLIMIT_NOFILE, (FILES, FILES))
    with held(tokened, MANY, watch) as sockets, held(tokened, 3, watch):  # those that are refused leave gaps
        wait_for(lambda: listed(tokened, admin) == 429, "the limit")
        refused = tokened.request("GET", "/api/v1/services", headers=admin)
        assert refused.json["reason"] == "TooManyRequests" and refused.headers["Retry-After"] == "1"
        assert "of one client" in refused.json["message"]
        for _ in range(20):
            assert tokened.get("/livez").text == "ok"
        assert tokened.get("/readyz").text == "ok"
        assert still_open(sockets) >= 0
    wait_for(lambda: listed(tokened, admin) == 200, "room again")


def test_asyncios_line_of_an_exhausted_resource_comes_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    once = logs._OnceAMinute()
    quiet = logging.getLogger("test.asyncio")
    quiet.addFilter(once)
    for _ in range(1000):
        with contextlib.suppress(OSError):
            try:
                raise OSError(24, "Too many open files")
            except OSError:
                quiet.exception("socket.accept() out of system resource\nsocket: <socket>")
                raise
    quiet.error("something else")
    assert [record.getMessage() for record in caplog.records] == [
        "no descriptors are left for new connections: [Errno 24] Too many open files",
        "something else",
    ]
    assert not caplog.records[0].exc_info
