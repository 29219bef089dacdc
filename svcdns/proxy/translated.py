"""Connections to Services as other people's rules can know them.

With packet rules a packet has an endpoint's address already, and what it was sent to stands in the table of
connections; to a relay it goes as it was sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from svcdns.cluster.traffic_plan import Host

from .host_settings import Network

_EVERY_PORT = range(1, 65_536)


class Target(NamedTuple):
    """Where clients send to: a range of Services, or the node ports of an address."""

    network: Network
    ports: range | None = None
    protocol: str = ""
    """Of what goes to a relay, "tcp" or "udp"; "": of what was translated, of any."""

    @property
    def _text(self) -> str:
        one = self.network
        return str(one.network_address if one.prefixlen == one.max_prefixlen else one)

    @property
    def in_iptables(self) -> str:
        """Return the match of connections to it, for iptables."""
        text = self._text
        if self.protocol:
            ports = f" --dport {self.ports.start}:{self.ports.stop - 1}" if self.ports else ""
            return f"-d {text} -p {self.protocol}{ports}"
        match = f"-m conntrack --ctstate DNAT --ctorigdst {text}"
        return f"{match} --ctorigdstport {self.ports.start}:{self.ports.stop - 1}" if self.ports else match

    @property
    def in_nftables(self) -> str:
        """Return the same for nft."""
        word, text = "ip" if self.network.version == 4 else "ip6", self._text
        if self.protocol:
            ports = f" dport {self.ports.start}-{self.ports.stop - 1}" if self.ports else ""
            return f"{word} daddr {text} {self.protocol}{ports}"
        match = f"ct status dnat ct original {word} daddr {text}"
        if self.ports is None:
            return match
        protocols = "meta l4proto { tcp, udp, sctp }"
        return f"{protocols} {match} ct original proto-dst {self.ports.start}-{self.ports.stop - 1}"

    @property
    def in_firewalld(self) -> str:
        """Return the same as a rich rule of firewalld, of what goes to a relay."""
        ports = self.ports or _EVERY_PORT
        rule = f"rule family=ipv{self.network.version} destination address={self._text}"
        return f"{rule} port port={ports.start}-{ports.stop - 1} protocol={self.protocol}"

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


def relayed(host: Host, node_ports: range) -> Iterator[Target]:
    """Yield all that clients elsewhere send to a relay; loopback addresses are this machine's own matter."""
    for one in targets(host, node_ports):
        if not one.network.is_loopback:
            ports = one.ports or _EVERY_PORT
            yield from (one._replace(ports=ports, protocol=protocol) for protocol in ("tcp", "udp"))
