"""The kernel engine's table: its sets, maps and rules.  None of them changes with a Service; elements do.

One table a family, `svcdns`.  A frontend is found in a map, by (address, protocol, port), and a node port by
(protocol, port) where the packet goes to one of the node's addresses.  The map leads to the chain `..._any_N`
for frontends with N endpoints: a random number below N completes the key of the map of slots, which gives
address and port.  So a change of a Service is a change of a few elements.

Order in a packet's way: at priority -110 what must not be carried is refused or dropped; at -101 the first
packet of a connection is sent to an endpoint; at -90 what was not, though it goes to an address of our
ranges, is refused or dropped (a ClusterIP never leaves the host as it is), and clients with affinity are
remembered; at 99 (postrouting) the source is changed where the answer would not come back to this host.

Rules: what is written here can be printed for `nft -f` and reads the same in `nft list`; the same names mean
the same sets for ever: what changes shape gets another `LAYOUT`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from svcdns.cluster.traffic_plan import SCTP, TCP, UDP
from svcdns.netlink import nft_statements as say
from svcdns.netlink.nft_statements import DPORT, IP, IP6, L4PROTO, ORIGINAL_DPORT, SPORT, Family, Field, Rule
from svcdns.netlink.nft_types import PORT, PROTOCOL, SLOT, Holds, Set, Type
from svcdns.netlink.nftables import Hook

LAYOUT = 1
TABLE = "svcdns" if LAYOUT == 1 else f"svcdns-{LAYOUT}"
COMMENT = f"traffic to Services; made by svcdns proxy, layout {LAYOUT}"
REFUSE = "refuse"
STICKY_CLIENTS = 65535
"""Clients that are remembered for one frontend and one port of endpoints."""
_PROTOCOLS = (TCP, UDP, SCTP)


class Way(NamedTuple):
    """One of the ways to find a frontend: by address or as a node port, for all or for outside clients."""

    name: str
    node_port: bool
    outside: bool

    @property
    def frontends(self) -> str:
        """The map from a frontend to what picks its endpoint."""
        return f"{self.name}_frontends"

    @property
    def slots(self) -> str:
        """The map from (frontend, number) to an endpoint."""
        return f"{self.name}_slots"

    @property
    def spread(self) -> str:
        """The map from a frontend with affinity to what picks an endpoint for a new client."""
        return f"{self.name}_spread"

    @property
    def sticky(self) -> str:
        """The map from (frontend with affinity, endpoint) to the chain that remembers the client."""
        return f"{self.name}_sticky"

    @property
    def stopped(self) -> str:
        """The map from a frontend to why it isn't carried."""
        return f"{self.name}_stopped"

    def any_of(self, endpoints: int) -> str:
        """The chain that picks one of so many endpoints."""
        return f"{self.name}_any_{endpoints}"


VIP = Way("vip", node_port=False, outside=False)
VIP_OUTSIDE = Way("vip_outside", node_port=False, outside=True)
NODE = Way("node", node_port=True, outside=False)
NODE_OUTSIDE = Way("node_outside", node_port=True, outside=True)
WAYS = (VIP, VIP_OUTSIDE, NODE, NODE_OUTSIDE)


class BaseChain(NamedTuple):
    """A chain at a hook."""

    name: str
    kind: str
    hook: Hook
    priority: int


BASE_CHAINS = (
    BaseChain("filter_in", "filter", Hook.PREROUTING, -110),
    BaseChain("filter_out", "filter", Hook.OUTPUT, -110),
    BaseChain("nat_in", "nat", Hook.PREROUTING, -101),
    BaseChain("nat_out", "nat", Hook.OUTPUT, -101),
    BaseChain("after_in", "filter", Hook.PREROUTING, -90),
    BaseChain("after_out", "filter", Hook.OUTPUT, -90),
    BaseChain("source", "nat", Hook.POSTROUTING, 99),
)


