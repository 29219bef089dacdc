"""A whole site: the lab's network, and on its node a server that carries traffic too.

    with Site(lab) as site:
        web = site.service("web", pods=[lab.a1, lab.b1])
        site.reaches(lab.client, "tcp", web.cluster_ip(4), 80, {"a1", "b1"})

Rules: what is asked of the API is asked on the node.  Traffic follows what the API has acknowledged soon, so
an expectation is waited for, and then has to hold.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import pytest
from toolbox.builders import pod, service
from toolbox.lab import Lab, Machine, ask_again
from toolbox.running_kube_proxy import kube_proxy, needs_kube_proxy
from toolbox.running_server import Reply, RunningServer
from toolbox.waiting import wait_for

from svcdns.proxy.cleanup import cleanup

CONFIG = """
[services]
cluster_ip_ranges = ["10.96.0.0/12", "fd96::/108"]
load_balancer_ranges = ["192.168.77.192/26", "fd77::c0/122"]
[proxy]
serve = {serves}
engine = "{engine}"
node = "node"
healthz = "127.0.0.1:0"
"""
SERVICES, PODS = "/api/v1/namespaces/default/services", "/api/v1/namespaces/default/pods"
KUBE_PROXY = "kube-proxy"
CARRIERS = ["nft", pytest.param(KUBE_PROXY, marks=[pytest.mark.soak, needs_kube_proxy])]
"""Engines of a Site for what must be the same by our own proxy and by kube-proxy."""
PORT = 8080
"""Where servers of this folder listen; a namespace of its own has it free."""
SILENCE_SECONDS = 0.3

Object = dict[str, Any]


class Web:
    """A Service, as the API shows it."""

    def __init__(self, shown: Object) -> None:
        self.shown = shown

    def cluster_ip(self, family: int) -> str:
        """Its cluster IP of a family."""
        return next(ip for ip in self.shown["spec"]["clusterIPs"] if (":" in ip) == (family == 6))

    @property
    def balancer(self) -> str:
        """Its load balancer address."""
        return str(self.shown["status"]["loadBalancer"]["ingress"][0]["ip"])

    def node_port(self, protocol: str) -> int:
        """Its node port of a protocol."""
        ports = self.shown["spec"]["ports"]
        return int(next(one["nodePort"] for one in ports if one["name"] == protocol))


class Site:
    """The server and its registry, on the lab's node; a context manager."""

    def __init__(
        self, lab: Lab, engine: str = "nft", more: str = "", leaves: bool = False, balances: bool = True
    ) -> None:
        """`more`: lines of [proxy]; `leaves`: what it changed of the node stays when it ends.

        `balances`: whether the server gives load balancers their addresses.

        With the engine KUBE_PROXY, that one carries the traffic, and nothing of ours.
        """
        self.lab = lab
        self.is_ours = engine != KUBE_PROXY
        self._leaves = leaves
        said = {"engine": engine, "serves": "true"} if self.is_ours else {"engine": "nft", "serves": "false"}
        config = CONFIG if balances else CONFIG.replace("load_balancer_ranges", "# load_balancer_ranges")
        self._server = RunningServer(workers=1, config=config.format(**said) + more)
        self._kube_proxy, self._carrier = ExitStack(), ExitStack()

    def __enter__(self) -> Self:
        with self.lab.node.entered():
            self._server.start()
        if not self.is_ours:
            self._start_kube_proxy()
        self._listening = [
            self.lab.serve(host, protocol, PORT)
            for host in (*self.lab.containers, self.lab.node, self.lab.second)
            for protocol in ("tcp", "udp")
        ]
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        self._kube_proxy.close()
        self._server.__exit__(kind, *rest)
        for server in self._listening:
            server.close()
        if not self._leaves:
            with self.lab.node.entered():
                cleanup()

    def _start_kube_proxy(self) -> None:
        """Run it on the node, for which is done what it leaves to others.

        It takes a way out for packets to cluster IPs to begin with (a default route), and, where a bridge's
        packets pass its rules, hairpin mode of the bridge's ports (a CNI plugin).  It refuses TCP by ICMP, of
        which the kernel sends one client one a second (icmp_ratelimit): without a limit here.
        """
        self._limit_icmp(0)
        self._kube_proxy.callback(self._limit_icmp, 1000)
        addresses = [{"type": "InternalIP", "address": one} for one in self.lab.node.addresses.values()]
        self.done("POST", "/api/v1/nodes", {"metadata": {"name": "node"}, "status": {"addresses": addresses}})
        ways = ("default via 192.168.77.254", "default via fd77::fe")
        self.lab.node.ip(*(f"route add {way}" for way in ways))
        self._kube_proxy.callback(self.lab.node.ip, *(f"route del {way}" for way in ways))
        ports = [f"veth-{host.short}" for host in (self.lab.a1, self.lab.a2, self.lab.b1, self.lab.b2)]
        self._hairpin(ports, "on")
        self._kube_proxy.callback(self._hairpin, ports, "off")
        self._kube_proxy.callback(self._without_rules_of_kube_proxy)
        self._kube_proxy.enter_context(self._carrier)
        self._run_kube_proxy()

    def _run_kube_proxy(self) -> None:
        folder = self._carrier.enter_context(TemporaryDirectory())
        with self.lab.node.entered():
            running = kube_proxy(self.api, Path(folder), "node", "10.244.0.0/15,fd44::/15")
            self._carrier.enter_context(running)

    def _limit_icmp(self, milliseconds: int) -> None:
        with self.lab.node.entered(), open("/proc/sys/net/ipv4/icmp_ratelimit", "w") as limit:
            limit.write(f"{milliseconds}")

    def _hairpin(self, ports: Iterable[str], mode: str) -> None:
        self.lab.node.ip(*(f"link set dev {port} type bridge_slave hairpin {mode}" for port in ports))

    def _without_rules_of_kube_proxy(self) -> None:
        for family in ("ip", "ip6"):
            words = self.lab.node.command("nft", "delete", "table", family, "kube-proxy")
            subprocess.run(words, check=False, capture_output=True)

    # The registry

    def request(self, method: str, path: str, body: Any = None, **more: Any) -> Reply:
        """Ask the API, on the node; no status is an error here."""
        with self.lab.node.entered():
            return self._server.request(method, path, body, **more)

    def done(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """Ask the API for what it has to do; return what it says."""
        reply = self.request(method, path, body, **more)
        assert reply.status < 300, reply.text
        return reply.json

    @property
    def api(self) -> str:
        """URL of the API, for who is on the node."""
        return self._server.api

    def service(self, name: str, pods: Iterable[Machine] = (), **spec: Any) -> Web:
        """Register a Service of both families, TCP and UDP 80, and its Pods."""
        ports = [
            {"name": protocol, "port": 80, "targetPort": PORT, "protocol": protocol.upper()}
            for protocol in ("tcp", "udp")
        ]
        wanted = {"ports": ports, "ipFamilyPolicy": "PreferDualStack", **spec}
        self.done("POST", SERVICES, service(name, **wanted))
        for host in pods:
            self.pod(name, host)
        return Web(self.done("GET", f"{SERVICES}/{name}"))

    def pod(
        self,
        app: str,
        host: Machine,
        *,
        ready: bool = True,
        lingers: bool = False,
        ports: Sequence[Object] = (),
    ) -> None:
        """Register a Pod that runs on a host of the lab; one that lingers is not gone once it is deleted.

        `ports`: those of its container.
        """
        on_node = host not in (self.lab.second, self.lab.far)
        addresses = [host.addresses[family] for family in (4, 6)]
        node_name = "node" if on_node else "second"
        containers = [{"name": "main", "image": "example.com/main", "ports": list(ports)}]
        self._pod(app, host.short, addresses, ready, lingers, nodeName=node_name, containers=containers)

    def process(self, app: str, name: str, *addresses: str) -> None:
        """Register a process of the node as a Pod: at loopback addresses, at most one a family."""
        self._pod(app, name, addresses, ready=True)

    def let_go(self, app: str, host: Machine) -> None:
        """Have a Pod that lingers be gone."""
        self.done(
            "PATCH",
            f"{PODS}/{app}-{host.short}",
            {"metadata": {"finalizers": None}},
            content_type="application/merge-patch+json",
        )

    def _pod(
        self,
        app: str,
        name: str,
        addresses: Sequence[str],
        ready: bool,
        lingers: bool = False,
        **spec: Any,
    ) -> None:
        made = pod(f"{app}-{name}", addresses[0], app, ready, **spec)
        if lingers:
            made["metadata"]["finalizers"] = ["example.com/waits"]
        made["status"]["podIPs"] = [{"ip": address} for address in addresses]
        self.done("POST", PODS, made)

    def set_ready(self, app: str, host: Machine | str, ready: bool, *, waits: bool = False) -> None:
        """Change a Pod's condition (of a process: its name); with `waits`, return when traffic follows."""
        name = host if isinstance(host, str) else host.short
        reply = self.request(
            "PATCH",
            f"{PODS}/{app}-{name}/status",
            {"status": {"conditions": [{"type": "Ready", "status": str(ready)}]}},
            content_type="application/merge-patch+json",
            headers={"Svcdns-Wait": "proxies=60"} if waits else None,
        )
        assert reply.status == 200, reply.text
        assert not (waits and "Warning" in reply.headers), reply.headers

    def change(self, name: str, **spec: Any) -> Web:
        """Change a Service."""
        body = {"spec": spec}
        return Web(
            self.done("PATCH", f"{SERVICES}/{name}", body, content_type="application/merge-patch+json")
        )

    # Traffic

    def reaches(
        self, client: Machine, protocol: str, address: str, port: int, names: set[str], tries: int = 6
    ) -> set[str]:
        """Wait until a client reaches exactly these servers; return the addresses that they see it at."""
        seen: set[str] = set()

        def only_these() -> bool:
            try:
                answers = [client.ask(protocol, address, port, seconds=2) for _ in range(tries * len(names))]
            except OSError:
                return False
            seen.clear()
            seen.update(answer.seen for answer in answers)
            return {answer.who for answer in answers} == names

        wait_for(only_these, f"{client.short} to reach {names} at {address} by {protocol}")
        return seen

    def one_of(self, client: Machine, protocol: str, address: str, port: int, names: set[str]) -> str:
        """Wait until a client reaches one of these servers, and return which."""

        def reached() -> str:
            try:
                who = client.ask(protocol, address, port, seconds=2).who
            except OSError:
                return ""
            return who if who in names else ""

        return wait_for(reached, f"{client.short} to reach one of {names} at {address}")

    @contextmanager
    def flow(self, client: Machine, address: str, port: int, name: str) -> Iterator[socket.socket]:
        """Give a UDP socket of a client that this server answers."""
        for _ in range(100):
            with client.connect("udp", address, port) as made:
                if answering(made) == name:
                    yield made
                    return
        raise AssertionError(f"no flow of {client.short} gets to {name}")

    def is_refused(self, client: Machine, protocol: str, address: str, port: int) -> None:
        """Wait until a client is refused; the kernel may say nothing to some datagrams (icmp_ratelimit)."""

        def refused() -> bool:
            try:
                client.ask(protocol, address, port, seconds=2 if protocol == "tcp" else SILENCE_SECONDS)
            except (ConnectionRefusedError, PermissionError):  # EPERM: UDP on the host itself
                return True
            except OSError:
                return False
            return False

        wait_for(refused, f"{client.short} to be refused at {address} by {protocol}")

    def meets_silence(self, client: Machine, protocol: str, address: str, port: int) -> None:
        """Wait until a client gets no answer at all."""

        def silent() -> bool:
            try:
                client.ask(protocol, address, port, seconds=SILENCE_SECONDS)
            except TimeoutError:
                return True
            except PermissionError:  # what the host drops of its own datagrams
                return client is self.lab.node and protocol == "udp"
            except OSError:
                return False
            return False

        wait_for(silent, f"silence for {client.short} at {address} by {protocol}")

    # What may die

    def pids(self, module: str) -> list[int]:
        """Return the pids of its processes that run a module, such as svcdns.server.proxy."""
        assert self._server.process is not None
        found = []
        for pid in _children(self._server.process.pid):
            with suppress(FileNotFoundError, ProcessLookupError):  # it may have died, or die meanwhile
                if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    found.append(pid)
        return found

    def kill(self, module: str) -> None:
        """Kill a process of it (SIGKILL), once there is one, and return when the next one is there."""
        (before,) = wait_for(lambda: self.pids(module), f"a process of {module}")
        with suppress(ProcessLookupError):
            os.kill(before, signal.SIGKILL)
        wait_for(lambda: any(pid != before for pid in self.pids(module)), f"another {module}")

    def restart_carrier(self) -> None:
        """Have what carries the traffic end, and start it again."""
        if self.is_ours:
            self.kill("svcdns.server.proxy")
        else:
            self._carrier.close()
            self._run_kube_proxy()

    def kill_all(self) -> None:
        """Kill the server as a whole; it is not started again."""
        self._server.kill()

    def start_again(self) -> None:
        """Start the server on its data."""
        with self.lab.node.entered():
            self._server.start()


def answering(client: socket.socket) -> str:
    """Return who answers a client's UDP flow now: "refused" where nobody may, "" where nobody does soon."""
    usual = client.gettimeout()
    try:
        client.settimeout(0)
        with suppress(OSError):  # what was asked before may have been answered late
            while client.recv(1000):
                pass
        client.settimeout(SILENCE_SECONDS)
        return ask_again(client).who
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return ""
    finally:
        client.settimeout(usual)


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]
