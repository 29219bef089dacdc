"""What the heartbeats of 10,000 Pods cost the writer: one by one, and in lists.

    python bench/heartbeats.py [PODS]

A core's share is the CPU time of PODS / 10 heartbeats, one each 10 s of every Pod.  They are sent as fast as
they are answered, each client on one connection; the share is computed from CPU time, so it does not depend
on what else the machine does.  The promise itself is 600 s, so that a slow machine makes nobody late.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator

from measuring import PODS, RunningServer, cpu_seconds, pod, register, request, table

PERIOD = 10.0
CLIENTS = 8
IN_A_LIST = 1_000


def pods(count: int) -> Iterator[tuple[str, object]]:
    """Yield Pods that promise heartbeats."""
    for number in range(count):
        made = pod(f"p-{number}", f"10.{number // 62_500 + 1}.{number // 250 % 250}.{number % 250 + 1}")
        made["metadata"]["annotations"] = {"svcdns.io/heartbeat": f"{PERIOD * 60:g}s"}
        yield PODS, made


def send(address: tuple[str, int], requests: list[bytes], status: bytes) -> None:
    """Send all requests in pipelines of CLIENTS connections, each once the one before it was answered."""
    conns = [socket.create_connection(address) for _ in range(CLIENTS)]
    for at in range(0, len(requests), CLIENTS):
        some = list(zip(conns, requests[at : at + CLIENTS], strict=False))
        for conn, octets in some:
            conn.sendall(octets)
        for conn, _ in some:
            reply = conn.recv(1 << 20)
            assert reply.startswith(b"HTTP/1.1 " + status), reply[:200]
            assert b'"refused":[{' not in reply, reply[:200]
    for conn in conns:
        conn.close()


def heartbeat(name: str) -> bytes:
    """Return the request of one heartbeat, as a small client sends it."""
    return f"POST {PODS}/{name}/heartbeat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()


def main(count: int = 10_000) -> None:
    """Print the table."""
    names = [f"p-{number}" for number in range(count)]
    lists = [names[at : at + IN_A_LIST] for at in range(0, count, IN_A_LIST)]
    bodies = [[{"namespace": "default", "name": name} for name in some] for some in lists]
    ways = {
        "one by one": [heartbeat(name) for name in names],
        f"lists of {IN_A_LIST:,}": [request("POST", "/svcdns/v1/heartbeats", body) for body in bodies],
    }
    rows = []
    with RunningServer() as server:
        register(server.api, pods(count))
        host, _, port = server.api.removeprefix("http://").rpartition(":")
        for way, requests in ways.items():
            status = b"204" if way == "one by one" else b"200"
            before = sum(cpu_seconds(server.writer_pid))
            for _ in range(3):
                send((host, int(port)), requests, status)
            seconds = (sum(cpu_seconds(server.writer_pid)) - before) / 3
            rows.append((way, f"{seconds / count * 1e6:.1f}", f"{seconds / PERIOD:.1%}"))
        listed = server.get(f"{PODS}?limit=500").json["items"]
        late = [json.dumps(one) for one in listed if "NotReadyByHeartbeat" in json.dumps(one)]
        assert not late, f"{len(late)} Pods are late"
    head = (f"{count:,} Pods, each {PERIOD:g} s", "CPU us a heartbeat", "of a core")
    table(head, rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
