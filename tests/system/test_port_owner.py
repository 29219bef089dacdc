"""Who has a port, as /proc shows it."""

import socket
import subprocess
import sys

import pytest

from svcdns.system.port_owner import program_at

HOLD = """
import socket, sys
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
held = socket.socket(socket.AF_INET6 if sys.argv[2] == "6" else socket.AF_INET, kind)
held.bind(("::1" if sys.argv[2] == "6" else "127.0.0.1", 0))
if sys.argv[1] == "tcp":
    held.listen()
print(held.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_another_program_is_named(protocol: str, family: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, protocol, family],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        assert program_at(protocol, port).endswith(f" (process {holder.pid})")
        holder.communicate("")
    assert f"(process {holder.pid})" not in program_at(protocol, port), "somebody else may have it by now"


def test_our_own_sockets_and_connections_are_nobody_elses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        assert program_at("tcp", ours.getsockname()[1]) == ""
