"""What probing costs, and how soon DNS says what a Pod's server does.

    python bench/probes.py [--pods 5000] [--period 10] [--seconds 20] [--flips 10]

A server with as many Pods, each with an HTTP probe of one small server of this machine; after all have
succeeded once, the CPU time of the prober over some seconds.  Then one Pod's server turns bad and good again,
and the time from there to the DNS answer, beside what its probe allows.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measuring import RunningServer, cpu_seconds, memory, wait_for

from svcdns.client import Client, Connection
from svcdns.server.crew import PROBER

SERVER = """
import asyncio, pathlib, sys
bad = pathlib.Path(sys.argv[1])
async def answer(reader, writer):
    try:
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        status = b"503 no" if b"/one " in head and bad.exists() else b"200 ok"
        writer.write(b"HTTP/1.1 " + status + b"\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
PODS = "/api/v1/namespaces/default/pods"
NAME = "one.default.svc.cluster.local"


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--period", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--flips", type=int, default=10)
    given = parser.parse_args()
    with RunningServer(workers=1) as server:
        bad = server.data / "bad"
        asked = subprocess.Popen([sys.executable, "-c", SERVER, str(bad)], stdout=subprocess.PIPE, text=True)
        try:
            assert asked.stdout is not None
            port = int(asked.stdout.readline())
            cost(server, given, port)
            flips(server, given.flips, port, bad)
        finally:
            asked.kill()


def cost(server: RunningServer, given: argparse.Namespace, port: int) -> None:
    """Print what probing many Pods takes of the prober."""
    with Client(Connection(server.api)) as client:
        for number in range(given.pods):
            client.apply(pod(f"p{number}", "many", "/", port, given.period))

    def ready() -> int:
        slices = server.get("/apis/discovery.k8s.io/v1/endpointslices").json["items"]
        return sum(1 for one in slices for each in one["endpoints"] or [] if each["conditions"]["ready"])

    service(server, "many")
    wait_for(lambda: ready() == given.pods, "every first success", seconds=600)
    pid = prober(server)
    before, begun = sum(cpu_seconds(pid)), time.monotonic()
    time.sleep(given.seconds)
    used, passed = sum(cpu_seconds(pid)) - before, time.monotonic() - begun
    rate = given.pods / given.period
    print(f"{given.pods} Pods every {given.period} s: {100 * used / passed:.1f} % of a core, ", end="")
    print(f"{1e6 * used / passed / rate:.0f} us a probe, {memory(pid)['Pss']:.0f} MiB (PSS)")


def flips(server: RunningServer, many: int, port: int, bad: Path) -> None:
    """Print how long it takes from what a server says to what DNS says."""
    with Client(Connection(server.api)) as client:
        client.apply(pod("one", "one", "/one", port, 1))
    service(server, "one")
    wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "its first success")
    worse, better = [], []
    for _ in range(many):
        begun = time.monotonic()
        bad.touch()
        wait_for(lambda: server.answers(NAME) == [], "its failure")
        worse.append(time.monotonic() - begun)
        begun = time.monotonic()
        bad.unlink()
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "its success")
        better.append(time.monotonic() - begun)
    print(
        f"bad to DNS: median {statistics.median(worse):.2f} s, most {max(worse):.2f} s; its probe allows 3 s"
    )
    print(f"good to DNS: median {statistics.median(better):.2f} s, most {max(better):.2f} s; 1 s")


def pod(name: str, app: str, path: str, port: int, period: int) -> dict[str, object]:
    """Return a Pod of this machine with an HTTP probe."""
    probe = {"httpGet": {"path": path, "port": port}, "periodSeconds": period}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": "none", "readinessProbe": probe}]},
        "status": {"podIP": "127.0.0.1"},
    }


def service(server: RunningServer, name: str) -> None:
    """Register a headless Service that finds Pods by `app`."""
    spec = {"clusterIP": "None", "selector": {"app": name}}
    made = server.post("/api/v1/namespaces/default/services", {"metadata": {"name": name}, "spec": spec})
    assert made.status == 201, made.text


def prober(server: RunningServer) -> int:
    """Return the pid of the prober of a server.  Raises LookupError."""
    assert server.process is not None
    pid = server.process.pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if f"svcdns.server.{PROBER}".encode() in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise LookupError("no prober runs")


if __name__ == "__main__":
    main()