@dataclass(frozen=True)
class Layout:
    """The table of one family: what is in it always."""

    family: Family

    def key(self, way: Way) -> tuple[Field, ...]:
        """What a frontend is found by in a packet."""
        return (L4PROTO, DPORT) if way.node_port else (self.family.destination, L4PROTO, DPORT)

    def key_types(self, way: Way) -> tuple[Type, ...]:
        """The types of `key`."""
        return tuple(field.type for field in self.key(way))

    def sets(self) -> Iterator[Set]:
        """Yield the sets and maps, but those of Services with affinity."""
        address = self.family.address
        yield Set("local_networks", (address,), interval=True)
        yield Set("same_networks", (address, address), interval=True)
        yield Set("ranges", (address,), interval=True)
        yield Set("node_addresses", (address,))
        yield Set("vips", (address,))
        yield Set("node_ports", (PROTOCOL, PORT))
        yield Set("endpoints", (address, PROTOCOL, PORT))
        for way in (VIP, NODE):
            yield Set(f"{way.name}_guarded", self.key_types(way))
            yield Set(f"{way.name}_allowed", (*self.key_types(way), address), interval=True)
        for way in WAYS:
            key = self.key_types(way)
            yield Set(way.frontends, key, Holds.VERDICTS)
            yield Set(way.stopped, key, Holds.VERDICTS)
            yield Set(way.spread, key, Holds.VERDICTS)
            yield Set(way.slots, (*key, SLOT), (address, PORT))
            yield Set(way.sticky, (*key, address, PORT), Holds.VERDICTS)

    def chains(self) -> dict[str, tuple[Rule, ...]]:
        """Return the rules of each chain that is there always."""
        found = {REFUSE: self._refuse(), "unused": self._unused(), "back": self._back()}
        for way in (VIP, NODE):
            found |= self._stop(way) | self._carry(way) | self._remember(way)
        return found | self._base()

    def any_of(self, way: Way, endpoints: int) -> tuple[Rule, ...]:
        """Return the rules of the chain that picks one of so many endpoints."""
        key = (*self.key(way), say.random_below(endpoints))
        return ((say.to_value(self.family, key, way.slots),),)

    def _base(self) -> dict[str, tuple[Rule, ...]]:
        ours = self._towards("check_vip", "check_node", say.state("new"))
        invalid = (
            say.state("invalid"),
            say.inside((self.family.source, L4PROTO, SPORT), "endpoints"),
            say.drop(),
        )
        after = (say.inside((self.family.destination,), "ranges"), say.goto("unused"))
        new = (say.state("new"), say.destination_changed())
        return {
            "filter_in": (invalid, *ours),
            "filter_out": ours,
            "nat_in": self._towards("vip_in", "node_in"),
            "nat_out": self._towards("vip", "node"),
            "after_in": ((*new, say.goto("remember")), after),
            "after_out": ((*new, say.goto("remember")), after),
            "remember": (
                (say.inside((self.family.original_destination,), "vips"), say.jump("remember_vip")),
                (
                    say.inside((self.family.original_destination,), "node_addresses"),
                    say.jump("remember_node"),
                ),
            ),
            "source": self._source(),
        }

    def _towards(self, vip: str, node: str, *first: say.Statement) -> tuple[Rule, ...]:
        return (
            (*first, say.inside((self.family.destination,), "vips"), say.jump(vip)),
            (*first, say.inside((self.family.destination,), "node_addresses"), say.jump(node)),
        )

    def _from_outside(self) -> Rule:
        """Match clients that are neither this host nor in a network behind it."""
        return say.outside((self.family.source,), "local_networks"), say.source_not_local()

    def _stop(self, way: Way) -> dict[str, tuple[Rule, ...]]:
        """Refuse and drop before a connection is carried."""
        key = self.key(way)
        outside = _outside(way)
        guarded = say.inside(key, f"{way.name}_guarded")
        stranger = say.outside((*key, self.family.source), f"{way.name}_allowed")
        return {
            f"check_{way.name}": (
                (guarded, stranger, say.drop()),
                (*self._from_outside(), say.verdict_of(key, outside.stopped)),
                (say.verdict_of(key, way.stopped),),
            )
        }

    def _carry(self, way: Way) -> dict[str, tuple[Rule, ...]]:
        """Send the first packet of a connection to an endpoint."""
        key = self.key(way)
        outside = _outside(way)
        return {
            f"{way.name}_in": (
                (*self._from_outside(), say.verdict_of(key, outside.frontends)),
                (say.goto(way.name),),
            ),
            way.name: ((say.verdict_of(key, way.frontends),),),
        }

    def _remember(self, way: Way) -> dict[str, tuple[Rule, ...]]:
        """Note which endpoint a client of a Service with affinity got."""
        outside = _outside(way)
        return {
            f"remember_{way.name}": (
                (*self._from_outside(), say.jump(f"remember_{outside.name}")),
                *self._remembered(way),
            ),
            f"remember_{outside.name}": tuple(self._remembered(outside)),
        }

    def _remembered(self, way: Way) -> Iterator[Rule]:
        """Yield a rule a protocol: nft writes a connection's port only where the protocol is known."""
        key: tuple[Field, ...] = (L4PROTO, ORIGINAL_DPORT, self.family.destination, DPORT)
        if not way.node_port:
            key = (self.family.original_destination, *key)
        for number in _PROTOCOLS:
            yield say.protocol(number), say.verdict_of(key, way.sticky)

    def _source(self) -> tuple[Rule, ...]:
        """Ask for connections that were sent elsewhere by us whether their answers would come back."""
        original = self.family.original_destination
        node = say.inside((original,), "node_addresses")
        ports = say.inside((L4PROTO, ORIGINAL_DPORT), "node_ports")
        return (
            (say.destination_unchanged(), say.back()),
            (say.inside((original,), "vips"), say.goto("back")),
            *((node, say.protocol(number), ports, say.goto("back")) for number in _PROTOCOLS),
        )

    def _back(self) -> tuple[Rule, ...]:
        """Keep a client's address where this host is the gateway of the endpoint, and not of both at once."""
        source, destination = self.family.source, self.family.destination
        behind = say.inside((destination,), "local_networks")
        apart = say.outside((source, destination), "same_networks")
        return (behind, say.source_not_local(), apart, say.back()), (say.masquerade(),)

    def _unused(self) -> tuple[Rule, ...]:
        """Refuse ports that no Service has at its address; drop what goes to an address that none has.

        An address that this host has itself is left alone, its listeners too, whatever Service is at it;
        and so are neighbour solicitations, whose state is untracked.
        """
        return (
            (say.state("untracked"), say.back()),
            (say.destination_local(), say.back()),
            (say.state("new"), say.inside((self.family.destination,), "vips"), say.goto(REFUSE)),
            (say.drop(),),
        )

    def _refuse(self) -> tuple[Rule, ...]:
        return (say.protocol(TCP), say.reset()), (say.unreachable(self.family),)


def _outside(way: Way) -> Way:
    return NODE_OUTSIDE if way.node_port else VIP_OUTSIDE


LAYOUTS = {4: Layout(IP), 6: Layout(IP6)}
