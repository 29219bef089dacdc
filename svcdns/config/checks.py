"""What no option can say alone: what contradicts other options or the machine, and what deserves a warning.

`problems` keep a server from starting, `warnings` do not.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, collapse_addresses, ip_address, ip_network
from typing import Any

from .acl import WORDS, Rules, allows, rules_of
from .own_address import own_listener
from .readers import Endpoint, Network, Wrong, few, is_within, reverse_network, same_place
from .sections import ApiConfig, Config
from .upstream_spec import parse

_EXPOSED = (
    "can be reached from other machines, and takes tls_cert and tls_key together with tokens or client_ca in "
    "[api] (`svcdns certs init` and `svcdns token create` make them); allowed without these: a loopback "
    "address, or any with insecure = true (SVCDNS_API_INSECURE=true) where only trusted machines get there"
)
_THIS_MACHINE = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


@dataclass(frozen=True, slots=True)
class Problem:
    """What an option can't hold beside others: the name of the option to change, and the text."""

    option: str
    text: str
    table: int = 0
    """As that of Wrong."""


def problems(config: Config) -> Iterator[Problem]:
    """Yield what keeps a server from starting, each with the option to change."""
    dns, api = config.dns, config.api
    if dns.namespaces and dns.namespace_labels:
        text = "namespaces is set too, and the two exclude each other; allowed: one of them"
        yield Problem("dns.namespace_labels", text)
    yield from _alias_problems(config)
    yield from _catalog_problems(config)
    yield from _overlaps(config)
    yield from _api_problems(api)
    for one in dns.listen:
        if one.port and one.port == api.listen.port and same_place(one.host, api.listen.host):
            yield Problem("api.listen", f"{api.listen} is where DNS listens; allowed: another port")
    healthz = config.proxy.healthz
    is_same = healthz.port == api.listen.port and same_place(healthz.host, api.listen.host)
    if config.proxy.serve and healthz.port and is_same:
        yield Problem("proxy.healthz", f"{healthz} is where the API listens; allowed: another port")
    yield from _forward_problems(config)
    yield from _acl_problems(config)
    yield from _path_problems(config)
    yield from _store_problems(config)
    if config.user and not _is_user(config.user):
        yield Problem("user", f"this machine has no user {config.user!r}")


def warnings(config: Config) -> list[str]:
    """Return what DNS does that an administrator should know of, a line each."""
    forward = config.forward
    if not forward.forwards:
        return []
    found = []
    if forward.outstanding_per_client > forward.outstanding:
        found.append(
            f"forward.outstanding_per_client: {forward.outstanding_per_client} is more than outstanding, "
            f"{forward.outstanding}: one client can keep all others from asking; "
            "set it to less than outstanding"
        )
    rules = rules_of(config.acl.forward)
    return [*found, *_open_resolver(rules), *_refused_here(rules, config.dns.listen)]


# Services, the API, paths


def _alias_problems(config: Config) -> Iterator[Problem]:
    """Yield what names of one's own would hide: the cluster domain, or all of what lies above it."""
    domain = config.cluster_domain
    for zone in config.dns.alias_zones:
        if is_within(zone, domain):
            text = f"{zone} lies in the cluster domain, whose names follow from Services"
        elif is_within(domain, zone):
            text = f"{zone} holds the cluster domain {domain}"
        else:
            continue
        yield Problem("dns.alias_zones", f"{text}; allowed: zones that share no name with {domain}")


def _catalog_problems(config: Config) -> Iterator[Problem]:
    name = config.dns.catalog_zone
    if name and is_within(name, config.cluster_domain, *config.dns.reverse_zones):
        text = f"{name} lies in a zone of the registry; allowed: a name of its own, such as catalog.example"
        yield Problem("dns.catalog_zone", text)


def _overlaps(config: Config) -> Iterator[Problem]:
    services = config.services
    ranges = [("cluster_ip_ranges", one) for one in services.cluster_ip_ranges]
    ranges += [("load_balancer_ranges", one) for one in services.load_balancer_ranges]
    for at, (key, one) in enumerate(ranges):
        for other_key, other in ranges[:at]:
            if one.version == other.version and one.overlaps(other):
                text = f"{one} overlaps {other} of {other_key}; allowed: ranges that share no address"
                yield Problem(f"services.{key}", text)


def _api_problems(api: ApiConfig) -> Iterator[Problem]:
    """Yield what is wrong about who may reach the API; what is in the files is read elsewhere."""
    for one, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if getattr(api, one) and not getattr(api, other):
            yield Problem(f"api.{one}", f"needs {other} beside it; allowed: both or none")
    if api.client_ca and not api.tls_cert:
        text = "clients show certificates over TLS only; set tls_cert and tls_key too"
        yield Problem("api.client_ca", text)
    if api.grant and not api.authenticates:
        text = "grants say who may do what, but nobody is asked who they are; set tokens or client_ca too"
        yield Problem("api.grant", text)
    is_safe = api.tls_cert and api.authenticates
    if not (api.is_local or is_safe or api.insecure):
        yield Problem("api.listen", f"{api.listen} {_EXPOSED}")


def _path_problems(config: Config) -> Iterator[Problem]:
    for path in config.manifests:
        if not os.path.exists(path):  # never raises, as Path's own does
            yield Problem("manifests", f"there is no file or folder {path}")
    for option, path, allowed in (
        ("data", config.data, "a folder, which is made where it is missing"),
        ("dns.zones", config.dns.zones, "a folder of zone files"),
    ):
        if os.path.exists(path) and not os.path.isdir(path):
            yield Problem(option, f"{path} is a file; allowed: {allowed}")


