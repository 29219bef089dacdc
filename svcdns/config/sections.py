"""The configuration: what each option means, its default, and where a value may come from.

One frozen dataclass a section of the TOML file, fields named as there.  `config_values` says what
each option may hold, `config_load` where a value comes from (flags over SVCDNS_* variables over the
file over the defaults below).  Standard library only: the supervisor reads this.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

Network = IPv4Network | IPv6Network


class ConfigError(Exception):
    """A mistake in the configuration, as one line: where, what is wrong, what is allowed."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on; port 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as it is written: HOST:PORT, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServicesConfig:
    """[services]: what Services are given."""

    cluster_ip_ranges: tuple[Network, ...] = (ip_network("10.96.0.0/12"),)
    node_port_range: range = range(30000, 32768)
    load_balancer_ranges: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """[dns]: what is answered, where, and how."""

    listen: tuple[Endpoint, ...] = (Endpoint("127.0.0.1", 1053),)
    workers: int = 0
    ttl: int = 5
    negative_ttl: int = 5
    udp_size: int = 1232
    short_names: bool = True
    pods: str = "verified"
    endpoint_pod_names: bool = False
    ignore_empty_service: bool = False
    namespaces: tuple[str, ...] = ()
    namespace_labels: str = ""
    reverse_zones: tuple[str, ...] = ("in-addr.arpa", "ip6.arpa")
    advertise_addresses: tuple[str, ...] = ()
    fallthrough: tuple[str, ...] = ("in-addr.arpa", "ip6.arpa")
    zones: Path = Path("zones")
    transfer_to: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class ForwardZone:
    """[[forward.zone]]: a zone whose names are asked for elsewhere than all others."""

    name: str
    """Its origin, in lower case without the last dot."""
    upstreams: tuple[str, ...]
    policy: str = "sequential"


POLICIES = ("sequential", "random", "round_robin")
"""In which order upstreams that answer are tried."""


@dataclass(frozen=True, slots=True)
class ForwardConfig:
    """[forward]: where names that are not ours are asked for."""

    upstreams: tuple[str, ...] = ("/etc/resolv.conf",)
    policy: str = "sequential"
    ca: Path | None = None
    """Certificates to trust for tls:// and https:// upstreams; None trusts what the system does."""
    outstanding: int = 10_000
    """Clients' questions that may wait for upstreams at one time."""
    outstanding_per_client: int = 1_000
    zone: tuple[ForwardZone, ...] = ()

    @property
    def forwards(self) -> bool:
        """Whether anything is forwarded at all."""
        return bool(self.upstreams or self.zone)


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """[cache]: what is remembered of forwarded answers."""

    octets: int = 64 << 20
    """0: nothing is remembered."""
    max_ttl: int = 86_400
    max_negative_ttl: int = 3_600
    stale: int = 86_400
    """Seconds for which an answer that has run out may stand in while no upstream answers."""


@dataclass(frozen=True, slots=True)
class AclConfig:
    """[acl]: who may ask for what: networks, "any", "private" or "loopback"; a leading "!" refuses.

    Of several that hold an address the longest prefix decides; an address in none is refused.
    """

    names: tuple[str, ...] = ("any",)
    """Our own names."""
    forward: tuple[str, ...] = ("loopback", "private")
    """All other names."""
    transfer: tuple[str, ...] = ()
    """Whole zones, beside dns.transfer_to."""


@dataclass(frozen=True, slots=True)
class Grant:
    """[[api.grant]]: what a user, or a group of users, may do; one of the two is ""."""

    user: str = ""
    group: str = ""
    role: str = "view"
    """Of ROLES."""
    namespaces: tuple[str, ...] = ()
    """Empty: in all namespaces."""


ROLES = ("view", "edit", "admin")
"""What one may be granted; each includes those before it (see svcdns.api.auth.authorization)."""


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """[api]: where the admin API listens, and who may do what there."""

    listen: Endpoint = Endpoint("127.0.0.1", 8053)
    insecure: bool = False
    names: tuple[str, ...] = ()
    """Host names, beside localhost, under which clients address an API that asks nobody who they are."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    tokens: Path | None = None
    grant: tuple[Grant, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return ip_address(self.listen.host).is_loopback

    @property
    def authenticates(self) -> bool:
        """Whether clients have to say who they are."""
        return self.tokens is not None or self.client_ca is not None


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; `load` gives it with every path absolute."""

    cluster_domain: str = "cluster.local"
    data: Path = Path("svcdns-data")
    manifests: tuple[Path, ...] = ()
    user: str = ""
    """Started as root: the user to become once the ports are bound; "" stays root."""
    log: str = "info"
    """Least level that is logged: "debug", "info", "warning" or "error"."""
    services: ServicesConfig = field(default_factory=ServicesConfig)
    dns: DnsConfig = field(default_factory=DnsConfig)
    forward: ForwardConfig = field(default_factory=ForwardConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    acl: AclConfig = field(default_factory=AclConfig)
    api: ApiConfig = field(default_factory=ApiConfig)
