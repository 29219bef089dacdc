"""What each option of the configuration may hold: one entry in OPTIONS for each.

An option has a form (how TOML and a variable spell it) and a reader, which turns the spelt value
into the one that Config holds.  A reader raises Wrong with what is wrong and what is allowed; it
knows nothing of files, variables or flags, so `config_load` puts the place in front.

Every value that a reader returns has one spelling, given by `spelt`, that the reader takes again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from . import acl, forwarding
from .readers import (
    Wrong,
    address,
    cluster_domain,
    each,
    endpoint,
    host_name,
    listen_addresses,
    namespace,
    network,
    port_range,
    reverse_zone,
    service_network,
    zone,
)
from .sections import POLICIES, ROLES, ForwardZone, Grant

Form = Literal["text", "number", "switch", "texts", "path", "paths", "file", "tables"]
"""A file is a path, or "" for none; tables are written [[section.key]], one for each."""

MAX_TTL = 3600
MAX_WORKERS = 256
MAX_OUTSTANDING = 1_000_000
MAX_CACHE_OCTETS = 64 << 30
LEAST_CACHE_OCTETS = 1 << 20
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is spelt, and the reader that gives what Config holds."""

    form: Form
    read: Callable[[Any], Any]


def label_selector(text: str) -> str:
    """Return a label selector as Kubernetes writes it, "" for none."""
    from svcdns.objects.errors import StatusError
    from svcdns.objects.selectors import LabelSelector

    try:
        LabelSelector.parse(text)
    except StatusError as wrong:
        raise Wrong(f"{wrong.message}; allowed: such as team=web,tier!=test") from None
    return text.strip()


def user(text: str) -> str:
    """Return the name of a user of this machine, or "" for none."""
    if text and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}", text, re.ASCII):
        raise Wrong(f"{text[:80]!r} is no user name; allowed: a name of /etc/passwd")
    return text


def grants(tables: Sequence[dict[str, Any]]) -> tuple[Grant, ...]:
    """Return who may do what, from [[api.grant]]."""
    return tuple(_grant(table, f"grant {number}") for number, table in enumerate(tables, 1))


def _grant(table: dict[str, Any], what: str) -> Grant:
    if unknown := sorted(set(table) - {"user", "group", "role", "namespaces"}):
        raise Wrong(f"{what}: unknown key {unknown[0][:80]!r}; allowed: user, group, role, namespaces")
    who = [table.get("user", ""), table.get("group", "")]
    if not all(isinstance(word, str) and word.isprintable() for word in who) or bool(who[0]) == bool(who[1]):
        raise Wrong(f'{what}: says not whom it is for; allowed: either user = "NAME" or group = "NAME"')
    role = table.get("role")
    if role not in ROLES:
        raise Wrong(f"{what}: role {str(role)[:80]!r} is not known; allowed: {', '.join(ROLES)}")
    among = table.get("namespaces", [])
    if among == "*" or among == ["*"]:
        among = []
    if not isinstance(among, list) or not all(isinstance(name, str) for name in among):
        raise Wrong(f'{what}: namespaces is no list of texts; allowed: such as ["shop"], or [] for all')
    try:
        return Grant(who[0], who[1], role, each(namespace)(among))
    except Wrong as wrong:
        raise Wrong(f"{what}: namespaces: {wrong}") from None


def _between(low: int, high: int, unit: str = "") -> Callable[[int], int]:
    def read(number: int) -> int:
        if not low <= number <= high:
            raise Wrong(f"{_digits(number)} is out of range; allowed: {low}..{high}{unit}")
        return number

    return read


def _digits(number: int) -> str:
    """Return a number as text; Python refuses to write out one with thousands of digits."""
    return str(number)[:40] if abs(number) < 1 << 1024 else "this number"


