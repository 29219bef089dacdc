"""What systemd is told: one datagram at the socket that it names, nothing where it names none."""

import os
import socket
from pathlib import Path

import pytest
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS

from svcdns.system.service_notice import READY, tell


def listening(address: str) -> socket.socket:
    there = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    there.bind(address.replace("@", "\0", 1))
    there.settimeout(GUARD_SECONDS)
    return there


@pytest.mark.parametrize("is_abstract", [False, True])
def test_it_is_told_when_the_server_is_ready_and_when_it_stops(tmp_path: Path, is_abstract: bool) -> None:
    address = f"@svcdns-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with listening(address) as there:
        with RunningServer(workers=1, environ={"NOTIFY_SOCKET": address}) as server:
            assert there.recv(100) == b"READY=1"
            server.stop()
        assert there.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "relative", "/nosuch/socket", "@nobody-listens-here"])
def test_a_manager_that_is_not_there_is_no_trouble(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    tell(READY)
