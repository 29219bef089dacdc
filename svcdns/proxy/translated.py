"""Connections to Services as other people's rules can know them: by where they went before translation.

A forwarded packet has an endpoint's address already; what it was sent to stands in the table of connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from svcdns.cluster.traffic_plan import Host

from .host_settings import Network


class Target(NamedTuple):
    """Where clients send to: a range of Services, or the node ports of an address."""

    network: Network
    ports: range | None = None

    @property
    def in_iptables(self) -> str:
        """Return the match of connections translated from it, for iptables."""
        one = self.network
        text = str(one.network_address if one.prefixlen == one.max_prefixlen else one)
        match = f"-m conntrack --ctstate DNAT --ctorigdst {text}"
        return f"{match} --ctorigdstport {self.ports.start}:{self.ports.stop - 1}" if self.ports else match

    @property
    def in_nftables(self) -> str:
        """Return the same for nft."""
        one = self.network
        word = "ip" if one.version == 4 else "ip6"
        text = str(one.network_address if one.prefixlen == one.max_prefixlen else one)
        match = f"ct status dnat ct original {word} daddr {text}"
        if self.ports is None:
            return match
        protocols = "meta l4proto { tcp, udp, sctp }"
        return f"{protocols} {match} ct original proto-dst {self.ports.start}-{self.ports.stop - 1}"

    def is_in(self, network: Network, ports: range | None) -> bool:
        """Return whether a match of this network and these ports (None: all) has all of it."""
        if self.network.version != network.version or not self.network.subnet_of(network):  # type: ignore[arg-type]
            return False
        return ports is None or (
            self.ports is not None and ports.start <= self.ports.start and self.ports.stop <= ports.stop
        )


def targets(host: Host, node_ports: range) -> Iterator[Target]:
    """Yield all that clients of this machine's Services send to."""
    for one in host.ranges:
        yield Target(one)
    for address in host.node_addresses:
        yield Target(ip_network(ip_address(address)), node_ports)
