"""`svcdns resolvconf`: the resolv.conf of a container, from the configuration or from a server that runs."""

from __future__ import annotations

from collections.abc import Sequence

from . import resolv_conf
from .config import Config, ConfigError, Endpoint
from .config_names import Wrong, address, each
from .config_names import namespace as namespace_of
from .listening import dns_endpoints


def text(config: Config, namespace: str, ndots: int, nameservers: Sequence[str]) -> str:
    """Return the file; `nameservers` are addresses that somebody chose, none: those of the server.

    Raises ConfigError.
    """
    if not 0 <= ndots <= resolv_conf.MOST_DOTS:
        raise ConfigError(f"--ndots: {ndots} is out of range; allowed: 0..{resolv_conf.MOST_DOTS}")
    servers = _named(nameservers) if nameservers else _of(config)
    return resolv_conf.text(servers, _namespace(namespace), config.cluster_domain, ndots)


def _namespace(text: str) -> str:
    try:
        return namespace_of(text)
    except Wrong as wrong:
        raise ConfigError(f"--namespace: {wrong}") from None


def _named(texts: Sequence[str]) -> list[Endpoint]:
    try:
        hosts: tuple[str, ...] = each(address)(texts)
    except Wrong as wrong:
        raise ConfigError(f"--nameserver: {wrong}") from None
    if len(hosts) > resolv_conf.MOST_SERVERS:
        most = resolv_conf.MOST_SERVERS
        raise ConfigError(
            f"--nameserver: {len(hosts)} are too many; allowed: up to {most}, no more are asked"
        )
    return [Endpoint(host, resolv_conf.DNS_PORT) for host in hosts]


def _of(config: Config) -> list[Endpoint]:
    return resolv_conf.addresses_for(dns_endpoints(config), config.dns.advertise_addresses)
