"""A client that asks for one name at an even pace and tells how long the answers took.

    python even_pace.py HOST PORT NAME RATE      reads lines "SECONDS", prints a line of JSON for each

A question is sent when its time has come, whether or not the one before was answered, and its time counts
from the moment it was sent: a server that stands still is not let off.  One socket, no DNS library.
"""

import gc
import json
import select
import sys
import time

from toolbox.witness import connected, make_question

GRACE_SECONDS = 1.0
"""For the last answers."""


def measure(where: tuple[str, int], name: str, rate: int, seconds: float) -> dict[str, float]:
    """Ask for `seconds`; return p50, p99 and the longest time in microseconds, and how many were lost."""
    sock = connected(where)
    sock.setblocking(False)
    question = make_question(name)[2:]
    count = int(rate * seconds)
    sent = [0.0] * count
    took: list[float] = []
    clock = time.perf_counter
    gc.disable()
    begun = clock()
    number = 0
    while len(took) < count and (now := clock()) - begun < seconds + GRACE_SECONDS:
        due = begun + number / rate
        if number < count and now >= due:
            sent[number] = clock()
            sock.send(number.to_bytes(2) + question)
            number += 1
            continue
        wait = (due - now) if number < count else GRACE_SECONDS
        if select.select([sock], [], [], wait)[0]:
            reply = sock.recv(512)
            took.append(clock() - sent[int.from_bytes(reply[:2])])
            assert reply[3] & 15 == 0, "an own name was not answered"
    gc.enable()
    sock.close()
    took.sort()
    at = {"p50": 0.5, "p99": 0.99}
    found = {key: round(1e6 * took[int(share * len(took))]) for key, share in at.items()} if took else {}
    return {**found, "longest": round(1e6 * took[-1]) if took else -1, "lost": count - len(took)}


if __name__ == "__main__":
    host, port, asked, pace = sys.argv[1:]
    for line in sys.stdin:
        print(json.dumps(measure((host, int(port)), asked, int(pace), float(line))), flush=True)
