"""What the proxy carries where: frontends, and the endpoints behind each.  Values only, no rules.

`traffic` makes them from Services, EndpointSlices and the node; an engine of the proxy (kernel or user space)
is told of them and of nothing else.  Addresses are octets (4 or 16), networks are `ipaddress` objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

TCP, UDP, SCTP = 6, 17, 132
"""Protocol numbers (IANA)."""
NODE = b""
"""The address of a frontend that is a node port: every address that the node offers node ports on."""


class Frontend(NamedTuple):
    """What a client connects to."""

    family: int
    """4 or 6."""
    address: bytes
    protocol: int
    port: int


class Endpoint(NamedTuple):
    """Where a connection goes."""

    address: bytes
    port: int


class WhenEmpty(Enum):
    """What a client meets where no endpoint may be used."""

    REFUSE = "refuse"
    """A TCP reset, an ICMP port unreachable: there is none anywhere."""
    DROP = "drop"
    """Silence: a policy `Local` keeps the traffic from those that are elsewhere."""


class Destination(NamedTuple):
    """The endpoints that may be used, sorted, each once; and what happens where there are none."""

    endpoints: tuple[Endpoint, ...]
    when_empty: WhenEmpty = WhenEmpty.REFUSE


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done with the connections to one frontend."""

    service: str
    """NAMESPACE/NAME, for people."""
    inside: Destination
    """For clients on this node: its processes, and containers in the networks behind it."""
    outside: Destination
    """For all others; it differs from `inside` only where externalTrafficPolicy is Local."""
    affinity_seconds: int = 0
    """How long a client address stays with its endpoint after a connection; 0: sessionAffinity None."""
    source_ranges: tuple[IPv4Network | IPv6Network, ...] | None = None
    """The only clients that are let in (loadBalancerSourceRanges); None: all."""
    leaving: tuple[Endpoint, ...] = ()
    """Those that serve while they terminate, beside others: no new connections, but what is open stays."""
    own: Destination | None = None
    """For this host's own processes, where they are led elsewhere than `inside` says; None: they are not.

    `traffic` never says so: an engine does, of endpoints that containers get to by a relay only.
    """


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What a healthCheckNodePort answers."""

    service: str
    local_endpoints: int
    """Ready endpoints on this node."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What became different: new rules by frontend (None: gone), and health checks by port."""

    rules: Mapping[Frontend, Rule | None]
    health_checks: Mapping[int, HealthCheck | None]

    def __bool__(self) -> bool:
        return bool(self.rules or self.health_checks)


@dataclass(frozen=True, slots=True)
class Host:
    """What the engines need to know of this machine; `proxy/host` finds it out."""

    node_addresses: tuple[bytes, ...] = ()
    """Addresses that offer node ports (`node_port_addresses`), both families."""
    local_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of containers and VMs behind this host, whose gateway it is."""
    same_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """All networks that this host has an address in: two clients of one talk to each other directly."""
    ranges: tuple[IPv4Network | IPv6Network, ...] = ()
    """Where cluster IPs and load balancer addresses come from: ours alone."""
    lasting_addresses: tuple[bytes, ...] = ()
    """Addresses of this machine that others can be led to, the best ones first: for relays."""
    relays: tuple[Frontend, ...] = ()
    """Where relays of ours listen: only what was translated may get there.  Engines say so of each other."""
