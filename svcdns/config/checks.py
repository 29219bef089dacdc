"""What no option of the configuration can say alone: options that contradict each other or the machine."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator

from .acl import acl_problems
from .forwarding import forward_problems
from .readers import Problem, same_place
from .sections import ApiConfig, Config

_EXPOSED = (
    "can be reached from other machines, and takes tls_cert and tls_key together with tokens or client_ca in "
    "[api] (`svcdns certs init` and `svcdns token create` make them); allowed without these: a loopback "
    "address, or any with insecure = true (SVCDNS_API_INSECURE=true) where only trusted machines get there"
)


def problems(config: Config) -> Iterator[Problem]:
    """Yield what is wrong, each with the option to change."""
    dns, services, api = config.dns, config.services, config.api
    if dns.namespaces and dns.namespace_labels:
        text = "namespaces is set too, and the two exclude each other; allowed: one of them"
        yield Problem("dns", "namespace_labels", text)
    ranges = [("cluster_ip_ranges", one) for one in services.cluster_ip_ranges]
    ranges += [("load_balancer_ranges", one) for one in services.load_balancer_ranges]
    for at, (key, one) in enumerate(ranges):
        for other_key, other in ranges[:at]:
            if one.version == other.version and one.overlaps(other):
                yield Problem(
                    "services",
                    key,
                    f"{one} overlaps {other} of {other_key}; allowed: ranges that share no address",
                )
    yield from _api_problems(api)
    for one_dns in dns.listen:
        if one_dns.port and one_dns.port == api.listen.port and same_place(one_dns.host, api.listen.host):
            yield Problem("api", "listen", f"{api.listen} is where DNS listens; allowed: another port")
    yield from forward_problems(config)
    yield from acl_problems(config)
    yield from _path_problems(config)
    if config.user and not _is_user(config.user):
        yield Problem("", "user", f"this machine has no user {config.user!r}")


def _api_problems(api: ApiConfig) -> Iterator[Problem]:
    """Yield what is wrong about who may reach the API; what is in the files is read elsewhere."""
    for one, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if getattr(api, one) and not getattr(api, other):
            yield Problem("api", one, f"needs {other} beside it; allowed: both or none")
    if api.client_ca and not api.tls_cert:
        yield Problem(
            "api", "client_ca", "clients show certificates over TLS only; set tls_cert and tls_key too"
        )
    if api.grant and not api.authenticates:
        text = "grants say who may do what, but nobody is asked who they are; set tokens or client_ca too"
        yield Problem("api", "grant", text)
    is_safe = api.tls_cert and api.authenticates
    if not (api.is_local or is_safe or api.insecure):
        yield Problem("api", "listen", f"{api.listen} {_EXPOSED}")


def _path_problems(config: Config) -> Iterator[Problem]:
    for path in config.manifests:
        if not os.path.exists(path):  # never raises, as Path's own does
            yield Problem("", "manifests", f"there is no file or folder {path}")
    if os.path.exists(config.data) and not os.path.isdir(config.data):
        yield Problem(
            "", "data", f"{config.data} is a file; allowed: a folder, which is made where it is missing"
        )
    if os.path.exists(config.dns.zones) and not os.path.isdir(config.dns.zones):
        yield Problem("dns", "zones", f"{config.dns.zones} is a file; allowed: a folder of zone files")


def _is_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False
