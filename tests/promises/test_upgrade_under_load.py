"""An upgrade loses no question: dnsperf asks over UDP and TCP, for own names and others', through several.

Writes go on meanwhile, and what was acknowledged is there in the end.  Where workers are killed between the
upgrades, each takes with it what it has in hand, which no upgrade can give back: one batch at most.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dns.message import from_wire, make_query
from toolbox.calls import SERVICES, Broken, Calls, fqdn
from toolbox.running_server import SOURCE, RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.dns.udp import BATCH

WORKERS = 2
UPGRADES, SOAK_UPGRADES = 3, 20
RATE, SOAK_RATE = 1_000, 20_000
OUTSIDE_RATE = 100
AHEAD = ("nice", "-n", "-15")
"""Before a command: what it runs goes ahead of others, or without that right runs as it is."""
PATIENCE_SECONDS = 30
"""Of dnsperf, for an answer: what is late on a busy machine is not lost."""


@contextlib.contextmanager
def dnsperf(need: Callable[..., str], where: tuple[str, int], file: Path, *more: str) -> Iterator[list[str]]:
    """Ask the questions of a file while the body runs; the list has dnsperf's report afterwards."""
    program, report = need("dnsperf"), []
    fixed = ["-s", where[0], "-p", str(where[1]), "-d", str(file), "-l", "3600", "-t", str(PATIENCE_SECONDS)]
    with subprocess.Popen([program, *fixed, *more], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield report
        finally:
            process.send_signal(signal.SIGINT)
            report += process.communicate(timeout=2 * GUARD_SECONDS)[0].splitlines()


def sent_and_completed(report: list[str]) -> tuple[int, int]:
    """Return how many questions were asked, and how many were answered."""
    found = [re.search(rf"Queries {word}:\s+(\d+)", "\n".join(report)) for word in ("sent", "completed")]
    sent, completed = (int(one[1]) if one else 0 for one in found)
    assert sent > 0, report
    return sent, completed


def lost(report: list[str]) -> int:
    """Return how many questions were not answered."""
    text = "\n".join(report)
    sent, completed = sent_and_completed(report)
    assert not re.search(r"SERVFAIL", text), text
    interrupted = re.search(r"Queries interrupted:\s+(\d+)", text)  # on their way when we ended it
    return sent - completed - int(interrupted[1] if interrupted else 0)


@contextlib.contextmanager
def upstream() -> Iterator[str]:
    """Run one that answers every question, ahead of others as the server is; give its address."""
    program = (*AHEAD, sys.executable, str(Path(__file__).with_name("answering_upstream.py")))
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


class Writing(threading.Thread):
    """Creates Services one after the other, each over a new connection; none of these may break."""

    def __init__(self, server: RunningServer, name: str) -> None:
        super().__init__(name=name)
        self.acknowledged = 0
        self.broken: list[str] = []
        self.longest = 0.0
        self._api = server.api
        self._ends = threading.Event()

    def run(self) -> None:
        last = time.monotonic()
        number = 0
        while not self._ends.wait(0.02):
            number += 1
            calls = Calls(self._api)
            try:
                calls.create_service(f"{self.name}-{number}", clusterIP="None")
            except Broken as broken:
                self.broken.append(repr(broken))
                continue
            calls.close()
            self.acknowledged += 1
            self.longest = max(self.longest, time.monotonic() - last)
            last = time.monotonic()

    def end(self) -> None:
        self._ends.set()
        self.join()


def is_ahead(server: RunningServer) -> bool:
    """Say whether a server was allowed to go ahead of others."""
    assert server.process is not None
    return os.getpriority(os.PRIO_PROCESS, server.process.pid) < 0


def upgrade(server: RunningServer) -> None:
    command = [sys.executable, "-m", "svcdns", "upgrade", "--data", str(server.data)]
    environ = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=3 * GUARD_SECONDS)
    assert done.returncode == 0, (done.stdout, done.stderr, server.log())


