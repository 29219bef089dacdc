"""Two nodes of the lab that share load balancer addresses, a server elsewhere, and who answers on the LAN.

    with Announcing(lab) as site:
        site.start("node"), site.start("second")
        site.who_answers("192.168.77.200")        # {"second"}

The server is on `client`.  Times are shortened: a Lease lasts two seconds.
"""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from proxy.machine import nft, said
from toolbox.builders import pod, service
from toolbox.lab import LB_ADDRESSES, Lab, Machine
from toolbox.running_server import PYTHONPATH, RunningServer
from toolbox.waiting import GUARD_SECONDS, wait_for

from svcdns.cluster.rendezvous import owner
from svcdns.netlink.neighbours import checksum
from svcdns.proxy.cleanup import cleanup

SERVER = """
[api]
insecure = true
[services]
cluster_ip_ranges = ["10.96.0.0/12", "fd96::/108"]
load_balancer_ranges = ["192.168.77.192/26", "fd77::c0/122"]
"""
PROXY = """
data = "{folder}"
[services]
load_balancer_ranges = ["192.168.77.192/26", "fd77::c0/122"]
[proxy]
engine = "nft"
node = "{name}"
announce = ["eth0"]
"""
SHORT = """
import sys
from svcdns.proxy import own_lease
own_lease.TIMES = own_lease.Times(renew=0.3, lifetime=1.0, duration=2)
from svcdns.cli.main import main
sys.argv[0] = "svcdns"
main()
"""
_LISTEN_SECONDS = 0.1
_ARP, _IPV6 = 0x0806, 0x86DD


NODES = ("node", "second")


