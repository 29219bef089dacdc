"""What a question costs two workers, beside one, where nothing that asks can be the limit.

"waiting": each worker (thread, process) has a core.  They are stopped, questions are put into the buffers of
their sockets, and they go on while the client sleeps: until all is answered they do nothing else, and
nobody else runs.  Two that take as long for a question as one alone answer twice as many a second.

"one core": all workers on core 0, dnsperf on core 1, as many questions as are answered.  What more than one
costs here is what workers pay for being two: smaller batches, switches from one to the other.

A server with one worker and one with two take turns; the floor (echo_floor.c) shows what of it is the
machine's, whose two cores may be two threads of one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cpu_per_query import SERVER_CORE, load
from documents import Found, markdown, note, ratio
from measuring import connected, fqdn, make_question, pin
from mixes import SERVICES
from peer_servers import Peer, floor, ours
from rates import spent

CLIENTS = 64
"""Sockets that ask: the kernel chooses a worker by a client's port."""
WAITING = 3_000
"""Questions for each worker: what a socket's buffer of 4 MiB takes."""
TIMES = 20
"""How often in a round."""
_NOTHING_DONE_SECONDS = 0.01
WAYS = ("waiting", "one core")


def measure(folder: Path, questions: Path, seconds: float, rounds: int) -> str:
    """Return the table in Markdown; `questions` is dnsperf's input, `seconds` how long it asks."""
    found: Found = {}
    with both(folder) as pairs:
        for _ in range(rounds):
            for pair in pairs:
                for workers, peer in enumerate(pair, 1):
                    note(found, f"waiting {workers}", peer.server.name, waiting(peer, workers))
                for workers, peer in enumerate(pair, 1):
                    note(
                        found, f"one core {workers}", peer.server.name, on_one_core(peer, questions, seconds)
                    )
        names = [one.server.name for one, _ in pairs]
    return table(found, names)


@contextlib.contextmanager
def both(folder: Path) -> Iterator[list[tuple[Peer, Peer]]]:
    """Run svcdns and the floor, with one worker and with two."""
    with contextlib.ExitStack() as stack:
        zones = folder / "zones"
        zones.mkdir()
        one, two = (stack.enter_context(ours(zones, workers, {"svcdns": {}}))[0] for workers in (1, 2))
        bare = [stack.enter_context(floor(folder, workers)) for workers in (1, 2)]
        pairs = [(one, two)]
        if bare[0] is not None and bare[1] is not None:
            pairs.append((bare[0], bare[1]))
        yield pairs


def waiting(peer: Peer, workers: int) -> float:
    """Return the CPU time, in microseconds, of a question that waits, each worker on a core of its own."""
    for number, pid in enumerate(peer.server.pids):
        pin(pid, SERVER_CORE + number)
    questions = [make_question(fqdn(f"svc-{number % SERVICES}"), 1) for number in range(WAITING * workers)]
    took = answered = 0.0
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(peer.server.where)) for _ in range(CLIENTS)]
        for _ in range(TIMES):
            with stopped(peer.server.pids):
                for number, question in enumerate(questions):
                    clients[number % CLIENTS].send(question)
                before = spent(peer)
            took += spent_at_rest(peer) - before
            answered += sum(map(replies, clients))
    return took / answered * 1e6


@contextlib.contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Stop processes until the block ends."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def spent_at_rest(peer: Peer) -> float:
    """Return what `spent` says as soon as it says the same again."""
    last = -1.0
    while (now := spent(peer)) != last:
        last = now
        time.sleep(_NOTHING_DONE_SECONDS)
    return last


def replies(client: socket.socket) -> int:
    """Return how many replies a client has, and take them."""
    client.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while client.recv(4096):
            count += 1
    return count


def on_one_core(peer: Peer, questions: Path, seconds: float) -> float:
    """Return the CPU time, in microseconds, of a question with all workers on one core."""
    for pid in peer.server.pids:
        pin(pid, SERVER_CORE)
    before = spent(peer)
    done, _ = load(peer.server, questions, seconds)
    return (spent(peer) - before) / done * 1e6


def table(found: Found, names: Sequence[str]) -> str:
    """Return the table in Markdown: microseconds, and ratios of the same rounds."""
    rows = []
    for name in names:
        cells = []
        for way in WAYS:
            one, two = found[f"{way} 1", name], found[f"{way} 2", name]
            cells += [f"{sorted(values)[len(values) // 2]:.2f}" for values in (one, two)] + [ratio(two, one)]
        faster = 2 / float(cells[2])
        rows.append([name, *cells[:3], f"{faster:.2f}", *cells[3:]])
    head = ["server", "waiting, one worker", "two, a core each", "ratio", "so many times its rate"]
    return markdown([*head, "one core, one worker", "two", "ratio"], rows)