def ask_through(
    tmp_path: Path, need: Callable[..., str], upgrades: int, rate: int, *, kills: int = 0
) -> None:
    """Upgrade so many times under load, and find nothing lost.

    A forwarder steps back for others: on a machine that is full of tests it shows no life for a second now
    and then, or an upstream answers late, and what is asked then is refused, upgrade or not.  So the server
    and its upstream go ahead of the tests.  Where they may not, only own names are asked for: no lack of CPU
    loses one of these.
    """
    own, outside = tmp_path / "own", tmp_path / "outside"
    own.write_text("".join(f"{fqdn(f'own{number}')} A\n" for number in range(20)))
    outside.write_text("".join(f"host{number}.example A\n" for number in range(20)))
    with (
        upstream() as address,
        RunningServer(
            workers=WORKERS,
            config=f'[forward]\nupstreams = ["{address}"]\n',
            command=(*AHEAD, sys.executable, "-m", "svcdns"),
        ) as server,
    ):
        calls = Calls(server.api)
        for number in range(20):
            calls.create_service(f"own{number}")
        writing = [Writing(server, name) for name in ("one", "two", "three", "four")]
        with (
            dnsperf(need, server.dns, own, "-c", "8", "-Q", str(rate)) as over_udp,
            dnsperf(need, server.dns, own, "-m", "tcp", "-c", "4", "-Q", str(rate // 2)) as over_tcp,
            contextlib.ExitStack() as more,
        ):
            reports = [("UDP", over_udp), ("TCP", over_tcp)]
            if is_ahead(server):
                asking = dnsperf(need, server.dns, outside, "-c", "4", "-Q", str(OUTSIDE_RATE))
                reports.append(("others' names", more.enter_context(asking)))
            for thread in writing:
                thread.start()
            for number in range(upgrades):
                upgrade(server)
                if number < kills:
                    os.kill(server.worker_pids[number % WORKERS], signal.SIGKILL)
                    wait_for(server.counters().ready, "another worker")
            for thread in writing:
                thread.end()
        longest = max(thread.longest for thread in writing)
        print(f"{upgrades} upgrades, {kills} workers killed; longest pause of the API {longest:.2f} s")
        for what, report in reports:
            print(f"{what}: {sent_and_completed(report)[0]} questions, {lost(report)} lost")
            assert lost(report) <= kills * BATCH, report
        acknowledged = [thread.acknowledged for thread in writing]
        assert len(Calls(server.api).done("GET", SERVICES)["items"]) == 20 + sum(acknowledged)
        assert min(acknowledged) > upgrades
        assert not any(thread.broken for thread in writing), [thread.broken for thread in writing]
        assert "Traceback" not in server.log()


def test_an_upgrade_loses_no_question(tmp_path: Path, need: Callable[..., str]) -> None:
    ask_through(tmp_path, need, UPGRADES, RATE)


def test_workers_that_are_killed_between_upgrades_lose_what_they_have_in_hand(
    tmp_path: Path, need: Callable[..., str]
) -> None:
    ask_through(tmp_path, need, UPGRADES, RATE, kills=UPGRADES)


def test_a_tcp_connection_outlives_an_upgrade(tmp_path: Path) -> None:
    """Also in the middle of a question."""
    with RunningServer(workers=1) as server:
        Calls(server.api).create_service("web")
        question = make_query(fqdn("web"), "A").to_wire()
        message = len(question).to_bytes(2) + question
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(socket.create_connection(server.dns, 2 * GUARD_SECONDS))
                for _ in range(20)
            ]
            for at, client in enumerate(clients):
                client.sendall(message[: at * 2])
            upgrading = threading.Thread(target=upgrade, args=(server,))
            upgrading.start()
            while upgrading.is_alive():  # a connection that asks nothing for 10 s is closed
                for at, client in enumerate(clients):
                    client.sendall(message[at * 2 :])
                    assert len(from_wire(read_message(client)).answer) == 1
                    client.sendall(message[: at * 2])
                time.sleep(0.1)
            assert "svcdns upgraded" in server.log()


def read_message(client: socket.socket) -> bytes:
    size = int.from_bytes(read_exactly(client, 2))
    return read_exactly(client, size)


def read_exactly(client: socket.socket, size: int) -> bytes:
    octets = b""
    while len(octets) < size:
        more = client.recv(size - len(octets))
        assert more, "the connection was closed"
        octets += more
    return octets


@pytest.mark.soak
def test_twenty_upgrades_lose_no_question(tmp_path: Path, need: Callable[..., str]) -> None:
    ask_through(tmp_path, need, SOAK_UPGRADES, SOAK_RATE)
