"""What stands in the kernel engine's table of one family, and what a change of frontends makes of it.  Pure.

`Contents.plan` says what to do and changes nothing; `Contents.accept` is told when the kernel has done it.

Rules:

* work is as large as the change: a flip of one endpoint is one to three elements, whatever the Service has;
* what several frontends share (an address, an endpoint, the chain for N endpoints) is counted, and goes with
  the last of them;
* a frontend with session affinity has a chain and, for each port of its endpoints, a map of clients, made by
  packets; who was sent to an endpoint that left is taken out of it (`Operations.swept`).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import NamedTuple

from svcdns.cluster.traffic_plan import NODE as NODE_ADDRESS
from svcdns.cluster.traffic_plan import Destination, Endpoint, Frontend, Host, Rule, WhenEmpty
from svcdns.netlink import nft_statements as say
from svcdns.netlink.nft_statements import Rule as TableRule
from svcdns.netlink.nft_types import PROTOCOL, Set
from svcdns.proxy.kernel_rules import (
    NODE,
    NODE_OUTSIDE,
    REFUSE,
    STICKY_CLIENTS,
    VIP,
    VIP_OUTSIDE,
    Layout,
    Way,
)
from svcdns.proxy.kernel_slots import Endpoints, differences, reorder

Network = IPv4Network | IPv6Network
Value = str | bytes
"""Of an element: octets as registers hold them (none: it is a set), or a verdict as nft writes it."""
Key = bytes | tuple[bytes, bytes]
"""Of an element: octets as registers hold them, or from where to where."""
_KEPT = 32
"""Chains for so few endpoints stay once they are made: a frontend's endpoints come and go all the time."""
_SLOT = struct.Struct("=I")
_PAD_3, _PAD_2 = b"\0\0\0", b"\0\0"


@dataclass(slots=True)
class Operations:
    """What to do, in this order."""

    sets: list[Set] = field(default_factory=list)
    """To make where they aren't there."""
    chains: dict[str, tuple[TableRule, ...]] = field(default_factory=dict)
    """To have exactly these rules."""
    emptied: list[str] = field(default_factory=list)
    """Sets to take all elements from."""
    removed: dict[str, list[Key]] = field(default_factory=dict)
    added: dict[str, list[tuple[Key, Value]]] = field(default_factory=dict)
    gone_chains: list[str] = field(default_factory=list)
    gone_sets: list[str] = field(default_factory=list)
    swept: dict[str, frozenset[bytes]] = field(default_factory=dict)
    """Maps of clients, and the endpoints' addresses that may stay in them: done last, packets fill them."""

    def add(self, name: str, key: Key, value: Value = b"") -> None:
        """Add an element."""
        self.added.setdefault(name, []).append((key, value))

    def remove(self, name: str, key: Key) -> None:
        """Take an element out."""
        self.removed.setdefault(name, []).append(key)


class Pool(NamedTuple):
    """The endpoints of a frontend on one way, as the table has them."""

    endpoints: Endpoints
    slots: Endpoints
    """The same, in the order of their slots."""
    when_empty: WhenEmpty
    sticky_seconds: int


class Held(NamedTuple):
    """A frontend as the table has it."""

    rule: Rule
    inside: Pool
    outside: Pool | None
    """None: outside clients are treated as inside ones."""


class Shared(NamedTuple):
    """Something that several frontends need: an element of a set, or the chain for so many endpoints."""

    name: str
    key: bytes
    way: Way | None = None
    endpoints: int = 0


class Plan(NamedTuple):
    """What to do, and what the contents are afterwards."""

    operations: Operations
    held: dict[Frontend, Held | None]
    shared: Counter[Shared]
    host: Host