class Announcing:
    """The server, the proxies of `node` and `second`, and a probe; a context manager."""

    def __init__(self, lab: Lab, *, short: bool = True) -> None:
        """`short`: with shortened times."""
        self.lab = lab
        self._start = ("-c", SHORT) if short else ("-m", "svcdns")
        self.machines = {"node": lab.node, "second": lab.second}
        self.server = RunningServer(workers=1, config=SERVER, arguments=("--api", "192.168.77.9:0"))
        self._folder = TemporaryDirectory(prefix="svcdns-test-")
        self._proxies: dict[str, subprocess.Popen[bytes]] = {}
        self._hardware = {
            said(one, "cat", "/sys/class/net/eth0/address").strip(): name
            for name, one in self.machines.items()
        }

    def __enter__(self) -> Self:
        for network in LB_ADDRESSES:  # it is to ask who has them
            self.lab.client.ip(f"route flush {network}")
        with self.lab.client.entered():
            self.server.start()
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        for name in list(self._proxies):
            self.end(name)
        if kind is not None:
            for log in Path(self._folder.name).glob("*.log"):
                print(f"--- {log.name} ---\n{log.read_text()}", file=sys.stderr)
        self.server.__exit__(kind, *rest)
        for one in self.machines.values():
            with one.entered():
                cleanup()
        self._folder.cleanup()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the API for what it has to do; return what it says."""
        with self.lab.client.entered():
            reply = self.server.request(method, path, body)
        assert reply.status < 300, reply.text
        return reply.json

    def service(self, name: str, **spec: Any) -> list[str]:
        """Register a Service with load balancer addresses; return these."""
        made = service(
            name,
            selector={"app": name},
            ports=[{"port": 80}],
            type="LoadBalancer",
            **spec,
        )
        found = self.request("POST", "/api/v1/namespaces/default/services", made)
        return [one["ip"] for one in found["status"]["loadBalancer"]["ingress"]]

    def pod(self, app: str, host: Machine, node: str) -> None:
        """Register a ready Pod on a host of the lab."""
        made = pod(app, host.addresses[4], app, True, nodeName=node)
        self.request("POST", "/api/v1/namespaces/default/pods", made)

    def reaches(self, address: str, who: str, *, host_sees_client: bool) -> None:
        """Wait until `client` reaches a server; that sees the client's own address, where it has to."""

        def reached() -> bool:
            try:
                answer = self.lab.client.ask("tcp", address, 80, seconds=2)
            except OSError:
                return False
            return answer.who == who and (not host_sees_client or answer.seen == self.lab.client.addresses[4])

        wait_for(reached, f"the client to reach {who} at {address}")

    def start(self, name: str, node: str = "", environ: Mapping[str, str] | None = None) -> None:
        """Start the proxy of a node; `node`: by another one's name; `environ`: more of it."""
        folder = Path(self._folder.name)
        config = folder / f"{name}.toml"
        config.write_text(PROXY.format(folder=folder / name, name=node or name))
        words = [sys.executable, *self._start, "proxy", "--config", str(config), "--server", self.api]
        with self.machines[name].entered(), (folder / f"{name}.log").open("ab") as log:
            environ = {**os.environ, "PYTHONPATH": PYTHONPATH, **(environ or {})}
            self._proxies[name] = subprocess.Popen(words, stdout=log, stderr=log, env=environ)

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End the proxy of a node, and wait for that."""
        process = self._proxies.pop(name)
        process.send_signal(number)
        process.wait(GUARD_SECONDS)

    def ended(self, name: str) -> int:
        """Wait until the proxy of a node ends by itself; return its exit code."""
        return self._proxies.pop(name).wait(GUARD_SECONDS)

    def log(self, name: str) -> str:
        """What the proxy of a node has written."""
        return (Path(self._folder.name) / f"{name}.log").read_text()

    @property
    def api(self) -> str:
        """URL of the API."""
        return self.server.api

    def cut_off(self, name: str) -> None:
        """Keep a node from the API."""
        port = self.api.rpartition(":")[2]
        nft(
            self.machines[name],
            f"table inet cut {{ chain out {{ type filter hook output priority 0; tcp dport {port} drop\n}}\n"
            f"chain in {{ type filter hook input priority 0; tcp sport {port} drop\n}}\n}}\n",
        )

    def join_again(self, name: str) -> None:
        """Let it reach the API."""
        nft(self.machines[name], "delete table inet cut\n")

    def status(self, name: str) -> str:
        """What `svcdns proxy status` says on a node."""
        command = self.machines[name].command(sys.executable, "-m", "svcdns", "proxy", "status")
        environ = {**os.environ, "PYTHONPATH": PYTHONPATH}
        return subprocess.run(command, capture_output=True, text=True, env=environ).stdout

    def who_answers(self, address: str) -> set[str]:
        """Ask the LAN for an address, and return the nodes that say that they have it."""
        return {self._hardware[one] for one in asked(self.lab.client, address)}

    @contextlib.contextmanager
    def never_two(self, addresses: list[str]) -> Any:
        """Ask all the time meanwhile, and see that never two answer."""
        done, two = threading.Event(), []

        def probe() -> None:
            while not done.is_set():
                for one in addresses:
                    asked_at = time.monotonic()
                    if len(who := self.who_answers(one)) > 1:
                        two.append((one, who, time.monotonic(), asked_at))

        thread = threading.Thread(target=probe)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
        assert two == [], two


def shares(addresses: list[str], nodes: tuple[str, ...] = NODES) -> dict[str, set[str]]:
    """Return who is to answer for each."""
    return {one: {owner(ip_address(one).packed, nodes)} for one in addresses}


def answered(site: Announcing, wanted: dict[str, set[str]]) -> None:
    """Wait until each address is answered for by whom it is to be."""
    wait_for(lambda: {one: site.who_answers(one) for one in wanted} == wanted, f"{wanted}")


def asked(client: Machine, address: str) -> set[str]:
    """Return the hardware addresses that a question for an address (ARP, NDP) is answered with.

    Each question has a hardware address of its own to be answered at: answers to others don't count.
    """
    own = b"\x02" + os.urandom(5)
    with client.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as probe:
        probe.bind(("eth0", 3))
        wanted = ip_address(address)
        if isinstance(wanted, IPv6Address):
            frame = _solicitation(own, ip_address("fd77::99").packed, wanted.packed)
        else:
            sender = ip_address("192.168.77.99").packed
            frame = b"\xff" * 6 + own + struct.pack("!HHHBBH", _ARP, 1, 0x0800, 6, 4, 1)
            frame += own + sender + bytes(6) + wanted.packed
        probe.send(frame)
        found, end = set(), time.monotonic() + _LISTEN_SECONDS
        while (left := end - time.monotonic()) > 0:
            probe.settimeout(left)
            try:
                got = probe.recv(2000)
            except TimeoutError:
                break
            if _is_answer(got, wanted.packed) and got[:6] == own:
                found.add(":".join(f"{one:02x}" for one in got[6:12]))
        return found


def _is_answer(frame: bytes, address: bytes) -> bool:
    kind = int.from_bytes(frame[12:14])
    if len(address) == 4:
        return kind == _ARP and frame[20:22] == b"\0\2" and frame[28:32] == address
    return kind == _IPV6 and frame[20] == 58 and frame[54] == 136 and frame[62:78] == address


def _solicitation(own: bytes, source: bytes, target: bytes) -> bytes:
    group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
    body = struct.pack("!BBHI", 135, 0, 0, 0) + target + b"\1\1" + own
    sum_ = checksum(source + group + struct.pack("!IxxxB", len(body), 58) + body)
    body = body[:2] + struct.pack("!H", sum_) + body[4:]
    ip = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + group
    return b"\x33\x33" + group[12:] + own + struct.pack("!H", _IPV6) + ip + body
