"""The frontends of one Service, and what is done with connections to each.

    cluster IPs               internalTrafficPolicy decides whether only endpoints of this node count
    load balancer addresses   externalTrafficPolicy decides that for clients from elsewhere; clients on this
    external IPs              node may always use every endpoint (Kubernetes calls it the short cut)
    node ports

Rules:

* where no endpoint may be used: silence if a policy `Local` keeps the traffic from some, else a refusal;
* headless and ExternalName Services have none, nor has one that another proxy is named for;
* loadBalancerSourceRanges guard load balancer addresses only.  One that can't be read lets nobody in, and is
  reported; so does a family of addresses that has none while the other has some;
* external IPs only count in networks that the administrator has named (CVE-2020-8554); others are reported;
* so do a load balancer's addresses that would take something else away, as whoever writes a status can say
  any: addresses of this machine, cluster IPs, and those that never lead beyond a machine or its link.

https://kubernetes.io/docs/reference/networking/virtual-ips/
https://kubernetes.io/docs/concepts/services-networking/service/
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from .traffic_objects import Service, ServicePort
from .traffic_plan import NODE, Destination, Frontend, HealthCheck, Rule, WhenEmpty
from .usable_endpoints import PROTOCOLS, PackedSlice, Place, Usable, address_octets, ready_here, usable

Network = IPv4Network | IPv6Network

LOCAL = "Local"
_AFFINITY_SECONDS = 10_800
"""The API's default of timeoutSeconds."""


class Problem(NamedTuple):
    """Something that a Service asks for and doesn't get."""

    reason: str
    """In one word, as an Event has it."""
    text: str


@dataclass(frozen=True, slots=True)
class Here:
    """What the rules need to know beside the objects."""

    place: Place = field(default_factory=Place)
    external_networks: tuple[Network, ...] = ()
    """Where Services may claim external IPs."""
    balancer_networks: tuple[Network, ...] = ()
    """Where load balancers' addresses come from, as the configuration says it."""
    cluster_networks: tuple[Network, ...] = ()
    """Where cluster IPs come from: nothing else may be had there."""

    def why_no_balancer(self, address: bytes) -> str:
        """Return in words why an address can't be a load balancer's; "" where it may be one."""
        read = ip_address(address)
        if any(read in one for one in (*self.balancer_networks, *self.external_networks)):
            return ""
        if address in self.place.addresses:
            return "is an address of this machine"
        if any(read in one for one in self.cluster_networks):
            return "lies where cluster IPs come from"
        if read.is_loopback or read.is_link_local or read.is_multicast or read.is_unspecified:
            return "is never a load balancer's"
        return ""


class Frontends(NamedTuple):
    """What one Service comes to."""

    rules: dict[Frontend, Rule]
    health_checks: dict[int, HealthCheck]
    problems: tuple[Problem, ...]


NOTHING = Frontends({}, {}, ())


def frontends_of(service: Service, slices: Collection[PackedSlice], here: Here) -> Frontends:
    """Return the frontends of a Service with these slices."""
    addresses = _cluster_addresses(service)
    if not addresses:
        return NOTHING
    outer, problems = _outer_addresses(service, here)
    made = _Rules(service, slices, here)
    for port in service.spec.ports or ():
        protocol = PROTOCOLS.get(port.protocol)
        if protocol is None:
            continue
        for family, address in addresses.items():
            rules = made.of_port(port, protocol, family)
            made.add(Frontend(family, address, protocol, port.port), rules.inner)
            for octets, ranges in outer.get(family, ()):
                made.add(Frontend(family, octets, protocol, port.port), _guarded(rules.outer, ranges))
            if port.node_port:
                made.add(Frontend(family, NODE, protocol, port.node_port), rules.outer)
    return Frontends(made.rules, _health_check(service, slices, here.place), problems)


def _cluster_addresses(service: Service) -> dict[int, bytes]:
    """Return the cluster IP of each family, {} for a Service that no proxy here has to do with."""
    labels, spec = service.metadata.labels, service.spec
    if spec.type == "ExternalName" or (
        labels is not None and (labels.proxy is not None or labels.headless is not None)
    ):
        return {}
    found: dict[int, bytes] = {}
    for text in spec.cluster_ips or (spec.cluster_ip,):
        for family in (4, 6):
            if (octets := address_octets(text, family)) is not None:
                found.setdefault(family, octets)
    return found


class _PortRules(NamedTuple):
    """The rule of a port's cluster IP, and that of all its other frontends (without source ranges)."""

    inner: Rule
    outer: Rule