class Contents:
    """What stands in the table of one family."""

    def __init__(self, layout: Layout) -> None:
        """Begin with nothing."""
        self.layout = layout
        self.held: dict[Frontend, Held] = {}
        self.shared: Counter[Shared] = Counter()
        self.host = Host()
        self.sizes: Counter[str] = Counter()
        """How many elements each set has, but those that packets add."""

    def plan(self, changed: Mapping[Frontend, Rule | None], host: Host | None = None) -> Plan:
        """Return what to do for these frontends (None: gone) and this host (None: as it is)."""
        plan = Plan(Operations(), {}, Counter(), host or self.host)
        for frontend, rule in changed.items():
            old = self.held.get(frontend)
            if old is not None or rule is not None:
                _Change(self.layout, plan, frontend, old).to(rule)
        self._count(plan)
        if host is not None:
            self._change_host(plan.operations, host)
        return plan

    def accept(self, plan: Plan) -> None:
        """The kernel has done what the plan says."""
        for frontend, held in plan.held.items():
            if held is None:
                self.held.pop(frontend, None)
            else:
                self.held[frontend] = held
        for one, more in plan.shared.items():
            self.shared[one] += more
            if not self.shared[one]:
                del self.shared[one]
        self.host = plan.host
        for name in plan.operations.emptied:
            del self.sizes[name]
        for name, keys in plan.operations.removed.items():
            self.sizes[name] -= len(keys)
        for name, pairs in plan.operations.added.items():
            self.sizes[name] += len(pairs)

    def _count(self, plan: Plan) -> None:
        for one, more in plan.shared.items():
            before = self.shared[one]
            if not before and more > 0:
                if one.way is not None:
                    plan.operations.chains[one.name] = self.layout.any_of(one.way, one.endpoints)
                    plan.shared[one] += one.endpoints <= _KEPT  # as if one more frontend needed it
                else:
                    plan.operations.add(one.name, one.key)
            elif before and before + more == 0:
                if one.way is not None:
                    plan.operations.gone_chains.append(one.name)
                else:
                    plan.operations.remove(one.name, one.key)

    def _change_host(self, operations: Operations, host: Host) -> None:
        for name in ("local_networks", "ranges", "same_networks"):
            before, now = self._networks(getattr(self.host, name)), self._networks(getattr(host, name))
            if before == now:
                continue
            operations.emptied.append(name)
            for network in now:
                first, last = _ends(network)
                twice = name == "same_networks"
                operations.add(name, (first + first, last + last) if twice else (first, last))
        before_addresses = self._addresses(self.host)
        now_addresses = self._addresses(host)
        for address in before_addresses - now_addresses:
            operations.remove("node_addresses", address)
        for address in sorted(now_addresses - before_addresses):
            operations.add("node_addresses", address)

    def _networks(self, networks: Iterable[Network]) -> list[Network]:
        return collapsed(networks, self.layout.family.address.octets)

    def _addresses(self, host: Host) -> set[bytes]:
        octets = self.layout.family.address.octets
        return {address for address in host.node_addresses if len(address) == octets}


