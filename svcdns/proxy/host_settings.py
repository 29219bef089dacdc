"""What `[proxy]` and the registry say about the machine that the proxy runs on.  Values only."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

Network = IPv4Network | IPv6Network

PRIMARY, LOCALHOST, ALL = "primary", "localhost", "all"
"""Words for addresses that offer node ports, as of kube-proxy's --nodeport-addresses."""
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How the machine around the proxy is to be."""

    cluster_ranges: tuple[Network, ...] = ()
    """Where cluster IPs come from: nothing else may be there."""
    load_balancer_ranges: tuple[Network, ...] = ()
    """Where LoadBalancer Services get addresses from: may lie inside a network of this machine."""
    node_addresses: tuple[bytes, ...] = ()
    """The node's own addresses; none: they are found."""
    node_port_addresses: tuple[str | Network, ...] = (PRIMARY,)
    """Words and networks: addresses of this machine that offer node ports."""
    node_ports: range = range(30000, 32768)
    local_networks: tuple[str | Network, ...] = (AUTO,)
    """Networks behind this machine; "auto" stands for those that are found."""
    routes: bool = True
    """Whether the ranges get routes of ours."""
    hairpin: bool = True
    """Whether ports of local bridges send frames back where they came from, where br_netfilter is on."""
    docker: bool = True
    """Whether DOCKER-USER gets a jump to rules of ours, where it is."""
    forwarding: bool = False
    """Whether forwarding is switched on where it is off."""
    announce: tuple[str, ...] = ()
    """Interfaces on which load balancer addresses are answered for."""
