"""The real kube-proxy in front of our API: what it makes of our Services, traffic meets.

It is no package of any distribution, so it runs where `kube-proxy` is on the PATH or SVCDNS_KUBE_PROXY names
it. Go's modules have it: `go build k8s.io/kubernetes/cmd/kube-proxy` in a module that requires
k8s.io/kubernetes and replaces the modules of its staging folder by their releases. All of it lives on a host
of its own.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import shutil
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toolbox.builders import pod, ready_condition, service
from toolbox.hosts import Host, NotAllowed, sweep
from toolbox.running_server import RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

KUBE_PROXY = os.environ.get("SVCDNS_KUBE_PROXY") or shutil.which("kube-proxy")
NODE_ADDRESS = "192.0.2.1"
PODS = {"web-1": "10.244.0.11", "web-2": "10.244.0.12"}
CONFIG = """
[services]
kubernetes = true
cluster_ip_ranges = ["10.96.0.0/24"]
"""
PODS_OF_DEFAULT = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(KUBE_PROXY is None, reason="kube-proxy is not here; SVCDNS_KUBE_PROXY may name it"),
    pytest.mark.skipif(bool(os.geteuid()), reason="it takes root to make a host"),
]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host with an address, a default route and the addresses of two Pods."""
    sweep()
    try:
        made = Host()
    except NotAllowed as refusal:
        pytest.skip(str(refusal))
    try:
        made.ip(
            "link add eth0 type veth peer name eth1",
            f"addr add {NODE_ADDRESS}/24 dev eth0",
            *(f"addr add {address}/32 dev eth0" for address in PODS.values()),
            "link set eth0 up",
            "link set eth1 up",
            "route add default via 192.0.2.254",
        )
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", made.name], check=False, capture_output=True)


class ThreadingServer(socketserver.ThreadingTCPServer):
    """As that of http.server, which would look its own name up: there is no DNS on that host."""

    allow_reuse_address = True
    daemon_threads = True


@contextlib.contextmanager
def serving(name: str, address: str) -> Iterator[None]:
    """A program in a Pod: it answers with its name."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingServer((address, 8080), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def kube_proxy(server: RunningServer, folder: Path) -> Iterator[Path]:
    """A running kube-proxy; gives its log."""
    assert KUBE_PROXY is not None
    kubeconfig, log = folder / "kubeconfig", folder / "log"
    cluster = {"name": "c", "cluster": {"server": server.api}}
    context = {"name": "c", "context": {"cluster": "c", "user": ""}}
    kubeconfig.write_text(json.dumps({"clusters": [cluster], "contexts": [context], "current-context": "c"}))
    flags = {
        "kubeconfig": kubeconfig,
        "proxy-mode": "nftables",
        "hostname-override": "here",
        "cluster-cidr": "10.244.0.0/16",
        "conntrack-max-per-core": 0,
        "conntrack-tcp-timeout-established": "0s",
        "conntrack-tcp-timeout-close-wait": "0s",
        "metrics-bind-address": "127.0.0.1:10249",
    }
    command = [KUBE_PROXY, *(f"--{name}={value}" for name, value in flags.items())]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield log
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GUARD_SECONDS)
            process.kill()


def said_at(address: str, port: int, path: str = "/") -> str:
    """What whoever is reached there answers, "" where nobody is."""
    try:
        with socket.create_connection((address, port), timeout=2) as made:
            made.sendall(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
            with made.makefile("rb") as answer:
                return answer.read().decode().partition("\r\n\r\n")[2]
    except OSError:
        return ""


def set_ready(server: RunningServer, name: str, ready: bool) -> None:
    status = {"status": {"conditions": [ready_condition(ready)]}}
    assert server.patch(f"{PODS_OF_DEFAULT}/{name}/status", status).status == 200


@pytest.fixture
def server(host: Host, tmp_path: Path) -> Iterator[RunningServer]:
    """A server on that host, with a Node, a kube-proxy and two Pods of which the first is ready."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(host.entered())
        running = stack.enter_context(RunningServer(workers=1, config=CONFIG))
        addresses = [{"type": "InternalIP", "address": NODE_ADDRESS}]
        node = {"metadata": {"name": "here"}, "status": {"addresses": addresses}}
        assert running.post("/api/v1/nodes", node).status == 201
        for name, address in PODS.items():
            stack.enter_context(serving(name, address))
            made = pod(name, address, ready=name == "web-1")
            assert running.post(PODS_OF_DEFAULT, made).status == 201
        log = stack.enter_context(kube_proxy(running, tmp_path))
        try:
            yield running
        except BaseException:
            print(log.read_text())
            raise


def test_traffic_to_a_cluster_ip_and_a_node_port_follows_readiness(server: RunningServer) -> None:
    made = server.post(SERVICES, service(type="NodePort", clusterIP="10.96.0.80"))
    assert made.status == 201, made.text
    ways = [("10.96.0.80", 80), (NODE_ADDRESS, made.json["spec"]["ports"][0]["nodePort"])]
    for way in ways:
        wait_for(lambda: said_at(*way) == "web-1", f"traffic at {way}")  # noqa: B023
    set_ready(server, "web-2", True)
    set_ready(server, "web-1", False)
    for way in ways:
        wait_for(lambda: said_at(*way) == "web-2", f"traffic at {way} to move")  # noqa: B023


def test_the_api_is_reached_as_in_a_cluster(server: RunningServer) -> None:
    [address] = server.answers("kubernetes.default.svc.cluster.local")
    told = wait_for(lambda: said_at(address, 443, "/version"), "the API at its cluster IP")
    assert json.loads(told)["gitVersion"]


def rules() -> str:
    command = ["nft", "list", "table", "ip", "kube-proxy"]
    return subprocess.run(command, capture_output=True, text=True).stdout


def test_it_writes_events_and_finds_the_ranges(server: RunningServer, tmp_path: Path) -> None:
    def events() -> list[Any]:
        query = "fieldSelector=regarding.kind=Node,reportingController=kube-proxy"
        found: list[Any] = server.get(f"/apis/events.k8s.io/v1/events?{query}").json["items"]
        return found

    wait_for(events, "an Event of kube-proxy")
    wait_for(lambda: "10.96.0.0/24" in rules(), "the range of cluster IPs in its rules")
    log = (tmp_path / "log").read_text()
    assert "Failed to watch" not in log and "could not find the requested resource" not in log
