"""CPU time of answering one question, without sockets and over loopback UDP.

    python bench/bench_answer.py [questions of each kind, 1,000 at least]

Rows are those of a cluster with 1,000 Services and a headless one of 20 Pods.  Printed: CPU
microseconds for each question of the calling process alone (best of five).
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from svcdns.dns.answer import Answerer
from svcdns.dns.stats import Stats
from svcdns.dns.udp import UdpListener
from svcdns.names.packed import APEX, NEGATIVE_SOA, RRset, pack_row
from svcdns.store.environment import Store, open_store
from svcdns.store.snapshot import SERVING, Serving, Snapshots, Zone, encode_serving
from svcdns.wire.header import QUESTION_NAME
from svcdns.wire.key import key_of, wire_of

Z = "cluster.local"
BATCH = 64


def rr(rrtype: int, rdata: bytes, owner: bytes = QUESTION_NAME) -> bytes:
    """Return a stored RR."""
    return owner + rrtype.to_bytes(2) + b"\0\1\0\0\0\5" + len(rdata).to_bytes(2) + rdata


def fill(store: Store) -> None:
    """Store the rows."""
    soa = rr(6, wire_of(f"ns.dns.{Z}") + wire_of(f"hostmaster.{Z}") + bytes(20))
    rows = {key_of(Z): pack_row([RRset(NEGATIVE_SOA, [soa]), RRset(6, [soa])], APEX)}
    rows[key_of(f"default.svc.{Z}")] = pack_row([])
    for n in range(1000):
        name = f"svc-{n}.default.svc.{Z}"
        srv = RRset(33, [rr(33, bytes(6) + wire_of(name))], [rr(1, b"\x0a\0\0\1", wire_of(name))])
        rows[key_of(name)] = pack_row([RRset(1, [rr(1, b"\x0a\x60" + n.to_bytes(2))]), srv])
        ptr = f"{n % 250}.{n // 250}.96.10.in-addr.arpa"
        rows[key_of(ptr)] = pack_row([RRset(12, [rr(12, wire_of(name))])])
    rows[key_of("10.in-addr.arpa")] = rows[key_of(Z)]
    base = f"db.default.svc.{Z}"
    pods = [f"db-{n}.{base}" for n in range(20)]
    glue = [rr(1, bytes((10, 1, 0, n)), wire_of(pod)) for n, pod in enumerate(pods)]
    srvs = [rr(33, bytes(6) + wire_of(pod)) for pod in pods]
    addresses = [rr(1, bytes((10, 1, 0, n))) for n in range(20)]
    rows[key_of(base)] = pack_row([RRset(1, addresses), RRset(33, srvs, glue)])
    zones = (
        Zone("10.in-addr.arpa.", key_of("10.in-addr.arpa"), "reverse"),
        Zone(Z + ".", key_of(Z), "cluster"),
    )
    serving = Serving("a", key_of(Z), True, "verified", 5, zones)
    with store.env.begin(write=True) as txn:
        for key, row in rows.items():
            txn.put(key, row, db=store.tables.answers_a)
        txn.put(SERVING, encode_serving(serving), db=store.tables.meta)


def question(name: str, rrtype: int, *, opt: bool = False) -> bytes:
    """Return a plain question."""
    head = random.randbytes(2) + b"\1\x20\0\1\0\0\0\0\0" + (b"\1" if opt else b"\0")
    tail = b"\0\0\x29\x04\xd0\0\0\0\0\0\0" if opt else b""
    return head + wire_of(name) + rrtype.to_bytes(2) + b"\0\1" + tail


CASES: dict[str, Callable[[], bytes]] = {
    "A of 1,000 Services": lambda: question(f"svc-{random.randrange(1000)}.default.svc.{Z}", 1),
    "A with OPT": lambda: question(f"svc-{random.randrange(1000)}.default.svc.{Z}", 1, opt=True),
    "A, short name": lambda: question(f"svc-{random.randrange(1000)}.default.{Z}", 1),
    "AAAA, NODATA": lambda: question(f"svc-{random.randrange(1000)}.default.svc.{Z}", 28),
    "NXDOMAIN": lambda: question(f"{random.randbytes(6).hex()}.default.svc.{Z}", 1),
    "PTR": lambda: question(f"{random.randrange(250)}.{random.randrange(4)}.96.10.in-addr.arpa", 12),
    "headless, 20 A": lambda: question(f"db.default.svc.{Z}", 1, opt=True),
    "headless, 20 SRV in 1,232": lambda: question(f"db.default.svc.{Z}", 33, opt=True),
    "SRV with additional": lambda: question(f"svc-{random.randrange(1000)}.default.svc.{Z}", 33, opt=True),
}


def bench_answer(store: Store, packets: list[bytes], batch: int) -> float:
    """Return CPU seconds for each answer, `batch` of them in one snapshot."""
    snapshots, answer = Snapshots(store), Answerer(Stats()).answer
    best = 1e9
    for _ in range(5):
        started = time.process_time()
        for at in range(0, len(packets), batch):
            snapshot = snapshots.begin()
            for packet in packets[at : at + batch]:
                answer(packet, snapshot)
            snapshot.txn.abort()
        best = min(best, (time.process_time() - started) / len(packets))
    return best


async def serve(sock: socket.socket, store: Store, done: int) -> None:
    """Answer on a socket until the pipe `done` is written to."""
    counters = Stats()
    listener = UdpListener(sock, Snapshots(store).begin, Answerer(counters), counters)
    listener.start()
    stop = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(done, lambda: stop.done() or stop.set_result(None))
    await stop
    listener.close()


def bench_udp(folder: Path, packets: list[bytes]) -> tuple[float, float]:
    """Return CPU seconds of the worker for each question, and questions a second, over loopback."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.bind(("127.0.0.1", 0))
    done, finish = os.pipe()
    report, result = os.pipe()
    child = os.fork()
    if not child:
        started = time.process_time()
        asyncio.run(serve(sock, open_store(folder, role="reader"), done))
        os.write(result, str(time.process_time() - started).encode())
        os._exit(0)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(sock.getsockname())
    client.settimeout(2)
    began = time.perf_counter()
    window = 100
    for packet in packets[:window]:
        client.send(packet)
    for packet in packets[window:]:
        client.recv(4096)
        client.send(packet)
    for _ in range(window):
        client.recv(4096)
    elapsed = time.perf_counter() - began
    os.write(finish, b".")
    os.waitpid(child, 0)
    return float(os.read(report, 99)) / len(packets), len(packets) / elapsed


def main() -> None:
    """Print one line for each case."""
    rounds = max(int(sys.argv[1]), 1000) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder), role="writer")
        fill(store)
        for name, make in CASES.items():
            packets = [make() for _ in range(rounds)]
            times = [bench_answer(store, packets, batch) * 1e6 for batch in (BATCH, 1)]
            print(f"{name:28} {times[0]:6.2f} us in batches of {BATCH}, {times[1]:6.2f} us alone")
        store.close()
        for name in ("A of 1,000 Services", "NXDOMAIN", "headless, 20 A"):
            each, rate = bench_udp(Path(folder), [CASES[name]() for _ in range(rounds * 2)])
            print(f"UDP loop, {name:18} {each * 1e6:6.2f} us of CPU, {rate:,.0f} a second with one client")


if __name__ == "__main__":
    main()
