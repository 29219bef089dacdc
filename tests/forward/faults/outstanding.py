"""Clients that keep many questions waiting, each for a name that nobody has asked for before.

    python outstanding.py HOST PORT ZONE HOW_MANY RATE    "go" and "stop" on stdin; one line of JSON a "tell"

They ask from ADDRESSES addresses of loopback, `RATE` new questions a second at most and as long as fewer
than HOW_MANY wait.
"""

import contextlib
import itertools
import json
import select
import socket
import sys
import time
from collections import Counter

from toolbox.witness import make_question

ADDRESSES = 10
PATIENCE_SECONDS = 5.0
"""After this a question counts as lost."""
TICK_SECONDS = 0.002


class Crowd:
    """Several clients, one socket each."""

    def __init__(self, where: tuple[str, int], zone: str, most: int) -> None:
        self._zone = zone
        self._each = most // ADDRESSES
        self._numbers = itertools.count(time.time_ns())
        self._clients: dict[socket.socket, dict[int, float]] = {}
        for number in range(ADDRESSES):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            sock.bind((f"127.0.0.{10 + number}", 0))
            sock.connect(where)
            sock.setblocking(False)
            self._clients[sock] = {}
        self.said: Counter[str] = Counter()
        self.longest = 0.0

    @property
    def waiting(self) -> int:
        """How many questions wait for an answer."""
        return sum(map(len, self._clients.values()))

    def ask(self, most: int) -> None:
        """Send up to so many questions."""
        for _ in range(most):
            sock, waits = min(self._clients.items(), key=lambda client: len(client[1]))
            if len(waits) >= self._each:
                return
            number = next(self._numbers)
            ident = number & 0xFFFF
            if ident in waits:
                continue
            sock.send(make_question(f"n{number:x}.{self._zone}", number=ident))
            waits[ident] = time.monotonic()

    def take(self) -> None:
        """Read all replies that are there."""
        now = time.monotonic()
        for sock, waits in self._clients.items():
            with contextlib.suppress(BlockingIOError):
                while reply := sock.recv(4096):
                    since = waits.pop(int.from_bytes(reply[:2]), None)
                    if since is not None:
                        self.said[str(reply[3] & 15)] += 1
                        self.longest = max(self.longest, now - since)
            while waits and now - (oldest := next(iter(waits.items())))[1] > PATIENCE_SECONDS:
                self.said["lost"] += 1
                del waits[oldest[0]]

    def tell(self) -> str:
        """Return what has come since the last time."""
        told = {"waiting": self.waiting, "said": dict(self.said), "longest": round(self.longest, 2)}
        self.said.clear()
        self.longest = 0.0
        return json.dumps(told)


def main(host: str, port: str, zone: str, most: str, rate: str) -> None:
    """Do as the lines on stdin say, until it ends."""
    crowd = Crowd((host, int(port)), zone, int(most))
    going = False
    last = time.monotonic()
    lines = b""
    while True:
        now = time.monotonic()
        if going:
            crowd.ask(int((now - last) * int(rate)))
        last = now
        crowd.take()
        patience = TICK_SECONDS if going or crowd.waiting else None
        if select.select([0], [], [], patience)[0]:
            *complete, lines = (lines + sys.stdin.buffer.raw.read(100)).split(b"\n")  # type: ignore[attr-defined]
            if not complete:
                return
            for line in complete:
                if line == b"tell":
                    print(crowd.tell(), flush=True)
                else:
                    going = line == b"go"


if __name__ == "__main__":
    main(*sys.argv[1:])
