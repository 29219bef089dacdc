"""Which endpoint a client gets: inside or outside, who is let in, affinity, chance.  No I/O; time is given.

Rules:

* a client is inside when its address is one that only this host can have, or lies in a network behind it
  (`Host.local_networks`); what a process of this host dials from is the listener's own address, a loopback
  address, or one of the node's;
* where loadBalancerSourceRanges let one of the node's own addresses in, they let in the host itself;
* a client keeps its endpoint for as long as `affinity_seconds` after its last connection, while that is one
  of its endpoints; an endpoint that does not take the connection gives way to another;
* at most CLIENTS are remembered for a frontend, those of the newest connections.
"""

from __future__ import annotations

import random
import socket
from collections import OrderedDict
from collections.abc import Collection, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from svcdns.cluster.traffic_plan import Destination, Host, Rule, WhenEmpty

CLIENTS = 65_536

Network = IPv4Network | IPv6Network


class Target(NamedTuple):
    """An endpoint as a socket is told of it."""

    family: int
    address: tuple[str, int]


class Side:
    """A destination as the relay uses it."""

    __slots__ = ("members", "targets", "when_empty")

    def __init__(self, destination: Destination) -> None:
        """Write its addresses as text, once."""
        self.targets = tuple(
            Target(family, (socket.inet_ntop(family, one.address), one.port))
            for one in destination.endpoints
            for family in (socket.AF_INET6 if len(one.address) == 16 else socket.AF_INET,)
        )
        self.members = frozenset(self.targets)
        self.when_empty = destination.when_empty


class ClientTest(NamedTuple):
    """What a client's address must fulfil, else it meets silence: to be in these networks, or not."""

    networks: tuple[Network, ...]
    wanted: bool


class Picker:
    """The rule of one frontend, as it is now, and the clients that stay with an endpoint."""

    def __init__(self, rule: Rule, host: Host) -> None:
        """Begin without any client."""
        self._clients: OrderedDict[str, tuple[Target, float]] = OrderedDict()
        self.change(rule, host)

    def change(self, rule: Rule, host: Host) -> None:
        """Go by this rule, on this host, from now on."""
        self.rule = rule
        self._inside = Side(rule.inside)
        self._outside = self._inside if rule.outside == rule.inside else Side(rule.outside)
        own = [ip_network(address) for address in host.node_addresses]
        loopback: list[Network] = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
        self._here: tuple[Network, ...] = (*loopback, *own, *host.ranges)
        """Where only this host's own processes have addresses, besides the listener's."""
        self._behind = (*self._here, *host.local_networks)
        ranges = rule.source_ranges
        self._lets_host_in = ranges is not None and any(
            _within(ip_address(address), ranges) for address in host.node_addresses
        )
        self._is_plain = self._outside is self._inside and ranges is None
        if not rule.affinity_seconds:
            self._clients.clear()

    @property
    def sides(self) -> tuple[Side, Side]:
        """What those inside and those outside get."""
        return self._inside, self._outside

    @property
    def refuses_all(self) -> bool:
        """Whether nobody is to be carried, and all are to be told so."""
        return all(not side.targets and side.when_empty is WhenEmpty.REFUSE for side in self.sides)

    def silent_to(self, own: str) -> list[ClientTest]:
        """Return the tests that clients of a listener at `own` must pass to be heard; [] where all are."""
        here = (*self._here, ip_network(own))
        if self.rule.source_ranges is not None:
            let_in = (*self.rule.source_ranges, *(here if self._lets_host_in else ()))
            return [ClientTest(let_in, True), *self._silent_sides(here)]
        return list(self._silent_sides(here))

    def _silent_sides(self, here: tuple[Network, ...]) -> Iterator[ClientTest]:
        behind = (*here, *self._behind)
        for side, wanted in ((self._inside, False), (self._outside, True)):
            if not side.targets and side.when_empty is WhenEmpty.DROP:
                yield ClientTest(tuple(dict.fromkeys(behind)), wanted)

    def side(self, client: str, own: str) -> Side | None:
        """Return what a client of the listener at `own` gets; None where it is not let in."""
        if self._is_plain:
            return self._inside
        address = ip_address(client.partition("%")[0])
        here = client == own or _within(address, self._here)
        ranges = self.rule.source_ranges
        if ranges is not None and not _within(address, ranges) and not (here and self._lets_host_in):
            return None
        return self._inside if here or _within(address, self._behind) else self._outside

    def first(self, side: Side, client: str, now: float) -> Target:
        """Return where a client goes; the side has targets."""
        if self.rule.affinity_seconds and (kept := self._clients.get(client)):
            target, until = kept
            if now < until and target in side.members:
                return target
        return side.targets[int(random.random() * len(side.targets))]

    def other(self, side: Side, tried: Collection[Target]) -> Target | None:
        """Return one that was not tried yet; None where there is none."""
        left = [target for target in side.targets if target not in tried]
        return random.choice(left) if left else None

    def taken(self, client: str, target: Target, now: float) -> None:
        """Remember who went where, where that matters."""
        if seconds := self.rule.affinity_seconds:
            self._clients[client] = target, now + seconds
            self._clients.move_to_end(client)
            while len(self._clients) > CLIENTS or next(iter(self._clients.values()))[1] <= now:
                self._clients.popitem(last=False)


def _within(address: object, networks: Collection[Network]) -> bool:
    return any(address in network for network in networks)