@dataclass(slots=True)
class _Rules:
    """The rules of one Service as they are made."""

    service: Service
    slices: Collection[PackedSlice]
    here: Here
    rules: dict[Frontend, Rule]

    def __init__(self, service: Service, slices: Collection[PackedSlice], here: Here) -> None:
        self.service, self.slices, self.here = service, slices, here
        self.rules = {}

    def add(self, frontend: Frontend, rule: Rule) -> None:
        """Add one, unless it is there: of an address given twice, the stricter rule comes first."""
        self.rules.setdefault(frontend, rule)

    def of_port(self, port: ServicePort, protocol: int, family: int) -> _PortRules:
        spec = self.service.spec
        inner_local = spec.internal_traffic_policy == LOCAL
        outer_local = spec.external_traffic_policy == LOCAL
        found = usable(
            self.slices,
            port.name,
            protocol,
            family,
            self.here.place,
            local=inner_local or outer_local,
        )
        everywhere, here = Destination(found.cluster), _local(found)
        within = here if inner_local else everywhere
        inner = self._rule(within, within)
        outer = self._rule(everywhere, here) if outer_local else self._rule(everywhere, everywhere)
        return _PortRules(inner, inner if inner == outer else outer)

    def _rule(self, inside: Destination, outside: Destination) -> Rule:
        return Rule(self.service.metadata.key, inside, outside, _affinity(self.service))


def _local(found: Usable) -> Destination:
    return Destination(found.local, WhenEmpty.DROP if found.any else WhenEmpty.REFUSE)


def _affinity(service: Service) -> int:
    spec = service.spec
    if spec.session_affinity != "ClientIP":
        return 0
    config = spec.session_affinity_config
    given = config.client_ip.timeout_seconds if config and config.client_ip else None
    return given or _AFFINITY_SECONDS


def _guarded(rule: Rule, ranges: tuple[Network, ...] | None) -> Rule:
    if ranges is None:
        return rule
    return Rule(rule.service, rule.inside, rule.outside, rule.affinity_seconds, ranges)


# Addresses beside cluster IPs

_Outer = tuple[bytes, tuple[Network, ...] | None]
"""An address, and the only clients that it lets in."""


def _outer_addresses(service: Service, here: Here) -> tuple[dict[int, list[_Outer]], tuple[Problem, ...]]:
    """Return the load balancer's addresses and external IPs by family."""
    problems: list[Problem] = []
    ranges = _source_ranges(service, problems)
    found: dict[int, list[_Outer]] = {4: [], 6: []}
    for text in _load_balancer_addresses(service):
        for family in (4, 6):
            if (octets := address_octets(text, family)) is None:
                continue
            if why := here.why_no_balancer(octets):
                said = f"load balancer address {text} {why}, and carries no traffic: external_ips in [proxy]"
                problems.append(Problem("LoadBalancerIPNotAllowed", f"{said} allows it"))
                continue
            found[family].append((octets, None if ranges is None else ranges[family]))
    for text in _external_addresses(service, here.external_networks, problems):
        for family in (4, 6):
            if (octets := address_octets(text, family)) is not None:
                found[family].append((octets, None))
    return found, tuple(problems)


def _load_balancer_addresses(service: Service) -> Iterator[str]:
    """Yield those whose traffic comes here; ipMode Proxy: somebody else forwards it to node ports."""
    status = service.status
    if service.spec.type == "LoadBalancer" and status is not None and status.load_balancer is not None:
        for one in status.load_balancer.ingress or ():
            if one.ip and one.ip_mode != "Proxy":
                yield one.ip


def _source_ranges(service: Service, problems: list[Problem]) -> dict[int, tuple[Network, ...]] | None:
    """Return the networks that may reach load balancer addresses, by family; None: all."""
    given = service.spec.load_balancer_source_ranges
    if not given or service.spec.type != "LoadBalancer":
        return None
    found: dict[int, list[Network]] = {4: [], 6: []}
    for text in given:
        try:
            network = ip_network(text.strip(), strict=False)
        except ValueError:
            said = f"loadBalancerSourceRanges: {text[:80]!r} is no network, and lets nobody in"
            problems.append(Problem("InvalidSourceRange", said))
        else:
            found[network.version].append(network)
    return {family: tuple(sorted(set(networks), key=str)) for family, networks in found.items()}


def _external_addresses(
    service: Service, networks: Sequence[Network], problems: list[Problem]
) -> Iterator[str]:
    for text in service.spec.external_ips or ():
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if any(address in network for network in networks):
            yield text
        else:
            said = f"externalIPs: {text} is in no network of external_ips in [proxy], and carries no traffic"
            problems.append(Problem("ExternalIPNotAllowed", said))


def _health_check(service: Service, slices: Collection[PackedSlice], place: Place) -> dict[int, HealthCheck]:
    spec = service.spec
    wanted = spec.type == "LoadBalancer" and spec.external_traffic_policy == LOCAL
    if not wanted or not spec.health_check_node_port:
        return {}
    return {spec.health_check_node_port: HealthCheck(service.metadata.key, ready_here(slices, place))}
