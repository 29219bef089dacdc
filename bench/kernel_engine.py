"""What the kernel engine costs with 10, 1,000 and 10,000 Services of three endpoints each.

    python bench/kernel_engine.py [ROUNDS]

Takes root (or `unshare -Ur`), and a network of namespaces of its own.  CPU time, since a shared machine
leaves nothing else; for connections it holds the client, the server and the kernel between them.
"""

from __future__ import annotations

import socket
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network

from measuring import table
from toolbox.lab import SERVICES, Lab

from svcdns.cluster.traffic_plan import TCP, Destination, Endpoint, Frontend, Host, Rule
from svcdns.netlink.wire import HEADER
from svcdns.proxy.kernel import KernelEngine, clean_up
from svcdns.proxy.kernel_elements import Contents
from svcdns.proxy.kernel_messages import TableMessages
from svcdns.proxy.kernel_rules import LAYOUTS

SIZES = (10, 1_000, 10_000)
ENDPOINTS = 3
HOST = Host(ranges=tuple(map(ip_network, SERVICES)))
_FIRST = int(ip_address("10.96.0.0"))


def frontend(number: int) -> Frontend:
    """Return the cluster IP of one Service."""
    return Frontend(4, (_FIRST + number).to_bytes(4), TCP, 80)


def endpoint(number: int) -> Endpoint:
    """Return one of many endpoints."""
    return Endpoint((int(ip_address("172.16.0.0")) + number).to_bytes(4), 8080)


def rule(*endpoints: Endpoint) -> Rule:
    """Return a rule with the same endpoints for all clients."""
    both = Destination(tuple(sorted(endpoints)))
    return Rule("default/web", both, both)


def some_rules(count: int) -> dict[Frontend, Rule]:
    """Return so many Services, none of which shares an endpoint."""
    return {
        frontend(one): rule(*(endpoint(one * ENDPOINTS + other) for other in range(ENDPOINTS)))
        for one in range(count)
    }


def octets(rules: Mapping[Frontend, Rule]) -> int:
    """Return how many octets the kernel is sent for them."""
    messages = TableMessages(LAYOUTS[4]).changes(Contents(LAYOUTS[4]).plan(rules, HOST).operations)
    return sum(HEADER.size + len(message.payload) for message in messages)


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the CPU time of this process for some work, in milliseconds."""
    before = time.process_time()
    work()
    return (time.process_time() - before) * 1e3


def alternating(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Return the medians of works that are done in turn."""
    found: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for place, work in enumerate(works):
            found[place].append(cpu_ms(work))
    return [statistics.median(some) for some in found]


def changes(engine: KernelEngine, rounds: int) -> list[float]:
    """Return the cost of another endpoint, of one less or more, of a Service that comes, and goes."""
    one, new = frontend(3), frontend(1_000_000)
    three = [endpoint(3 * ENDPOINTS + other) for other in range(ENDPOINTS)]
    whole, fewer, other = rule(*three), rule(*three[1:]), rule(*three[1:], endpoint(500_000))
    engine.apply({one: fewer})
    engine.apply({one: whole})  # the chain for two is there now, as in any cluster
    replaced, back, less, more, came, went = alternating(
        rounds,
        lambda: engine.apply({one: other}),
        lambda: engine.apply({one: whole}),
        lambda: engine.apply({one: fewer}),
        lambda: engine.apply({one: whole}),
        lambda: engine.apply({new: whole}),
        lambda: engine.apply({new: None}),
    )
    return [(replaced + back) / 2, (less + more) / 2, came, went]


def connections(lab: Lab, rounds: int) -> tuple[float, float]:
    """Return the cost of 200 connections with one question each, to a container and to its Service."""

    def connect(address: str, port: int) -> None:
        for _ in range(200):
            with socket.create_connection((address, port), 60) as connected:
                connected.send(b"?\n")
                connected.recv(100)

    with lab.node.entered():
        direct, carried = alternating(
            rounds,
            lambda: connect(lab.a1.addresses[4], 8080),
            lambda: connect("10.111.0.1", 80),
        )
    return direct, carried


def measure(lab: Lab, count: int, rounds: int) -> list[float]:
    """Return a column of the table."""
    with lab.node.entered():
        engine = KernelEngine()
    rules = some_rules(count)
    try:
        first = cpu_ms(lambda: engine.replace(rules, HOST))
        again = cpu_ms(lambda: engine.replace(rules, HOST))
        cost = changes(engine, rounds)
        real = Endpoint(ip_address(lab.a1.addresses[4]).packed, 8080)
        engine.apply({Frontend(4, ip_address("10.111.0.1").packed, TCP, 80): rule(real)})
        direct, carried = connections(lab, max(rounds // 10, 3))
        return [first, again, octets(rules) / 1024, *cost, carried / direct]
    finally:
        engine.close()
        with lab.node.entered():
            clean_up()


ROWS = (
    "first sync, ms",
    "sync on old rules, ms",
    "KiB sent for it",
    "an endpoint is replaced, ms",
    "one endpoint less or more, ms",
    "a Service comes, ms",
    "a Service goes, ms",
    "connections by the Service / direct",
)


def run(rounds: int) -> None:
    """Print the table."""
    with Lab() as lab:
        lab.serve(lab.a1, "tcp", 8080)
        lab.node.ip(f"route add {SERVICES[0]} dev lo")
        found = [measure(lab, count, rounds) for count in SIZES]
    rows = [
        (name, *(f"{value:.2f}" for value in values), f"{values[-1] / values[0]:.1f}")
        for name, *values in zip(ROWS, *found, strict=True)
    ]
    table(("", *(f"{count:,} Services" for count in SIZES), "last to first"), rows)


if __name__ == "__main__":
    run(*(map(int, sys.argv[1:]) if sys.argv[1:] else [200]))
