"""Registrations a second over the real API, and whether every worker answers right after each 2xx.

    python bench/registrations.py [REGISTRATIONS]      needs dnsperf for the rows with questions beside
    python bench/registrations.py REGISTRATIONS pods   Pods of one headless Service instead, by 32 clients

Each client has one connection and sends the next POST when the last was answered.  "checked" asks every
worker for the name as soon as the 201 has been read, and counts answers without the new address as
stale.  "questions beside": dnsperf asks as fast as it is answered meanwhile.  The clients run in one
process with one epoll loop, so that they cost little next to the server.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

from measuring import (
    PODS,
    SERVICES,
    Pace,
    RunningServer,
    Witness,
    cpu_seconds,
    fqdn,
    make_question,
    pod,
    request,
    service,
    table,
)
from promises.query_load import query_load

WORKERS = 2
PACE = 1_000
"""Questions a second of the client whose answers are timed."""
PACED_SECONDS, TURNS, PIECE = 2.0, 5, 500
_CLUSTER_IP = re.compile(rb'"clusterIP":"([0-9.]+)"')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Count:
    """What all clients have done."""

    left: int
    done: int = 0
    checks: int = 0
    stale: int = 0
    took: list[float] = field(default_factory=list)
    """Seconds from each request to the end of its reply."""


Turns = Iterator[socket.socket]
"""A client: yields the socket that it waits for."""


def connection(address: tuple[str, int]) -> socket.socket:
    """Return one that sends at once."""
    made = socket.create_connection(address)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def exchange(api: socket.socket, octets: bytes) -> Generator[socket.socket, None, bytes]:
    """Send a request, and return the reply."""
    api.send(octets)
    reply = b""
    while not is_whole(reply):
        yield api
        reply += api.recv(1 << 16)
    return reply


def a_service(name: str) -> bytes:
    """Return the request that registers a Service."""
    return request("POST", SERVICES, service(name))


def a_pod(name: str) -> bytes:
    """Return the request that registers a ready Pod; its address follows from its number."""
    number = int(name.rpartition("-")[2])
    return request("POST", PODS, pod(name, f"10.1.{number >> 8}.{number & 255}", ready=True))


def client(
    address: tuple[str, int],
    witness: Witness | None,
    names: Iterator[str],
    count: Count,
    made: Callable[[str], bytes] = a_service,
) -> Turns:
    """Register until none is left to do."""
    api = connection(address)
    while count.left > 0:
        count.left -= 1
        name = next(names)
        octets, began = made(name), time.perf_counter()
        reply = yield from exchange(api, octets)
        assert reply.startswith(b"HTTP/1.1 201"), reply
        count.took.append(time.perf_counter() - began)
        count.done += 1
        if witness is not None:
            yield from check(witness, name, reply, count)
    api.close()


def is_whole(reply: bytes) -> bool:
    """Say whether an HTTP reply has all of its body."""
    head, found, body = reply.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return bool(found) and length is not None and len(body) >= int(length[1])


def check(witness: Witness, name: str, reply: bytes, count: Count) -> Turns:
    """Ask every worker for the name and compare with the address in the API's reply."""
    found = _CLUSTER_IP.search(reply)
    assert found
    question, expected = make_question(fqdn(name)), socket.inet_aton(found[1].decode())
    for sock in witness.sockets.values():
        sock.send(question)
    for sock in witness.sockets.values():
        yield sock
        answer = sock.recv(4096)
        count.checks += 1
        count.stale += not (answer[7] == 1 and answer.endswith(expected))


def run_all(clients: list[Turns]) -> None:
    """Give each client its turn when its socket has something."""
    poll = select.epoll()
    waiting: dict[int, Turns] = {}
    known: set[int] = set()

    def step(one: Turns) -> None:
        for sock in one:
            number = sock.fileno()
            waiting[number] = one
            arm = poll.modify if number in known else poll.register
            arm(number, select.EPOLLIN | select.EPOLLONESHOT)  # silent until somebody waits for it again
            known.add(number)
            return

    for one in clients:
        step(one)
    while waiting:
        for number, _ in poll.poll():
            step(waiting.pop(number))


