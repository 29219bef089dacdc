"""Stands in for a writer and for DNS workers: says who it is to every datagram, and dies when told to.

b"crash" ends it with code 1, b"fatal" with the exit code that is never tried again,
b"deaf" makes it ignore SIGTERM; all else is answered "ROLE PID" (and sets the first counter).
Files in the data folder change what it does: with "slow-writer" the writer ends only once there is "go",
with "never-ready" (which holds "writer" or "worker") such a child is never ready, nor does it answer.

In an upgrade the writer ends its predecessor, unless it is never ready, and SIGUSR1 ends a worker.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

from svcdns.server.child_setup import FATAL, take
from svcdns.server.counters import WRITER

CRASH_FILE = "crash-worker"
"""A file of this name in the data folder, holding a worker's number: that one dies at each start."""


def main() -> NoReturn:
    handoff = take(os.environ)
    counters = handoff.counters()
    folder = handoff.config.data
    row = handoff.worker + 1
    signal.signal(signal.SIGTERM, lambda *_: end(folder, is_writer=row == WRITER))
    signal.signal(signal.SIGHUP, lambda *_: (folder / "hup").touch())
    cursed = folder / CRASH_FILE
    if cursed.exists() and cursed.read_text() == str(handoff.worker):
        sys.exit(3)
    lifelines = [handoff.lifeline]
    sockets = [socket.socket(fileno=one) for one in handoff.udp]
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
    never = folder / "never-ready"
    if never.exists() and never.read_text() == ("writer" if row == WRITER else "worker"):
        sockets.clear()
    else:
        if handoff.predecessor >= 0:
            take_over(handoff.predecessor)
        counters.set(row, "ready", 1)
    while True:
        ready, _, _ = select.select([*lifelines, *sockets], [], [], 0.05)
        if handoff.lifeline in ready:
            os._exit(0)
        if not lifelines and (folder / "go").exists():
            os._exit(0)
        for one in ready:
            if answer(one, row, handoff.worker) == b"linger":
                lifelines.clear()


def end(folder: Path, *, is_writer: bool) -> NoReturn:
    if is_writer and (folder / "slow-writer").exists():
        (folder / "told").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    os._exit(0)


def take_over(pidfd: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
    select.select([pidfd], [], [])


def answer(one: socket.socket, row: int, worker: int) -> bytes:
    try:
        text, client = one.recvfrom(512)
    except BlockingIOError:
        return b""
    if text == b"crash":
        os._exit(1)
    if text == b"fatal":
        os._exit(FATAL)
    if text == b"deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    name = "writer" if row == WRITER else f"worker-{worker}"
    one.sendto(f"{name} {os.getpid()} {os.getpgid(0)}".encode(), client)
    return text


if __name__ == "__main__":
    main()