def _cache_octets(number: int) -> int:
    """Return the size of the cache: 0, or what is worth having."""
    if number and not LEAST_CACHE_OCTETS <= number <= MAX_CACHE_OCTETS:
        least, most = LEAST_CACHE_OCTETS, MAX_CACHE_OCTETS
        text = f"allowed: 0 for no cache, or {least} (1 MiB) to {most} (64 GiB) octets"
        raise Wrong(f"{_digits(number)} is out of range; {text}")
    return number


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise Wrong(f"{text[:80]!r} is not known; allowed: {', '.join(words)}")
        return text

    return read


def _as_it_is(value: Any) -> Any:
    return value


OPTIONS: dict[str, dict[str, Option]] = {
    "": {
        "cluster_domain": Option("text", cluster_domain),
        "data": Option("path", _as_it_is),
        "manifests": Option("paths", tuple),
        "user": Option("text", user),
        "log": Option("text", _one_of("debug", "info", "warning", "error")),
    },
    "services": {
        "cluster_ip_ranges": Option("texts", each(service_network, least=1)),
        "node_port_range": Option("text", port_range),
        "load_balancer_ranges": Option("texts", each(service_network)),
    },
    "dns": {
        "listen": Option("texts", listen_addresses),
        "workers": Option("number", _between(0, MAX_WORKERS, " (0 = one for each core)")),
        "ttl": Option("number", _between(0, MAX_TTL, " seconds")),
        "negative_ttl": Option("number", _between(0, MAX_TTL, " seconds")),
        "udp_size": Option("number", _between(512, 4096, " octets")),
        "short_names": Option("switch", _as_it_is),
        "pods": Option("text", _one_of("verified", "insecure", "disabled")),
        "endpoint_pod_names": Option("switch", _as_it_is),
        "ignore_empty_service": Option("switch", _as_it_is),
        "namespaces": Option("texts", each(namespace)),
        "namespace_labels": Option("text", label_selector),
        "reverse_zones": Option("texts", each(reverse_zone)),
        "advertise_addresses": Option("texts", each(address)),
        "fallthrough": Option("texts", each(zone)),
        "zones": Option("path", _as_it_is),
        "transfer_to": Option("texts", each(network)),
    },
    "forward": {
        "upstreams": Option("texts", each(forwarding.upstream)),
        "policy": Option("text", _one_of(*POLICIES)),
        "ca": Option("file", _as_it_is),
        "outstanding": Option("number", _between(1, MAX_OUTSTANDING, " questions")),
        "outstanding_per_client": Option("number", _between(1, MAX_OUTSTANDING, " questions")),
        "zone": Option("tables", forwarding.zones),
    },
    "cache": {
        "octets": Option("number", _cache_octets),
        "max_ttl": Option("number", _between(1, 7 * DAY, " seconds")),
        "max_negative_ttl": Option("number", _between(1, DAY, " seconds")),
        "stale": Option("number", _between(0, 7 * DAY, " seconds")),
    },
    "acl": {
        "names": Option("texts", acl.entries),
        "forward": Option("texts", acl.entries),
        "transfer": Option("texts", acl.entries),
    },
    "api": {
        "listen": Option("text", endpoint),
        "insecure": Option("switch", _as_it_is),
        "names": Option("texts", each(host_name)),
        "tls_cert": Option("file", _as_it_is),
        "tls_key": Option("file", _as_it_is),
        "client_ca": Option("file", _as_it_is),
        "tokens": Option("file", _as_it_is),
        "grant": Option("tables", grants),
    },
}
"""Section ("" for the top of the file) to key to Option: every option that there is."""


def spelt(value: Any) -> Any:
    """Return how a value of Config is spelt in TOML or JSON."""
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, tuple):
        return [spelt(item) for item in value]
    if value is None:
        return ""
    if isinstance(value, (Grant, ForwardZone)):
        return {field: spelt(each) for field, each in asdict(value).items() if each}
    if isinstance(value, range):
        return f"{value.start}-{value.stop - 1}"
    if isinstance(value, Path):
        return str(value)
    return str(value)
