"""The options that shape stored answers, and the fingerprint by which the store knows them again.

`RULES` is raised when the same objects come to give other answers; a golden test enforces it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

import msgspec

from svcdns.config.load import spelt_options
from svcdns.config.sections import OPTIONS, Config
from svcdns.names.cluster_names import ClusterNames
from svcdns.names.records import Address
from svcdns.objects.selectors import LabelSelector
from svcdns.wire.key import key_of

RULES = 3

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration as the write path uses it."""

    config: Config
    names: ClusterNames
    namespace_selector: LabelSelector | None
    reverse_zones: tuple[tuple[str, bytes], ...]
    """(origin, key) of each reverse zone."""
    servers: tuple[Address, ...]
    """Addresses of ns.dns.Z."""

    @property
    def ttl(self) -> int:
        """TTL of records, in seconds, where a Service does not say otherwise."""
        return self.config.dns.ttl

    @property
    def own_ranges(self) -> tuple[Network, ...]:
        """Networks whose addresses we give out: their reverse names never fall through."""
        services = self.config.services
        return (*services.cluster_ip_ranges, *services.load_balancer_ranges)

    @property
    def fallthrough(self) -> tuple[bytes, ...]:
        """Keys of the zones whose unknown names go on; "." is all names."""
        return tuple(key_of(zone) for zone in self.config.dns.fallthrough)

    @property
    def alias_zones(self) -> tuple[bytes, ...]:
        """Keys of the zones below which Services may have aliases."""
        return tuple(key_of(zone) for zone in self.config.dns.alias_zones)

    def may_fall_through(self, zone: bytes) -> bool:
        """Return whether some name of a zone lies in one of those zones."""
        return any(zone.startswith(key) or key.startswith(zone) for key in self.fallthrough)

    def fingerprint(self) -> bytes:
        """Return octets that differ whenever the options give other answers."""
        derived = {
            "cluster_domain": self.names.domain,
            "ranges": [str(network) for network in self.own_ranges],
            "servers": [str(address) for address in self.servers],
        }
        as_they_are = {
            OPTIONS[name].key: value
            for name, value in spelt_options(self.config).items()
            if OPTIONS[name].shapes_answers
            and name not in _DERIVED_FROM
            and not (name in _LATER and not value)
        }
        return msgspec.json.encode(derived | as_they_are)


_DERIVED_FROM = (
    "cluster_domain",
    "services.cluster_ip_ranges",
    "services.load_balancer_ranges",
    "dns.listen",
    "dns.advertise_addresses",
)
"""Options that count in the fingerprint by what is derived from them."""


_LATER = ("dns.alias_zones", "dns.external_dns_annotation")
"""Options that stored answers were made without: unset, they count as not there, so nothing is made anew."""


def make_settings(config: Config) -> Settings:
    """Return the settings of a configuration."""
    selector = LabelSelector.parse(config.dns.namespace_labels) if config.dns.namespace_labels else None
    zones = tuple((zone.removesuffix(".") + ".", key_of(zone)) for zone in config.dns.reverse_zones)
    return Settings(config, ClusterNames(config.cluster_domain), selector, zones, advertised(config))


def advertised(config: Config) -> tuple[Address, ...]:
    """Return the addresses of ns.dns.Z: as configured, or those listened on.

    Never a wildcard address, and no loopback address while there is another.
    """
    texts = config.dns.advertise_addresses or [endpoint.host for endpoint in config.dns.listen]
    found = [address for address in dict.fromkeys(map(ip_address, texts)) if not address.is_unspecified]
    public = [address for address in found if not address.is_loopback]
    return tuple(found if config.dns.advertise_addresses else public or found)


def own_reverse_prefixes(networks: tuple[Network, ...]) -> tuple[bytes, ...]:
    """Return the keys below which the reverse names of these networks stand.

    A network that does not end at a label's boundary (8 bits in in-addr.arpa, 4 in ip6.arpa) is
    split into those that do.
    """
    keys = []
    for network in networks:
        step = 8 if network.version == 4 else 4
        prefix = -(-network.prefixlen // step) * step
        for part in network.subnets(new_prefix=prefix):
            labels = part.network_address.reverse_pointer.split(".")
            host_labels = (network.max_prefixlen - prefix) // step
            keys.append(key_of(".".join(labels[host_labels:])))
    return tuple(keys)
