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
class ForwardConfig:
    """[forward]: where names that are not ours are asked for."""

    upstreams: tuple[str, ...] = ("/etc/resolv.conf",)


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
    api: ApiConfig = field(default_factory=ApiConfig)
