"""The relay beside a direct connection and beside HAProxy, in one run: ratios.

    python bench/relay.py [ROUNDS [CONNECTIONS [MEBIBYTES]]]       needs haproxy

All on loopback.  The server is one process (core 0), whoever carries is another (core 0), the client is
this one (core 1).  In turns, ROUNDS times: CONNECTIONS times connect, one request of 100 octets, one answer,
close; then MEBIBYTES of one stream from the server.  CPU time is that of all three processes.
HAProxy runs with one thread, `mode tcp` and `option splice-auto`.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from measuring import cpu_seconds, pin, table, wait_for

from svcdns.cluster.traffic_plan import TCP, Destination, Endpoint, Frontend, Host, Rule
from svcdns.proxy.relay import Relay

LOOPBACK = bytes((127, 0, 0, 1))
QUESTION = b"q" * 100
STREAM = b"s" * 100
CHUNK = bytes(1 << 20)
HAPROXY = """
global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  option splice-auto
listen all
  bind 127.0.0.1:{port}
  server one 127.0.0.1:{server}
"""
Port = int


def free_port() -> Port:
    """Return one that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(ready: multiprocessing.Queue[Port], mebibytes: int, host: str = "127.0.0.1") -> None:
    """Answer a question by itself, and `STREAM` by many octets; until ended."""
    listening = socket.create_server((host, 0), backlog=1024)
    ready.put(listening.getsockname()[1])
    while True:
        one, _ = listening.accept()
        with one:
            asked = one.recv(100)
            if asked == QUESTION:
                one.sendall(QUESTION)
            elif asked:
                for _ in range(mebibytes):
                    one.sendall(CHUNK)


def relay(ready: multiprocessing.Queue[Port], server: Port) -> None:
    """Carry by our own relay, until ended."""
    port = free_port()
    to = Destination((Endpoint(LOOPBACK, server),))
    carrying = Relay()
    carrying.replace({Frontend(4, LOOPBACK, TCP, port): Rule("bench/all", to, to)}, Host())
    ready.put(port)
    time.sleep(86_400)


@contextmanager
def haproxy(server: Port) -> Iterator[tuple[Port, int]]:
    """Carry by HAProxy; yield its port and pid."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = Path(folder, "haproxy.cfg")
        config.write_text(HAPROXY.format(port=port, server=server))
        running = subprocess.Popen(["haproxy", "-db", "-f", config], stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: _takes(port), "haproxy to listen")
            yield port, running.pid
        finally:
            running.kill()
            running.wait()


def _takes(port: Port) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def started(work: Callable[..., None], *arguments: object) -> Iterator[tuple[Port, int]]:
    """Run a process that says its port; yield that and its pid."""
    ready: multiprocessing.Queue[Port] = multiprocessing.Queue()
    process = multiprocessing.Process(target=work, args=(ready, *arguments), daemon=True)
    process.start()
    try:
        yield ready.get(timeout=60), process.pid or 0
    finally:
        process.kill()
        process.join()


def connections(port: Port, count: int, host: str = "127.0.0.1") -> list[float]:
    """Return the seconds of each connection with its request."""
    took = []
    for _ in range(count):
        before = time.perf_counter()
        with socket.socket() as one:
            one.connect((host, port))
            one.sendall(QUESTION)
            while one.recv(1000):
                pass
        took.append(time.perf_counter() - before)
    return took


def stream(port: Port, host: str = "127.0.0.1") -> None:
    """Read a stream to its end."""
    buffer = bytearray(1 << 20)
    with socket.socket() as one:
        one.connect((host, port))
        one.sendall(STREAM)
        while one.recv_into(buffer):
            pass


def spent(pids: list[int]) -> float:
    """Return the CPU seconds of processes and of this one."""
    return sum(sum(cpu_seconds(pid)) for pid in pids) + time.process_time()


def main(rounds: int = 5, count: int = 3000, mebibytes: int = 2048) -> None:
    """Measure in turns and print the ratios."""
    with ExitStack() as running:
        server, server_pid = running.enter_context(started(serve, mebibytes))
        ours, ours_pid = running.enter_context(started(relay, server))
        theirs, theirs_pid = running.enter_context(haproxy(server))
        os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
        for pid in (server_pid, ours_pid, theirs_pid):
            pin(pid, 0)
        ways = {
            "direct": (server, [server_pid]),
            "relay": (ours, [server_pid, ours_pid]),
            "haproxy": (theirs, [server_pid, theirs_pid]),
        }
        seen: dict[str, dict[str, list[float]]] = {
            way: {"p50": [], "p99": [], "cpu": [], "gib": []} for way in ways
        }
        for _ in range(rounds):
            for way, (port, pids) in ways.items():
                before = spent(pids)
                took = sorted(connections(port, count))
                middle = spent(pids)
                stream(port)
                seen[way]["p50"].append(took[count // 2])
                seen[way]["p99"].append(took[count * 99 // 100])
                seen[way]["cpu"].append((middle - before) / count)
                seen[way]["gib"].append((spent(pids) - middle) * 1024 / mebibytes)
        memory = {way: _resident(pids[-1]) for way, (_, pids) in ways.items()}
    _print(seen, memory)


def _resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def _print(seen: dict[str, dict[str, list[float]]], memory: dict[str, int]) -> None:
    rows = []
    for way, measured in seen.items():
        pairs = [zip(measured[what], seen["direct"][what], strict=True) for what in measured]
        ratios = [statistics.median(one / direct for one, direct in pair) for pair in pairs]
        rows.append((way, *(f"x{ratio:.2f}" for ratio in ratios), f"{memory[way]} MiB"))
    table(("", "connect+request p50", "p99", "CPU/connection", "CPU/GiB", "resident"), rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
