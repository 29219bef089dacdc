"""Containers that ask svcdns, and what stands around them: a network of their own and an upstream.

Rules: each network is made for the test and has no resolver but the one that its containers are told;
the upstream answers at the network's gateway, which is this machine, so it takes root; nothing
outside this machine is asked.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from container.running_container import Podman
from toolbox.upstreams import HOST, Unbound

OUTSIDE = "www.example.org"
OUTSIDE_ADDRESS = "192.0.2.10"
"""What the upstream knows, among more."""
NO_SUCH_NAME = "no such name"
"""What a program is told of a name that does not exist."""
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

    def __init__(self, where: Network, port: int = 0) -> None:
        """`port` 0: any that is free."""
        super().__init__(tls=False, https=False, recursive=True)
        self._gateway = where.gateway
        self._chosen = port

    @property
    def address(self) -> str:
        """Where it answers, as an upstream is written."""
        return f"{self._gateway}:{self.port}"

    def _configure(self) -> list[str]:
        arguments = super()._configure()
        file = self.folder / "unbound.conf"
        here = f"  interface: {HOST}@{self.port}\n"
        self.port = self._chosen or self.port
        # A bridge has its address only while there are containers on it.
        there = f"  interface: {self._gateway}@{self.port}\n  ip-freebind: yes\n"
        file.write_text(file.read_text().replace(here, there + "  access-control: 0.0.0.0/0 allow\n"))
        return arguments


class Inside:
    """A container in which commands can be run."""

    def __init__(self, podman: Podman, *arguments: str) -> None:
        """`arguments` are those of `podman run`: options, the image, which has python3, and a command."""
        self._podman = podman
        self.name = podman.fresh_name("rm", "--force", "--volumes", "--time", "0")
        podman.run("run", "--detach", "--name", self.name, *arguments)

    def execute(self, *command: str) -> str:
        """Return what a command in the container says; raises AssertionError when it fails."""
        return self._podman.run("exec", self.name, *command)

    def python(self, code: str, *arguments: str) -> Any:
        """Return what Python code in the container prints, which is to be JSON."""
        return json.loads(self.execute("python3", "-c", code, *arguments))

    def look_up(self, *names: str) -> dict[str, tuple[list[str] | str, float]]:
        """Return the addresses of each name, or why there are none, and how many seconds it took."""
        found = self.python(GET_ADDRESSES, *names)
        return {name: (what, seconds) for name, (what, seconds) in found.items()}

    def addresses(self, *names: str) -> dict[str, list[str] | str]:
        """Return the addresses of each name, or why there are none."""
        return {name: what for name, (what, _) in self.look_up(*names).items()}


class Client(Inside):
    """A container that does nothing but wait for commands."""

    def __init__(self, podman: Podman, image: str, *options: str) -> None:
        """`options` are those of `podman run`."""
        super().__init__(podman, *options, "--entrypoint", "sleep", image, "infinity")


def dns_options(address: str) -> Iterator[str]:
    """Yield the options of `podman run` with which a container asks there as a Pod does."""
    yield from ("--dns", address, "--dns-option", "ndots:5")
    for domain in SEARCH:
        yield from ("--dns-search", domain)
