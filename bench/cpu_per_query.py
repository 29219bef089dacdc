"""CPU time for each question on the plain path, beside Knot and the bare cost of a socket in Python.

    python bench/cpu_per_query.py [SECONDS [ROUNDS]]     needs dnsperf, knotd (ours alone without it)

One worker on core 0, dnsperf on core 1, as many questions as it can have answered.  Three kinds: A of
1,000 Services, random names that do not exist, a headless Service of 20 Pods.  Knot, with one UDP thread
on core 0, transfers the zone from the server under test, so both hold the same.  "svcdns, 2 workers" is a
second server with the same content, its workers on core 0 and 1; what both take is summed up.  "echo" is a
Python process that sends each datagram back with the QR bit set, with the same loop of recvfrom and sendto:
the floor for anything in Python.  The servers take turns; printed are medians of all rounds.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from measuring import (
    RunningServer,
    connected,
    cpu_seconds,
    family,
    fqdn,
    headless,
    make_question,
    pin,
    read_answer,
    register,
    services,
    table,
    wait_for,
)

SERVICES, PODS = 1_000, 20
SERVER_CORE, CLIENT_CORE = 0, 1
QUESTIONS = 100_000
SUMMARY_OCTETS = 4096
"""The end of what dnsperf prints, with its figures, is shorter."""
CONFIG = '[dns]\ntransfer_to = ["127.0.0.0/8"]\n'

Place = tuple[str, int]


@dataclass(frozen=True)
class Server:
    """One that is measured."""

    name: str
    pids: tuple[int, ...]
    where: Place

    def cpu_seconds(self) -> tuple[float, float]:
        """Return the CPU time that its processes have taken, (user, system)."""
        processes = [one for pid in self.pids for one in family(pid)]
        user, system = zip(*map(cpu_seconds, processes), strict=True)
        return sum(user), sum(system)


def question_files(folder: Path) -> dict[str, Path]:
    """Write dnsperf's input for each kind of question."""
    dice = random.Random(1)
    names = {
        f"A of {SERVICES:,} Services": [fqdn(f"svc-{dice.randrange(SERVICES)}") for _ in range(QUESTIONS)],
        "NXDOMAIN, random names": [fqdn(dice.randbytes(6).hex()) for _ in range(QUESTIONS)],
        f"headless, {PODS} A": [fqdn("db")],
    }
    files = {}
    for number, (kind, some) in enumerate(names.items()):
        files[kind] = folder / f"questions-{number}"
        files[kind].write_text("".join(f"{name} A\n" for name in some))
    return files


def measure(
    server: Server, questions: Path, seconds: float, options: Sequence[str] = ()
) -> tuple[float, float, float]:
    """Return microseconds of CPU a question, (user, system), and questions a second; `options`: dnsperf's."""
    before = server.cpu_seconds()
    done, rate = load(server, questions, seconds, options)
    user, system = (new - old for new, old in zip(server.cpu_seconds(), before, strict=True))
    return user / done * 1e6, system / done * 1e6, rate


def load(
    server: Server,
    questions: Path,
    seconds: float | None,
    options: Sequence[str] = (),
    cores: str = str(CLIENT_CORE),
    output: Path | None = None,
) -> tuple[int, float]:
    """Have dnsperf ask for so long (None: each question once) on these cores, as taskset wants them.

    Return how many questions were answered, and how many a second; `output` keeps what it printed.
    """
    limits = [
        "-c",
        "8",
        "-q",
        "200",
        "-t",
        "1",
        *(("-n", "1") if seconds is None else ("-l", str(seconds))),
        *options,
    ]
    command = ["dnsperf", "-s", server.where[0], "-p", str(server.where[1]), "-d", str(questions), *limits]
    with tempfile.TemporaryFile("w+") if output is None else output.open("w+") as file:
        subprocess.run(["taskset", "-c", cores, *command], check=True, stdout=file, stderr=subprocess.PIPE)
        file.seek(max(0, file.seek(0, os.SEEK_END) - SUMMARY_OCTETS))
        said = file.read()
    lost = int(_number(r"Queries lost:\s+(\d+)", said))
    if lost:
        print(f"{server.name}: {lost} lost", file=sys.stderr)
    done = int(_number(r"Queries completed:\s+(\d+)", said))
    return done, float(_number(r"Queries per second:\s+([\d.]+)", said))


