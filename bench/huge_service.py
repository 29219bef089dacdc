"""Writes of other Services while Pods join a headless Service of thousands.

    python bench/huge_service.py [PODS] [JOINING]

Over the real API.  One client registers Services one after the other: first alone, then beside eight
clients that register JOINING more Pods of the large Service.  Then its name is asked for, over UDP and TCP;
what that takes holds dnspython's reading of the reply.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time

from measuring import SERVICES, Calls, RunningServer, fqdn, headless, register, service, table

JOINERS = 8


def written(url: str, prefix: str, done: threading.Event, at_least: int = 200) -> list[float]:
    """Register Services until an event is set; return what each took, in milliseconds."""
    calls, took = Calls(url), []
    while not done.is_set() or len(took) < at_least:
        began = time.perf_counter()
        calls.done("POST", SERVICES, service(f"{prefix}-{len(took)}"))
        took.append((time.perf_counter() - began) * 1e3)
    calls.close()
    return took


def row(name: str, took: list[float]) -> list[str]:
    """Return a row of the table."""
    cuts = statistics.quantiles(took, n=100)
    return [name, str(len(took)), f"{cuts[49]:.1f}", f"{cuts[98]:.1f}", f"{max(took):.1f}"]


def asked(server: RunningServer, tcp: bool) -> str:
    """Ask for the large name a hundred times; return what came of it in words."""
    took, counts = [], []
    for _ in range(100):
        began = time.perf_counter()
        counts.append(len(server.answers(fqdn("huge"), tcp=tcp)))
        took.append((time.perf_counter() - began) * 1e3)
    return f"{statistics.median(counts):.0f} A in {statistics.median(took):.2f} ms"


def main(pods: int, joining: int) -> None:
    """Print the table."""
    objects = headless("huge", pods + joining)
    with RunningServer() as server:
        began = time.perf_counter()
        register(server.api, objects[: pods + 1])
        print(f"{pods:,} Pods registered in {time.perf_counter() - began:.0f} s")
        done = threading.Event()
        done.set()
        rows = [row("alone", written(server.api, "quiet", done))]
        done.clear()
        joined: list[float] = []

        def join() -> None:
            began = time.perf_counter()
            register(server.api, objects[pods + 1 :], JOINERS)
            joined.append(time.perf_counter() - began)
            done.set()

        joiners = threading.Thread(target=join)
        joiners.start()
        rows.append(row("beside", written(server.api, "busy", done)))
        joiners.join()
        table(["other writes", "writes", "p50 ms", "p99 ms", "max ms"], rows)
        print(f"{joining:,} Pods joined in {joined[0]:.1f} s")
        print(f"UDP: {asked(server, False)}; TCP: {asked(server, True)}")


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(*given, *(20_000, 1_000)[len(given) :])
