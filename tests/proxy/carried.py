"""A node of the lab with an engine of the kernel, and Services told to it in few words.

with carried(lab) as node:
    node.has("10.96.0.10", endpoints=[lab.a1, lab.b1])
    lab.client.ask("tcp", "10.96.0.10", 80)
"""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from itertools import product

from toolbox.lab import LB_ADDRESSES, SERVICES, Lab, Machine

from svcdns.cluster.traffic_plan import (
    NODE,
    SCTP,
    TCP,
    UDP,
    Destination,
    Endpoint,
    Frontend,
    Host,
    Rule,
    WhenEmpty,
)
from svcdns.netlink import conntrack, wire
from svcdns.proxy.kernel import KernelEngine, clean_up

PORT = 8080
"""Where containers of the lab serve."""
PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
ADDRESSES = {
    4: {"cluster": "10.96.0.10", "other": "10.96.0.20", "free": "10.96.7.7", "lb": "192.168.77.200"},
    6: {"cluster": "fd96::10", "other": "fd96::20", "free": "fd96::7:7", "lb": "fd77::c8"},
}
"""Addresses of Services, by family."""

NODE_OF_THE_LAB = Host(
    node_addresses=tuple(ip_address(one).packed for one in ("192.168.77.1", "fd77::1")),
    local_networks=tuple(map(ip_network, ("10.244.0.0/24", "10.245.0.0/24", "fd44::/64", "fd45::/64"))),
    same_networks=tuple(
        map(
            ip_network,
            ("10.244.0.0/24", "10.245.0.0/24", "fd44::/64", "fd45::/64", "192.168.77.0/24", "fd77::/64"),
        )
    ),
    ranges=tuple(map(ip_network, (*SERVICES, *LB_ADDRESSES))),
)


def frontend(address: str, port: int = 80, protocol: str = "tcp", family: int = 0) -> Frontend:
    """Return a frontend; a node port is one without an address, but with a family."""
    octets = ip_address(address).packed if address else NODE
    return Frontend(family or (4 if len(octets) == 4 else 6), octets, PROTOCOLS[protocol], port)


def destination(
    endpoints: Sequence[Machine | tuple[str, int]], family: int, when_empty: WhenEmpty = WhenEmpty.REFUSE
) -> Destination:
    """Return containers (at PORT), or addresses and ports, as endpoints."""
    found = [
        Endpoint(ip_address(one.addresses[family]).packed, PORT)
        if isinstance(one, Machine)
        else Endpoint(ip_address(one[0]).packed, one[1])
        for one in endpoints
    ]
    return Destination(tuple(sorted(found)), when_empty)


def rule(
    family: int,
    endpoints: Sequence[Machine | tuple[str, int]],
    outside: Sequence[Machine | tuple[str, int]] | None = None,
    when_empty: WhenEmpty = WhenEmpty.REFUSE,
    affinity: int = 0,
    source_ranges: Sequence[str] | None = None,
) -> Rule:
    """Return a rule; `outside`: other endpoints for clients elsewhere, dropped where there are none."""
    inside = destination(endpoints, family, when_empty)
    return Rule(
        "default/web",
        inside,
        inside if outside is None else destination(outside, family, WhenEmpty.DROP),
        affinity,
        None if source_ranges is None else tuple(map(ip_network, source_ranges)),
    )


class CarriedNode:
    """The lab's node, and an engine there."""

    def __init__(self, lab: Lab) -> None:
        """Make the engine: its socket stays in the namespace that it was made in."""
        self.lab = lab
        with lab.node.entered():
            self.engine = KernelEngine()
        self.engine.replace({}, NODE_OF_THE_LAB)

    def has(
        self, address: str, *, port: int = 80, protocol: str = "tcp", family: int = 0, **said: object
    ) -> None:
        """Have one frontend with a `rule`."""
        one = frontend(address, port, protocol, family)
        self.engine.apply({one: rule(one.family, **said)})  # type: ignore[arg-type]

    def has_no(self, address: str, *, port: int = 80, protocol: str = "tcp", family: int = 0) -> None:
        """Have a frontend no more."""
        self.engine.apply({frontend(address, port, protocol, family): None})

    def replace(self, rules: Mapping[Frontend, Rule]) -> None:
        """Have exactly these rules."""
        self.engine.replace(rules, NODE_OF_THE_LAB)

    def restart(self) -> None:
        """End the engine, and begin a new one on what it left."""
        self.engine.close()
        with self.lab.node.entered():
            self.engine = KernelEngine()


def who_answers(ask: Callable[[], str], times: int = 40) -> set[str]:
    """Return all who answered."""
    return {ask() for _ in range(times)}


@contextmanager
def carried(lab: Lab) -> Iterator[CarriedNode]:
    """Make the node; routes to the ranges, rules and sockets end with it."""
    routes = [f"{network} dev lo" for network in (*SERVICES, *LB_ADDRESSES)]
    lab.node.ip(*(f"route add {route}" for route in routes))
    _forget_flows(lab)
    node = CarriedNode(lab)
    try:
        yield node
    finally:
        node.engine.close()
        with lab.node.entered():
            clean_up()
        lab.node.ip(*(f"route del {route}" for route in routes))


def _forget_flows(lab: Lab) -> None:
    """Forget the UDP flows of tests before: a client that gets the same port would be on one of them."""
    with lab.node.entered(), wire.Socket(wire.NETFILTER) as kernel:
        for family in (socket.AF_INET, socket.AF_INET6):
            conntrack.delete(kernel, list(conntrack.flows(kernel, family, UDP)))


def each_family_and_protocol() -> list[tuple[int, str]]:
    """Return what a behaviour is looked at with."""
    return list(product((4, 6), ("tcp", "udp")))
