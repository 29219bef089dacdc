"""Processes that are exchanged one after the other, while clients resolve and connect all the time."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from toolbox.running_server import SOURCE, RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

SRV = "_tcp._tcp.web.default.svc.cluster.local"
ECHO = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128) as server:
    while True:
        client, _ = server.accept()
        client.sendall(b"here")
        client.close()
"""


class Clients:
    """Threads that ask where the Service is and connect there, for as long as they are told to."""

    def __init__(self, server: RunningServer, many: int) -> None:
        self._server = server
        self.served = 0
        self.failed: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._connect) for _ in range(many)]

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(GUARD_SECONDS)

    def _connect(self) -> None:
        while not self._stop.is_set():
            found = self._server.answers(SRV, "SRV")
            if not found:
                self.failed.append("no answer")
                continue
            try:
                with socket.create_connection(("127.0.0.1", int(found[0].split()[2])), GUARD_SECONDS) as one:
                    assert one.recv(16) == b"here"
                self.served += 1
            except (OSError, AssertionError) as wrong:
                self.failed.append(f"{found[0]}: {wrong}")


def free_port() -> int:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def started(server: RunningServer, number: int) -> subprocess.Popen[bytes]:
    """Start a process that registers itself, probed so that it is answered when it accepts connections."""
    port = str(free_port())
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("SVCDNS_")}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "svcdns", "register", "--api", server.api, "--service", "web"),
            *("--name", f"web-{number}", "--port", f"tcp={port}", "--probe", "tcp", "--drain", "5"),
            *("--", sys.executable, "-c", ECHO, port),
        ],
        stderr=subprocess.DEVNULL,
        env={**inherited, "PYTHONPATH": str(SOURCE)},
    )


def how_many(server: RunningServer) -> int:
    return len(server.answers(SRV, "SRV"))


@pytest.mark.parametrize("many", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_no_connection_fails_while_all_are_exchanged(many: int) -> None:
    with RunningServer(workers=1) as server:
        running = [started(server, number) for number in range(many)]
        try:
            wait_for(lambda: how_many(server) == many, "all of them")
            clients = Clients(server, 2)
            with clients.running():
                for number, old in enumerate(list(running)):
                    running.append(started(server, many + number))
                    wait_for(lambda: how_many(server) == many + 1, "the next one")
                    old.send_signal(signal.SIGTERM)
                    assert old.wait(GUARD_SECONDS) == 128 + signal.SIGTERM
            assert clients.failed == []
            assert clients.served > many
        finally:
            for one in running:
                if one.poll() is None:
                    one.terminate()
            for one in running:
                one.wait(GUARD_SECONDS)