def _number(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, text
    return found[1]


@contextlib.contextmanager
def ours(name: str, workers: int) -> Iterator[Server]:
    """Run svcdns with so many workers, each on a core of its own."""
    with RunningServer(workers=workers, config=CONFIG) as running:
        register(running.api, [*services(SERVICES), *headless("db", PODS)])
        for number, pid in enumerate(running.worker_pids):
            pin(pid, SERVER_CORE + number)
        pin(running.writer_pid, CLIENT_CORE)
        yield Server(name, tuple(running.worker_pids), running.dns)


@contextlib.contextmanager
def knot(folder: Path, primary: Place) -> Iterator[Server | None]:
    """Run knotd as a secondary of the server under test; None where it is not installed."""
    program = shutil.which("knotd", path="/usr/sbin:/usr/bin:/sbin:/usr/local/sbin")
    if program is None:
        yield None
        return
    port = free_port()
    (folder / "knot.conf").write_text(
        f"server:\n  listen: 127.0.0.1@{port}\n  rundir: {folder}\n"
        f"  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
        f"database:\n  storage: {folder}\nlog:\n  - target: stdout\n    any: warning\n"
        f"remote:\n  - id: primary\n    address: {primary[0]}@{primary[1]}\n"
        f"zone:\n  - domain: cluster.local\n    master: primary\n"
        f"    storage: {folder}\n    journal-content: none\n"
    )
    process = subprocess.Popen(["taskset", "-c", str(SERVER_CORE), program, "-c", str(folder / "knot.conf")])
    server = Server("Knot", (process.pid,), ("127.0.0.1", port))
    try:
        wait_for(lambda: answers_to("db", server.where) == PODS, "Knot to have the zone")
        yield server
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """Return a port that is free for UDP and TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            port = int(udp.getsockname()[1])
            with contextlib.suppress(OSError):
                tcp.bind(("127.0.0.1", port))
                return port


def answers_to(service: str, where: Place) -> int:
    """Return how many addresses a server has for a Service, -1 while it does not answer."""
    question = make_question(fqdn(service))
    with connected(where) as sock:
        sock.settimeout(0.5)
        try:
            sock.send(question)
            answer = read_answer(question, sock.recv(4096))
        except (OSError, AssertionError):
            return -1
    return len(answer.data)


@contextlib.contextmanager
def echo() -> Iterator[Server]:
    """Run this file as the echo server."""
    process = subprocess.Popen([sys.executable, __file__, "echo"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    pin(process.pid, SERVER_CORE)
    try:
        yield Server("echo in Python", (process.pid,), ("127.0.0.1", port))
    finally:
        process.kill()
        process.wait()


def echo_forever() -> None:
    """Send every datagram back as a reply, up to 64 a turn."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    print(sock.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(sock, select.EPOLLIN)
    while True:
        poll.poll()
        batch = []
        try:
            for _ in range(64):
                batch.append(sock.recvfrom(4096))
        except BlockingIOError:
            pass
        for packet, client in batch:
            sock.sendto(packet[:2] + b"\x81" + packet[3:], client)


def main(seconds: float = 4.0, rounds: int = 5) -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory() as name, ours("svcdns", 1) as one, ours("svcdns, 2 workers", 2) as two:
        folder = Path(name)
        files = question_files(folder)
        with knot(folder, one.where) as other, echo() as floor:
            servers = [server for server in (one, two, other, floor) if server is not None]
            found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
            for _ in range(rounds):
                for kind, questions in files.items():
                    for server in servers:
                        measured = measure(server, questions, seconds)
                        found.setdefault((kind, server.name), []).append(measured)
                        time.sleep(0.1)
    print_table(found, seconds, rounds)


def print_table(
    found: dict[tuple[str, str], list[tuple[float, float, float]]], seconds: float, rounds: int
) -> None:
    """Print medians, and each server's ratio to Knot in the same run."""
    print(f"microseconds of CPU a question, medians of {rounds} rounds of {seconds:g} s")
    rows = []
    for (kind, name), measured in found.items():
        total = statistics.median(user + system for user, system, _ in measured)
        user = statistics.median(user for user, _, _ in measured)
        rate = statistics.median(rate for _, _, rate in measured)
        reference = found.get((kind, "Knot"))
        ratio = ""
        if reference:
            ratio = f"{total / statistics.median(a + b for a, b, _ in reference):.2f}"
        low = min(a + b for a, b, _ in measured)
        rows.append((kind, name, f"{total:.2f}", f"{low:.2f}", f"{user:.2f}", ratio, f"{rate:,.0f}"))
    table(("question", "server", "CPU us", "least", "of it user", "to Knot", "a second"), rows)


if __name__ == "__main__":
    if sys.argv[1:] == ["echo"]:
        echo_forever()
    arguments = [float(argument) for argument in sys.argv[1:]]
    main(*arguments[:1], *map(int, arguments[1:]))