class _Change:
    """One frontend on its way from what it was to what it is to be."""

    def __init__(self, layout: Layout, plan: Plan, frontend: Frontend, old: Held | None) -> None:
        self._layout = layout
        self._plan = plan
        self._operations = plan.operations
        self._frontend = frontend
        self._old = old
        node_port = frontend.address == NODE_ADDRESS
        self._ways = (NODE, NODE_OUTSIDE) if node_port else (VIP, VIP_OUTSIDE)
        self._key = frontend_key(frontend)

    def to(self, rule: Rule | None) -> None:
        """Plan the way."""
        old = self._old
        own_outside = rule.outside if rule and rule.outside != rule.inside else None
        inside = self._pool(self._ways[0], old and old.inside, rule.inside if rule else None, rule)
        outside = self._pool(self._ways[1], old and old.outside, own_outside, rule)
        new = Held(rule, inside, outside) if rule and inside else None
        self._change_elements(self._elements(old), self._elements(new))
        self._change_presence(old, new)
        self._plan.held[self._frontend] = new

    def _pool(self, way: Way, old: Pool | None, wanted: Destination | None, rule: Rule | None) -> Pool | None:
        """Plan the endpoints of one way: those that stay keep their slots, but the last ones."""
        was: Endpoints = old.endpoints if old else ()
        now: Endpoints = wanted.endpoints if wanted else ()
        left, came = differences(was, now)
        slots, moved = reorder(old.slots if old else (), left, came)
        new = Pool(now, slots, wanted.when_empty, rule.affinity_seconds) if wanted and rule else None
        self._move(way, len(was), moved)
        self._change_stickiness(way, old, new, left, came)
        protocol = bytes((self._frontend.protocol,)) + _PAD_3
        for more, endpoints in ((-1, left), (1, came)):
            for endpoint in endpoints:
                key = endpoint.address + protocol + endpoint.port.to_bytes(2) + _PAD_2
                self._plan.shared[Shared("endpoints", key)] += more
        for more, size in ((-1, len(was)), (1, len(now))):
            if size and len(was) != len(now):
                self._plan.shared[Shared(way.any_of(size), b"", way, size)] += more
        return new

    def _move(self, way: Way, before: int, moved: Mapping[int, Endpoint | None]) -> None:
        name = way.slots
        for slot, endpoint in moved.items():
            key = self._key + slot_number(slot)
            if slot < before:
                self._operations.remove(name, key)
            if endpoint is not None:
                self._operations.add(name, key, endpoint_value(endpoint))

    def _change_stickiness(
        self, way: Way, old: Pool | None, new: Pool | None, left: list[Endpoint], came: list[Endpoint]
    ) -> None:
        was = old if old and old.sticky_seconds else None
        now = new if new and new.sticky_seconds else None
        if was is None and now is None:
            return
        if was is None or now is None:
            left, came = list(was.endpoints if was else ()), list(now.endpoints if now else ())
        for endpoint in left:
            self._operations.remove(way.sticky, self._key + endpoint_value(endpoint))
        for endpoint in came:
            self._operations.add(
                way.sticky, self._key + endpoint_value(endpoint), f"goto {self._memory(way, endpoint.port)}"
            )
        self._change_memories(way, was, now)
        if now and (left or was is None):  # a map that is new to us may stand there since before a restart
            for port in _ports(now):
                self._operations.swept[self._clients(way, port)] = frozenset(
                    endpoint.address for endpoint in now.endpoints if endpoint.port == port
                )

    def _change_memories(self, way: Way, was: Pool | None, now: Pool | None) -> None:
        """Have the chains and maps of a frontend with affinity, one of each for a port of its endpoints."""
        before, after = _ports(was), _ports(now)
        seconds_same = was is not None and now is not None and was.sticky_seconds == now.sticky_seconds
        if before == after and seconds_same:
            return
        family = self._layout.family
        for port in sorted(after) if now else ():
            name = self._clients(way, port)
            if port not in before:
                self._operations.sets.append(
                    Set(name, (family.address,), (family.address,), size=STICKY_CLIENTS)
                )
            if now and (port not in before or not seconds_same):
                remembered = say.remember(family.source, family.destination, name, now.sticky_seconds)
                self._operations.chains[self._memory(way, port)] = ((remembered,),)
        if after:
            self._operations.chains[self._unit(way)] = self._sticky_rules(way, sorted(after))
        elif before:
            self._operations.gone_chains.append(self._unit(way))
        for port in sorted(before - after):
            self._operations.gone_chains.append(self._memory(way, port))
            self._operations.gone_sets.append(self._clients(way, port))

    def _sticky_rules(self, way: Way, ports: list[int]) -> tuple[TableRule, ...]:
        """Send a client where it was before; a new one, or one whose endpoint left, anywhere."""
        family, protocol = self._layout.family, say.protocol(self._frontend.protocol)
        known = (
            (protocol, say.to_value_at(family, (family.source,), self._clients(way, port), port))
            for port in ports
        )
        return (*known, (say.verdict_of(self._layout.key(way), way.spread),))

    def _elements(self, held: Held | None) -> dict[tuple[str, Key], Value]:
        """Return the elements of a frontend that don't grow with its endpoints."""
        if held is None:
            return {}
        found: dict[tuple[str, Key], Value] = {}
        inside_way, outside_way = self._ways
        self._add_pool(found, inside_way, held.inside)
        if held.outside is not None:
            self._add_pool(found, outside_way, held.outside)
            if held.outside.endpoints and not held.inside.endpoints:
                found[outside_way.stopped, self._key] = "return"
        if held.rule.source_ranges is not None:
            found[f"{inside_way.name}_guarded", self._key] = b""
            for network in collapsed(held.rule.source_ranges, self._layout.family.address.octets):
                first, last = _ends(network)
                found[f"{inside_way.name}_allowed", (self._key + first, self._key + last)] = b""
        return found

    def _add_pool(self, found: dict[tuple[str, Key], Value], way: Way, pool: Pool) -> None:
        if not pool.endpoints:
            refuse = pool.when_empty is WhenEmpty.REFUSE
            found[way.stopped, self._key] = f"goto {REFUSE}" if refuse else "drop"
            return
        pick = f"goto {way.any_of(len(pool.endpoints))}"
        if pool.sticky_seconds:
            found[way.frontends, self._key] = f"goto {self._unit(way)}"
            found[way.spread, self._key] = pick
        else:
            found[way.frontends, self._key] = pick

    def _change_elements(self, old: dict[tuple[str, Key], Value], new: dict[tuple[str, Key], Value]) -> None:
        for place, value in old.items():
            if new.get(place) != value:
                self._operations.remove(*place)
        for place, value in new.items():
            if old.get(place) != value:
                self._operations.add(*place, value)

    def _change_presence(self, old: Held | None, new: Held | None) -> None:
        if (old is None) == (new is None):
            return
        more = 1 if new else -1
        if self._frontend.address == NODE_ADDRESS:
            self._plan.shared[Shared("node_ports", self._key)] += more
        else:
            self._plan.shared[Shared("vips", self._frontend.address)] += more

    def _unit(self, way: Way) -> str:
        return unit_name(self._layout, way, self._frontend)

    def _memory(self, way: Way, port: int) -> str:
        return f"{self._unit(way)}-to-{port}"

    def _clients(self, way: Way, port: int) -> str:
        return f"{self._unit(way)}-clients-{port}"


