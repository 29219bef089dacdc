"""Packet rules beside a direct connection, and how soon traffic follows a write, with many Services.

    python bench/traffic.py [SERVICES [ROUNDS [CONNECTIONS [MEBIBYTES]]]]      takes root

In network namespaces: a node with `svcdns serve --proxy` and a container behind it.  In turns, ROUNDS times,
a client on the node connects with one request CONNECTIONS times, and reads a stream: straight from the
container, and through the cluster IP of a Service whose only endpoint it is.  CPU time is client's and
server's, what the kernel does for them included.

Before that, a Pod becomes ready and unready in turns, and another the other way round; after each 2xx a
client connects until it is served as it should be: milliseconds from the 2xx on, and how many first
connections were right.
"""

from __future__ import annotations

import statistics
import sys
import time

from measuring import register, services, table, wait_for
from proxy.site import Site
from relay import connections, serve, spent, started, stream
from toolbox.lab import Lab

FLIPS = 200


def main(count: int = 10_000, rounds: int = 5, each: int = 2000, mebibytes: int = 1024) -> None:
    """Measure and print."""
    with Lab() as lab, Site(lab) as site:
        with lab.node.entered():
            register(site.api, services(count))
        took = _flips(site, lab)
        host = lab.a1.addresses[4]
        with lab.a1.entered():
            server = started(serve, mebibytes, host)
            port, pid = server.__enter__()
        with lab.node.entered():
            try:
                _print_paths(site, lab, (host, port), pid, rounds, each, mebibytes)
            finally:
                server.__exit__(None, None, None)
    first = sum(one < 0 for one in took)
    ms = sorted(abs(one) * 1000 for one in took)
    p50, p99 = statistics.median(ms), ms[len(ms) * 99 // 100]
    print(f"{count} Services, {len(took)} changes: first connection right {first} times;")
    print(f"from the 2xx to traffic: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def _print_paths(
    site: Site, lab: Lab, direct: tuple[str, int], pid: int, rounds: int, each: int, mebibytes: int
) -> None:
    ports = [{"name": "tcp", "port": 80, "targetPort": direct[1], "protocol": "TCP"}]
    web = site.service("measured", [lab.a1], ports=ports)
    wait_for(lambda: _is_there(web.cluster_ip(4)), "traffic to the cluster IP")
    ways = {"direct": direct, "cluster IP": (web.cluster_ip(4), 80)}
    seen: dict[str, list[list[float]]] = {way: [[], [], [], []] for way in ways}
    for _ in range(rounds):
        for way, (host, port) in ways.items():
            before = spent([pid])
            took = sorted(connections(port, each, host))
            middle = spent([pid])
            stream(port, host)
            after = spent([pid])
            values = (took[each // 2], took[each * 99 // 100], middle - before, after - middle)
            for kept, value in zip(seen[way], values, strict=True):
                kept.append(value)
    rows = []
    for way, measured in seen.items():
        pairs = [zip(one, base, strict=True) for one, base in zip(measured, seen["direct"], strict=True)]
        rows.append((way, *(f"x{statistics.median(a / b for a, b in pair):.2f}" for pair in pairs)))
    table(("", "connect+request p50", "p99", "CPU/connection", "CPU/GiB"), rows)


def _is_there(address: str) -> bool:
    try:
        connections(80, 1, address)
    except OSError:
        return False
    return True


def _flips(site: Site, lab: Lab) -> list[float]:
    """Return the seconds from each 2xx to traffic; negative where the first connection was right."""
    web = site.service("flips", [lab.b1, lab.b2])
    site.set_ready("flips", lab.b2, False)
    address = web.cluster_ip(4)
    site.reaches(lab.node, "tcp", address, 80, {"b1"})
    took = []
    for turn in range(FLIPS):
        wanted, other = (lab.b2, lab.b1) if turn % 2 == 0 else (lab.b1, lab.b2)
        site.set_ready("flips", wanted, True)
        site.set_ready("flips", other, False)
        began = time.perf_counter()
        tries = 0
        while True:
            tries += 1
            if lab.node.ask("tcp", address, 80).who == wanted.short:
                break
        seconds = time.perf_counter() - began
        took.append(-seconds if tries == 1 else seconds)
        time.sleep(0.02)
    return took


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
