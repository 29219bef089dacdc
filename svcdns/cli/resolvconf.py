"""`svcdns resolvconf`: the resolv.conf of a container, from the configuration or from a server that runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from svcdns.api import client_resolv_conf
from svcdns.config.listening import dns_endpoints, is_running
from svcdns.config.readers import address, each
from svcdns.config.readers import namespace as namespace_of
from svcdns.config.sections import Config, ConfigError, Endpoint

from .flags import ConfigFlag, DataFlag, flag_value, loaded
from .outcome import say

_SAY_WHICH = "--nameserver ADDRESS or advertise_addresses in [dns]"


def resolvconf(
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NS", help="Whose short names are resolved.")
    ] = "default",
    ndots: Annotated[
        int, typer.Option("--ndots", metavar="N", help="Names with fewer dots try the search list first.")
    ] = 5,
    nameserver: Annotated[
        list[str] | None,
        typer.Option(
            "--nameserver", metavar="ADDRESS", help="Ask there; may be repeated. Else the server's own."
        ),
    ] = None,
    config: ConfigFlag = None,
    data: DataFlag = None,
) -> None:
    """Print the resolv.conf with which a container resolves names as a Pod of a namespace does.

    Its addresses are those of the server that runs on the data folder; where none does, those of dns.listen.
    The API gives the same text: GET /resolv.conf?namespace=NS

    Examples:

        svcdns resolvconf --namespace shop > shop.conf

        docker run -v $PWD/shop.conf:/etc/resolv.conf:ro alpine nslookup web

        podman run -v $PWD/shop.conf:/etc/resolv.conf:ro alpine nslookup web

        svcdns resolvconf --namespace shop --nameserver 192.0.2.53 --ndots 1
    """
    file, warning = _text(loaded(config, {"data": data}), namespace, ndots, nameserver or ())
    typer.echo(file, nl=False)
    if warning:
        say(warning)


def _text(config: Config, namespace: str, ndots: int, nameservers: Sequence[str]) -> tuple[str, str]:
    """Return the file and a warning, "" for none.  Raises ConfigError.

    `nameservers` are addresses that somebody chose, none: those of the server.
    """
    if not 0 <= ndots <= client_resolv_conf.MOST_DOTS:
        raise ConfigError(f"--ndots: {ndots} is out of range; allowed: 0..{client_resolv_conf.MOST_DOTS}")
    whose, domain = flag_value("--namespace", namespace_of, namespace), config.cluster_domain
    if nameservers:
        return client_resolv_conf.text(_named(nameservers), whose, domain, ndots), ""
    nobody = f"no server runs on {config.data}; these are the addresses of the configuration"
    warning = "" if is_running(config) else nobody
    listening = dns_endpoints(config)
    servers = client_resolv_conf.addresses_for(listening, config.dns.advertise_addresses)
    say_which = _SAY_WHICH if client_resolv_conf.listens_on_all(listening) else ""
    return client_resolv_conf.text(servers, whose, domain, ndots, say_which=say_which), warning


def _named(texts: Sequence[str]) -> list[Endpoint]:
    hosts: tuple[str, ...] = flag_value("--nameserver", each(address), texts)
    most = client_resolv_conf.MOST_SERVERS
    if len(hosts) > most:
        text = f"{len(hosts)} are too many; allowed: up to {most}, no more are asked"
        raise ConfigError(f"--nameserver: {text}")
    return [Endpoint(host, client_resolv_conf.DNS_PORT) for host in hosts]