def _store_problems(config: Config) -> Iterator[Problem]:
    store = config.store
    if not store.etcd:
        return
    if len({url.partition(":")[0] for url in store.etcd}) > 1:
        yield Problem("store.etcd", "some members are https, some http; allowed: all the same")
    is_safe = store.etcd[0].startswith("https:")
    for key in ("etcd_ca", "etcd_certificate"):
        if getattr(store, key) and not is_safe:
            yield Problem(f"store.{key}", "the members are reached without TLS; allowed with https:// alone")
    for one, other in (("certificate", "key"), ("key", "certificate"), ("password_file", "user")):
        if getattr(store, f"etcd_{one}") and not getattr(store, f"etcd_{other}"):
            yield Problem(
                f"store.etcd_{one}", f"it goes with etcd_{other}, which is not set; allowed: both or none"
            )


def _is_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


# Forwarding: zones that are ours, and loops


def _forward_problems(config: Config) -> Iterator[Problem]:
    listening, domain = config.dns.listen, config.cluster_domain
    for number, one in enumerate(config.forward.zone, 1):
        found = []
        if is_within(one.name, domain):
            found.append(f"{one.name} is ours and never asked elsewhere; allowed: zones outside {domain}")
        elif own := _own_range(one.name, config):
            found.append(
                f"{one.name} lies within {own}, whose names are ours and never asked elsewhere; "
                "allowed: zones outside cluster_ip_ranges and load_balancer_ranges of [services]"
            )
        found += [f"upstreams: {text}" for text in _loops(one.upstreams, listening)]
        yield from (Problem("forward.zone", f"zone {number}: {text}", number) for text in found)
    yield from (Problem("forward.upstreams", text) for text in _loops(config.forward.upstreams, listening))


def _own_range(zone: str, config: Config) -> Network | None:
    """Return the range of ours that a reverse zone lies in with all its names, None where there is none.

    Where no zone of ours holds the reverse names of a range, they are asked for like all others.
    """
    if not is_within(zone, *config.dns.reverse_zones) or (network := reverse_network(zone)) is None:
        return None
    services = config.services
    ranges = (*services.cluster_ip_ranges, *services.load_balancer_ranges)
    same: list[Any] = [one for one in ranges if one.version == network.version]
    return next((one for one in (*same, *collapse_addresses(same)) if network.subnet_of(one)), None)


def _loops(upstreams: Sequence[str], listening: Sequence[Endpoint]) -> Iterator[str]:
    """Yield what is wrong about upstreams that are this server itself."""
    for text in upstreams:
        there = parse(text)
        if there.kind in ("udp", "tcp") and (listen := own_listener(there.address, there.port, listening)):
            yield (
                f"{text!r} is this server itself, which listens on {listen}: "
                "questions would go round in a loop; allowed: other servers"
            )


# Who may ask


def _acl_problems(config: Config) -> Iterator[Problem]:
    """Yield what keeps this machine itself from asking, and what contradicts dns.transfer_to."""
    acl = config.acl
    if refused := _refused(acl.names):
        text = "from where health checks, svcdns query and this machine itself ask"
        yield Problem("acl.names", f'refuses {refused}, {text}; add "loopback"')
    if config.forward.forwards and (refused := _refused(acl.forward)):
        text = 'from where this machine itself asks; add "loopback"'
        off = "(forward.upstreams = [] switches forwarding off)"
        yield Problem("acl.forward", f"refuses {refused}, {text} {off}")
    try:
        may_transfer = rules_of(acl.transfer, config.dns.transfer_to)
    except Wrong as wrong:
        yield Problem("acl.transfer", str(wrong))
        return
    for secondary in config.dns.notify:
        if not allows(may_transfer, ip_address(secondary.host)):
            text = f"{secondary} would be told of changes that it may not transfer"
            yield Problem("dns.notify", f'{text}; allowed: those in transfer_to, such as "{secondary.host}"')


def _refused(texts: Iterable[str]) -> str:
    rules = rules_of(texts)
    return " and ".join(str(address) for address in _THIS_MACHINE if not allows(rules, address))


def _open_resolver(rules: Rules) -> Iterator[str]:
    """Yield a line for what [acl] forward allows to strangers."""
    private = (*WORDS["loopback"], *WORDS["private"])
    strange = [
        str(one)
        for one, allowed in rules.items()
        if allowed and not any(one.version == safe.version and one.subnet_of(safe) for safe in private)  # type: ignore[arg-type]
    ]
    if strange:
        yield (
            f"acl.forward: allows {few(strange)}, beyond private networks: "
            "whoever reaches it can use this server as an open resolver"
        )


def _refused_here(rules: Rules, listen: Sequence[Endpoint]) -> Iterator[str]:
    """Yield a line for each address of this machine from which it asks itself and is refused.

    Who asks a server on the same machine comes from the address that is asked.  Loopback is required
    already; an address that is refused by itself is meant to be.
    """
    for text in dict.fromkeys(one.host.partition("%")[0] for one in listen):
        address = ip_address(text)
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        is_own = not address.is_loopback and not address.is_unspecified
        if is_own and not allows(rules, address) and ip_network(address) not in rules:
            yield (
                f"acl.forward: programs of this machine that ask at {address} for names that are not ours "
                f'are refused; add "{address}" to forward in [acl]'
            )