def measure(
    server: RunningServer,
    clients: int,
    registrations: int,
    *,
    checked: bool,
    busy: bool,
    prefix: str = "",
    made: Callable[[str], bytes] = a_service,
) -> list[object]:
    """Return a row of the table."""
    count = Count(registrations)
    prefix = prefix or f"r{clients}{'c' if checked else ''}{'b' if busy else ''}"
    names = (f"{prefix}-{number}" for number in itertools.count())
    host, _, port = server.api.removeprefix("http://").rpartition(":")
    load = query_load(server.dns, [fqdn("busy"), fqdn("nobody")]) if busy else contextlib.nullcontext()
    with contextlib.ExitStack() as stack:
        witnesses = [
            stack.enter_context(Witness(server.dns, WORKERS)) if checked else None for _ in range(clients)
        ]
        stack.enter_context(load)
        writer = sum(cpu_seconds(server.writer_pid))
        began, own = time.perf_counter(), time.process_time()
        run_all([client((host, int(port)), witness, names, count, made) for witness in witnesses])
        seconds, own = time.perf_counter() - began, time.process_time() - own
        writer = sum(cpu_seconds(server.writer_pid)) - writer
    return [
        f"{clients} client{'s' if clients > 1 else ''}{', checked' if checked else ''}"
        f"{', questions beside' if busy else ''}",
        f"{count.done / seconds:,.0f}",
        *(f"{statistics.quantiles(count.took, n=100)[cut] * 1e3:.1f}" for cut in (49, 98)),
        f"{writer / count.done * 1e6:.0f}",
        f"{own / count.done * 1e6:.0f}",
        count.checks or "",
        count.stale if checked else "",
    ]


def paced(server: RunningServer) -> tuple[list[float], list[float]]:
    """Ask at an even pace while nothing is written and while 32 clients register, in turns.

    Return the 99th percentiles of the answers' times, in microseconds.
    """
    pace = Pace(server.dns, fqdn("busy"), PACE)
    idle, loaded = [], []
    for turn in range(TURNS):
        idle.append(pace.measure(PACED_SECONDS)["p99"])
        pace.begin(PACED_SECONDS)
        until, piece = time.monotonic() + PACED_SECONDS, 0
        while time.monotonic() < until:
            measure(server, 32, PIECE, checked=False, busy=False, prefix=f"p{turn}x{piece}")
            piece += 1
        loaded.append(pace.measured()["p99"])
    pace.close()
    return idle, loaded


COLUMNS = (
    "",
    "a second",
    "p50 ms",
    "p99 ms",
    "writer CPU us each",
    "client CPU us each",
    "answers checked",
    "stale",
)


def pods_of_one_service(registrations: int) -> None:
    """Print the row of Pods that one headless Service takes in."""
    with RunningServer(workers=WORKERS) as server:
        server.post(SERVICES, service("web", clusterIP="None"))
        table(COLUMNS, [measure(server, 32, registrations, checked=False, busy=False, made=a_pod)])


def main(registrations: int = 4_000) -> None:
    """Print the table."""
    cases = [(1, False, False), (16, False, False), (32, False, False)]
    cases += [(1, True, False), (16, True, False), (32, True, False), (16, True, True)]
    rows: list[list[object]] = []
    with RunningServer(workers=WORKERS) as server:
        server.post(SERVICES, service("busy"))
        idle, loaded = paced(server)
        for clients, checked, busy in cases:
            share = registrations // 4 if clients == 1 else registrations
            rows.append(measure(server, clients, share, checked=checked, busy=busy))
    table(COLUMNS, rows)
    print(f"p99 of {PACE:,} answers a second: {statistics.median(idle):.0f} us while nothing is written")
    print(f"and {statistics.median(loaded):.0f} us while 32 clients register (medians of {TURNS} turns)")


if __name__ == "__main__":
    if sys.argv[2:] == ["pods"]:
        pods_of_one_service(int(sys.argv[1]))
    else:
        main(*map(int, sys.argv[1:]))
