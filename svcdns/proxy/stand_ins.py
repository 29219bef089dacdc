"""Endpoints at loopback addresses, for clients elsewhere: at which address of this host a relay stands in.

    127.0.0.1:8080/TCP   ──▶   192.168.77.1:61234/TCP      for containers and other machines

Rules:

* the host's own processes go to the endpoint itself (`Rule.own`); nobody else can be sent to 127.0.0.0/8 or
  ::1, as no packet from outside may have such a destination;
* a stand-in has the same port after a restart where that can be: rules that stay in the kernel, and clients
  that stay with an endpoint, go on to mean it.  Ports are those that nobody is given as a client;
* an endpoint that can't have a stand-in gets no clients from elsewhere while there are other endpoints; where
  it is alone, they meet silence.

Pure, but for `is_free`, which is given.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from svcdns.cluster.traffic_plan import SCTP, Endpoint, Frontend, Host, Rule

PORTS = range(61_000, 65_536)
"""Above what Linux gives to outgoing connections (ip_local_port_range), and above node ports."""
_TRIES = 64
"""Ports that are tried for one stand-in: beyond that something else is wrong."""
_BOUNDS = {
    4: (Endpoint(bytes((127,)), 0), Endpoint(bytes((128,)), 0)),
    6: (Endpoint(bytes(15) + b"\1", 0), Endpoint(bytes(15) + b"\2", 0)),
}


class Loopback(NamedTuple):
    """An endpoint that only this host's processes get to."""

    protocol: int
    endpoint: Endpoint


def loopback(frontend: Frontend, found: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """Return those of sorted endpoints that are at loopback addresses, without a look at the others."""
    first, end = _BOUNDS[frontend.family]
    return found[bisect_left(found, first) : bisect_left(found, end)]


def all_loopback(frontend: Frontend, rule: Rule) -> set[Loopback]:
    """Return the loopback endpoints of a rule, also those that are leaving: relays carry what is open."""
    if frontend.protocol == SCTP:
        return set()
    found = loopback(frontend, rule.inside.endpoints)
    if rule.outside is not rule.inside:
        found += loopback(frontend, rule.outside.endpoints)
    if rule.leaving:
        found += loopback(frontend, rule.leaving)
    return {Loopback(frontend.protocol, one) for one in found}


class StandIns:
    """Which loopback endpoint has which stand-in."""

    def __init__(self, is_free: Callable[[Frontend], bool]) -> None:
        """`is_free` says whether a relay may listen there."""
        self._is_free = is_free
        self._users: Counter[Loopback] = Counter()
        self.points: dict[Loopback, Frontend] = {}

    @property
    def missing(self) -> int:
        """How many endpoints have none."""
        return len(self._users) - len(self.points)

    def plan(self, users: Counter[Loopback], host: Host) -> dict[Loopback, Frontend]:
        """Return where relays are to stand in, when so many more (or fewer) frontends need each endpoint.

        Who has a stand-in keeps it, where the address is still the host's.
        """
        addresses = {4 if len(one) == 4 else 6: one for one in reversed(host.lasting_addresses)}
        for point in self.points.values():
            if point.address in host.lasting_addresses:
                addresses[point.family] = point.address
        needed = [one for one in {*self._users, *users} if self._users[one] + users[one] > 0]
        known = ((one, self.points[one]) for one in needed if one in self.points)
        chosen = {one: point for one, point in known if point.address == addresses.get(point.family)}
        taken = {*self.points.values()}
        for one in sorted({*needed} - chosen.keys()):
            family = 4 if len(one.endpoint.address) == 4 else 6
            if family in addresses and (found := self._free(one, family, addresses[family], taken)):
                chosen[one] = found
                taken.add(found)
        return chosen

    def accept(self, users: Counter[Loopback], chosen: dict[Loopback, Frontend]) -> None:
        """It was done as planned."""
        self._users += users  # drops those that nobody needs
        self.points = chosen

    def _free(self, one: Loopback, family: int, address: bytes, taken: set[Frontend]) -> Frontend | None:
        first = zlib.crc32(one.endpoint.address + one.endpoint.port.to_bytes(2))
        for step in range(_TRIES):
            port = PORTS[(first + step) % len(PORTS)]
            point = Frontend(family, address, one.protocol, port)
            if point not in taken and self._is_free(point):
                return point
        return None


def carried(frontend: Frontend, rule: Rule, points: Mapping[Loopback, Frontend]) -> Rule:
    """Return a rule as packet rules can carry it."""

    def replaced(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        mine = loopback(frontend, endpoints)
        found = (points.get(Loopback(frontend.protocol, one)) for one in mine)
        others = {*endpoints}.difference(mine) | {Endpoint(one.address, one.port) for one in found if one}
        return tuple(sorted(others or endpoints))

    inside = rule.inside._replace(endpoints=replaced(rule.inside.endpoints))
    outside = rule.outside._replace(endpoints=replaced(rule.outside.endpoints))
    leaving = tuple(sorted({*rule.leaving, *replaced(rule.leaving)}))
    return replace(rule, inside=inside, outside=outside, leaving=leaving, own=rule.inside)
