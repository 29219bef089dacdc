"""Containers that ask svcdns, and what stands around them: a network of their own and an upstream.

Rules: each network is made for the test and has no resolver but the one that its containers are told;
the upstream answers at the network's gateway, which is this machine, so it takes root; nothing
outside this machine is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from running_container import Podman
from upstreams import HOST, Unbound

OUTSIDE = "www.example.org"
OUTSIDE_ADDRESS = "192.0.2.10"
"""What the upstream knows, among more."""
SEARCH = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")

GET_ADDRESSES = """
import json, socket, sys, time

def look_up(name):
    try:
        return sorted({found[4][0] for found in socket.getaddrinfo(name, None, socket.AF_INET)})
    except socket.gaierror as failed:
        known = {socket.EAI_NONAME: "no such name", socket.EAI_AGAIN: "try again"}
        return known.get(failed.errno, str(failed))

def timed(name):
    began = time.monotonic()
    return look_up(name), time.monotonic() - began

print(json.dumps({name: timed(name) for name in sys.argv[1:]}))
"""
"""Python for a container: what its C library's getaddrinfo says to each name, and for how many seconds."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network of containers; this machine is its gateway."""

    name: str
    gateway: str
    server: str
    """An address that no container is given by itself."""


def network(podman: Podman) -> Network:
    """Make a network without a resolver of its own."""
    name = podman.network()
    subnet = json.loads(podman.run("network", "inspect", name))[0]["subnets"][0]
    return Network(name, subnet["gateway"], str(ip_network(subnet["subnet"])[53]))


class Upstream(Unbound):
    """unbound on this machine's address in a network of containers."""

    def __init__(self, where: Network) -> None:
        super().__init__(tls=False, https=False, recursive=True)
        self._gateway = where.gateway

    @property
    def address(self) -> str:
        """Where it answers, as an upstream is written."""
        return f"{self._gateway}:{self.port}"

    def _configure(self) -> list[str]:
        arguments = super()._configure()
        file = self.folder / "unbound.conf"
        here = f"  interface: {HOST}@"
        # A bridge has its address only while there are containers on it.
        there = f"  ip-freebind: yes\n  access-control: 0.0.0.0/0 allow\n  interface: {self._gateway}@"
        file.write_text(file.read_text().replace(here, there))
        return arguments


class Client:
    """A container that waits for commands."""

    def __init__(self, podman: Podman, image: str, *options: str) -> None:
        """`options` are those of `podman run`; the image has python3."""
        self._podman = podman
        self.name = podman.fresh_name("rm", "--force", "--time", "0")
        sleep = ("--entrypoint", "sleep", image, "infinity")
        podman.run("run", "--detach", "--name", self.name, *options, *sleep)

    def execute(self, *command: str) -> str:
        """Return what a command in the container says; raises AssertionError when it fails."""
        return self._podman.run("exec", self.name, *command)

    def python(self, code: str, *arguments: str) -> Any:
        """Return what Python code in the container prints, which is to be JSON."""
        return json.loads(self.execute("python3", "-c", code, *arguments))

    def addresses(self, *names: str) -> dict[str, tuple[list[str] | str, float]]:
        """Return the addresses of each name, or why there are none, and how many seconds it took."""
        found = self.python(GET_ADDRESSES, *names)
        return {name: (what, seconds) for name, (what, seconds) in found.items()}


def dns_options(address: str) -> Iterator[str]:
    """Yield the options of `podman run` with which a container asks there as a Pod does."""
    yield from ("--dns", address, "--dns-option", "ndots:5")
    for domain in SEARCH:
        yield from ("--dns-search", domain)
