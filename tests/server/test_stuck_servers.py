"""Pods whose servers take connections and get stuck: they leave the answers by their probes, no other does.

What a probe waits for is bounded by its `timeoutSeconds`, so a server that never answers, or never ends to,
fails.  Times are looked at generously, order exactly.
"""

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from toolbox.builders import headless, pod
from toolbox.calls import PODS, SERVICES, fqdn
from toolbox.running_server import RunningServer
from toolbox.stopping import stop
from toolbox.waiting import GUARD_SECONDS, wait_for

CHILD = "127.0.0.9"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
TIMES = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2}
WITHIN = 2 * 1 + 1 + 1
"""Seconds from a cause to the answer, by TIMES: two periods, a timeout, and one more."""
SLOW = 45.0
"""Seconds more, on a machine with other work."""


class Stuck(threading.Event):
    """A server on an address of its own that is well until this is set, then stuck in its way."""

    def __init__(self, way: Callable[[socket.socket], None], ip: str) -> None:
        super().__init__()
        self.way, self.ip = way, ip
        self.name = way.__name__.replace("_", "-")
        self.over = threading.Event()
        self.listener = socket.create_server((ip, 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        with one:
            try:
                if self.is_set():
                    self.way(one)
                else:
                    one.recv(4096)
                    one.sendall(OK)
            except OSError:
                return

    def close(self) -> None:
        self.over.set()
        self.listener.close()


def never_answers(one: socket.socket) -> None:
    while one.recv(4096):
        pass


def one_octet_a_second(one: socket.socket) -> None:
    for octet in itertools.cycle(OK):
        one.sendall(bytes([octet]))
        time.sleep(1.0)


def headers_without_end(one: socket.socket) -> None:
    one.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        one.sendall(b"a: b\r\n" * 100)


def body_without_end(one: socket.socket) -> None:
    one.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        one.sendall(b"x" * 65536)


HTTP = (never_answers, one_octet_a_second, headers_without_end, body_without_end)


def put(server: RunningServer, name: str, ip: str, **probe: object) -> None:
    container = {"name": "c", "image": "none", "readinessProbe": {**TIMES, **probe}}
    made = server.post(PODS, pod(name, ip, containers=[container]))
    assert made.status == 201, made.text


def answers(server: RunningServer) -> list[str]:
    return sorted(server.answers(fqdn("web")))


def why(server: RunningServer, name: str) -> str:
    conditions = server.get(f"{PODS}/{name}").json["status"]["conditions"]
    return next((one["message"] for one in conditions if one["type"] == "svcdns.io/Probe"), "")


@contextmanager
def child_server() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Give the port of a server that is a process of its own."""
    code = (
        "import http.server as h\n"
        f"s = h.HTTPServer(('{CHILD}', 0), h.SimpleHTTPRequestHandler)\n"
        "print(s.server_address[1], flush=True)\n"
        "s.serve_forever()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process
    finally:
        process.kill()
        process.wait(GUARD_SECONDS)


@pytest.fixture(autouse=True)
def no_pods(server: RunningServer) -> Iterator[None]:
    yield
    server.delete(PODS)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as made:
        assert made.post(SERVICES, headless("web")).status == 201
        yield made


def test_who_gets_stuck_leaves_in_time_and_comes_back(server: RunningServer) -> None:
    with ExitStack() as servers, child_server() as (stopped_port, stopped):
        stuck = [servers.enter_context(running(way, f"127.0.0.{n}")) for n, way in enumerate(HTTP, 2)]
        for one in stuck:
            more = (
                {"failureThreshold": 10} if one.way is body_without_end else {}
            )  # a slow machine is no failure
            put(server, one.name, one.ip, httpGet={"port": one.port}, **more)
        put(server, "stopped", CHILD, httpGet={"port": stopped_port})
        everyone = sorted([*(one.ip for one in stuck), CHILD])
        wait_for(lambda: answers(server) == everyone, "all to be well")
        *_, unharmed = stuck  # a body is not read
        before = server.get(f"{PODS}/{unharmed.name}").json["metadata"]["resourceVersion"]
        began = time.monotonic()
        for one in stuck:
            one.set()
        stop(stopped.pid)
        wait_for(lambda: answers(server) == [unharmed.ip], "those that are stuck to leave")
        assert time.monotonic() - began < WITHIN + SLOW
        for name in ("never-answers", "one-octet-a-second", "stopped"):
            assert "no answer within 1 s" in why(server, name), name
        after = server.get(f"{PODS}/{unharmed.name}").json["metadata"]["resourceVersion"]
        assert after == before, "others' waiting is not its own"
        for one in stuck:
            one.clear()
        os.kill(stopped.pid, signal.SIGCONT)
        began = time.monotonic()
        wait_for(lambda: answers(server) == everyone, "all to come back")
        assert time.monotonic() - began < WITHIN + SLOW


@contextmanager
def running(way: Callable[[socket.socket], None], ip: str) -> Iterator[Stuck]:
    made = Stuck(way, ip)
    try:
        yield made
    finally:
        made.close()


def test_who_never_finishes_to_greet_is_never_ready(server: RunningServer) -> None:
    with running(never_answers, "127.0.0.1") as silent:
        silent.set()
        put(server, "tls", silent.ip, httpGet={"port": silent.port, "scheme": "HTTPS"})
        put(server, "grpc", silent.ip, grpc={"port": silent.port})
        put(server, "tcp", silent.ip, tcpSocket={"port": silent.port})
        for name in ("tls", "grpc"):
            wait_for(lambda name=name: "no answer within 1 s" in why(server, name), f"the verdict on {name}")
        wait_for(lambda: answers(server) == [silent.ip], "the one that only has to accept")
        shown = {
            one["metadata"]["name"]: one["status"]["conditions"] for one in server.get(PODS).json["items"]
        }
        ready = {
            name
            for name, all_ in shown.items()
            for one in all_
            if one["type"] == "Ready" and one["status"] == "True"
        }
        assert ready == {"tcp"}
