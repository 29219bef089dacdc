"""Registrations a second where three replicas share a registry on three members of etcd, beside etcd alone.

    python bench/replicas.py [REGISTRATIONS] [TURNS]      needs etcd

All on loopback, in turns; each row is the median of the turns.

* etcd alone: clients of its gateway, each creates one key after the other (absent, then put) with the octets
  of a Service;
* a server on its own: its store is in its data folder;
* replicas: clients at one of three, and at all three.  `visible` is the time from a POST until all three
  replicas have answered its name, by one more client beside the others.
"""

from __future__ import annotations

import base64
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from measuring import (
    SERVICES,
    RunningServer,
    connected,
    cpu_of_family,
    fqdn,
    make_question,
    read_answer,
    request,
    service,
    table,
)
from registrations import Count, Turns, client, connection, exchange, run_all
from toolbox.etcd_members import Members
from toolbox.witness import GONE

CLIENTS = 32
_VALUE = json.dumps(service("svc-12345") | {"status": {"loadBalancer": {}}, "more": "x" * 500}).encode()
_numbers = itertools.count()


@dataclass
class Row:
    """What was found of one arrangement, a value each turn."""

    rates: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    visible: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def cells(self, name: str) -> list[object]:
        """Return it as a row of the table."""
        return [
            name,
            f"{statistics.median(self.rates):,.0f}",
            *(f"{percentile(self.took, cut) * 1e3:.1f}" for cut in (50, 99)),
            *(f"{percentile(self.visible, cut) * 1e3:.1f}" if self.visible else "" for cut in (50, 99)),
            f"{statistics.median(self.cpu) * 1e6:.0f}",
        ]


def percentile(values: Sequence[float], cut: int) -> float:
    """Return a percentile."""
    return statistics.quantiles(values, n=100)[cut - 1]


def transactions(endpoint: str, count: Count) -> Turns:
    """Create one key after the other in etcd until none is left to do."""
    host, _, port = endpoint.removeprefix("http://").rpartition(":")
    api = connection((host, int(port)))
    while count.left > 0:
        count.left -= 1
        key = base64.b64encode(b"/bench/%d" % next(_numbers)).decode()
        absent = {"key": key, "target": "CREATE", "create_revision": "0"}
        put = {"requestPut": {"key": key, "value": base64.b64encode(_VALUE).decode()}}
        octets = request("POST", "/v3/kv/txn", {"compare": [absent], "success": [put]})
        began = time.perf_counter()
        reply = yield from exchange(api, octets)
        assert b'"succeeded":true' in reply, reply
        count.took.append(time.perf_counter() - began)
        count.done += 1
    api.close()


def seen_by_all(replicas: Sequence[RunningServer], count: Count, visible: list[float]) -> Turns:
    """Register at one replica after the other, and ask all of them until each has answered."""
    apis = [connection(address_of(replica)) for replica in replicas]
    workers = [connected(replica.dns) for replica in replicas]
    for api in itertools.cycle(apis):
        name, began = f"seen-{next(_numbers)}", time.perf_counter()
        reply = yield from exchange(api, request("POST", SERVICES, service(name)))
        assert reply.startswith(b"HTTP/1.1 201"), reply
        question = make_question(fqdn(name))
        for sock in workers:
            answer = GONE
            while answer == GONE:
                sock.send(question)
                yield sock
                answer = read_answer(question, sock.recv(4096))
        visible.append(time.perf_counter() - began)
        if count.left <= 0:
            break
    for sock in (*apis, *workers):
        sock.close()


def address_of(server: RunningServer) -> tuple[str, int]:
    """Return where its API is."""
    host, _, port = server.api.removeprefix("http://").rpartition(":")
    return host, int(port)


def measure(row: Row, count: Count, clients: list[Turns], pids: Callable[[], Iterator[int]]) -> None:
    """Run clients, and note what it took them and the processes."""
    cpu, began = sum(map(cpu_of_family, pids())), time.perf_counter()
    run_all(clients)
    seconds = time.perf_counter() - began
    row.cpu.append((sum(map(cpu_of_family, pids())) - cpu) / count.done)
    row.rates.append(count.done / seconds)
    row.took += count.took


def register(row: Row, servers: Sequence[RunningServer], registrations: int, *, watched: bool) -> None:
    """Have clients register at servers, each of them at one."""
    count = Count(registrations)
    names = (f"r-{next(_numbers)}" for _ in itertools.count())
    clients = [
        client(address_of(servers[number % len(servers)]), None, names, count) for number in range(CLIENTS)
    ]
    if watched:
        clients.append(seen_by_all(servers, count, row.visible))
    measure(row, count, clients, lambda: (one.process.pid for one in servers if one.process is not None))


def main(registrations: int = 2_000, turns: int = 3) -> None:
    """Print the table."""
    rows = {
        name: Row()
        for name in (
            "etcd alone, 1 client",
            f"etcd alone, {CLIENTS} clients",
            "a server on its own",
            "one of three replicas",
            "three replicas",
        )
    }
    alone, many, own, one, three = rows.values()
    with ExitStack() as stack:
        etcd = stack.enter_context(Members(3))
        named = ", ".join(f'"{endpoint}"' for endpoint in etcd.endpoints)
        config = f"[store]\netcd = [{named}]\n"
        single = stack.enter_context(RunningServer(workers=1))
        replicas = [stack.enter_context(RunningServer(workers=1, config=config)) for _ in range(3)]

        def members() -> Iterator[int]:
            return (member.process.pid for member in etcd.members if member.process is not None)

        for _ in range(turns):
            for row, clients in ((alone, 1), (many, CLIENTS)):
                count = Count(registrations // 4 if clients == 1 else registrations)
                endpoints = itertools.islice(itertools.cycle(etcd.endpoints), clients)
                measure(row, count, [transactions(endpoint, count) for endpoint in endpoints], members)
            register(own, [single], registrations, watched=False)
            register(one, replicas[:1], registrations, watched=False)
            register(three, replicas, registrations, watched=True)
    head = ("", "a second", "p50 ms", "p99 ms", "visible p50 ms", "visible p99 ms", "CPU us each")
    table(head, [row.cells(name) for name, row in rows.items()])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