def unit_name(layout: Layout, way: Way, frontend: Frontend) -> str:
    """Return the name of a frontend's chain; nft allows letters, digits, `.`, `_` and `-`."""
    address = layout.family.address.show(frontend.address).replace(":", "_") + "-" if frontend.address else ""
    return f"{way.name}-{address}{PROTOCOL.show(bytes((frontend.protocol,)))}-{frontend.port}"


def frontend_key(frontend: Frontend) -> bytes:
    """Return a frontend as registers hold it; a node port is without its address."""
    protocol = bytes((frontend.protocol,)) + _PAD_3
    return frontend.address + protocol + frontend.port.to_bytes(2) + _PAD_2


def endpoint_value(endpoint: Endpoint) -> bytes:
    """Return an endpoint as registers hold it."""
    return endpoint.address + endpoint.port.to_bytes(2) + _PAD_2


def slot_number(slot: int) -> bytes:
    """Return a slot as `numgen` gives it: in the machine's order."""
    return _SLOT.pack(slot)


def collapsed(networks: Iterable[Network], octets: int) -> list[Network]:
    """Return the networks of one family (4 or 16 octets), none within another, sorted."""
    version = 4 if octets == 4 else 6
    mine = [network for network in networks if network.version == version]
    return sorted(collapse_addresses(mine), key=lambda network: network.network_address.packed)  # type: ignore[type-var]


def _ends(network: Network) -> tuple[bytes, bytes]:
    return network.network_address.packed, network.broadcast_address.packed


def _ports(pool: Pool | None) -> frozenset[int]:
    return frozenset(endpoint.port for endpoint in pool.endpoints) if pool else frozenset()
