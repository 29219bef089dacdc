"""A relay in front of servers of this process, all on loopback addresses."""

import itertools
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Self

from toolbox.lab import Server, Servers

from svcdns.cluster.traffic_plan import TCP, Destination, Endpoint, Frontend, Host, Rule, WhenEmpty
from svcdns.proxy.relay import Relay

KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_numbers = itertools.count(1)


def rule(*endpoints: Endpoint, when_empty: WhenEmpty = WhenEmpty.REFUSE, affinity_seconds: int = 0) -> Rule:
    """Return a rule that is the same inside and outside."""
    destination = Destination(tuple(sorted(endpoints)), when_empty)
    return Rule("default/web", destination, destination, affinity_seconds)


def text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6 if len(address) == 16 else socket.AF_INET, address)


class Relaying:
    """Servers, a relay, and clients; a context manager."""

    def __init__(self, open_files: int = 0) -> None:
        self.relay = Relay(open_files)
        self._servers = Servers()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.relay.close()
        self._servers.close()

    def server(self, who: str, protocol: str = "tcp", family: int = 4) -> tuple[Server, Endpoint]:
        """Start a server that says who it is; return it, and the endpoint that it is."""
        made = listening(protocol, family)
        port = made.getsockname()[1]
        return self._servers.add(who, made), Endpoint(loopback(family), port)

    def endpoints(self, names: Sequence[str], protocol: str = "tcp", family: int = 4) -> list[Endpoint]:
        """Start servers; return their endpoints."""
        return [self.server(name, protocol, family)[1] for name in names]

    def serve(self, rule: Rule, protocol: int = TCP, family: int = 4) -> Frontend:
        """Have a frontend of its own address carry connections by a rule."""
        frontend = free_frontend(protocol, family)
        self.relay.apply({frontend: rule}, Host())
        return frontend

    def apply(self, changed: Mapping[Frontend, Rule | None]) -> None:
        self.relay.apply(changed)


def loopback(family: int) -> bytes:
    return bytes((127, 0, 0, 1)) if family == 4 else bytes(15) + b"\1"


def listening(protocol: str, family: int = 4) -> socket.socket:
    """Return a socket at a port of loopback that the kernel chose."""
    made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, KINDS[protocol])
    made.bind((text(loopback(family)), 0))
    if protocol == "tcp":
        made.listen(16)
    return made


def free_frontend(protocol: int = TCP, family: int = 4) -> Frontend:
    """Return one that can be bound: an address that no other test has, and a port that is free there."""
    number = next(_numbers)
    address = bytes((127, 100 + os.getpid() % 100, number // 250, number % 250 + 1))
    if family == 6:
        address = loopback(6)
    kind = socket.SOCK_STREAM if protocol == TCP else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, kind) as probe:
        probe.bind((text(address), 0))
        port = probe.getsockname()[1]
    return Frontend(family, address, protocol, port)


def connect(frontend: Frontend, seconds: float = 30) -> socket.socket:
    """Return a client's socket, connected."""
    kind = socket.SOCK_STREAM if frontend.protocol == TCP else socket.SOCK_DGRAM
    made = socket.socket(socket.AF_INET6 if frontend.family == 6 else socket.AF_INET, kind)
    made.settimeout(seconds)
    try:
        made.connect((text(frontend.address), frontend.port))
    except BaseException:
        made.close()
        raise
    return made
