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
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Literal

from .config import ROLES, Endpoint, Grant, Network

Form = Literal["text", "number", "switch", "texts", "path", "paths", "file", "tables"]
"""A file is a path, or "" for none; tables are written [[section.key]], one for each."""

MAX_TTL = 3600
MAX_WORKERS = 256
MAX_DOMAIN_LETTERS = 180
"""Longest cluster domain: leaves room for `_port._tcp.endpoint.service.namespace.svc` most of the time."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_ZONE_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_/-]{0,61}[a-z0-9_])?", re.ASCII)
_REVERSE = ("in-addr.arpa", "ip6.arpa")


class Wrong(ValueError):
    """A value that an option can't hold; the text says what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is spelt, and the reader that gives what Config holds."""

    form: Form
    read: Callable[[Any], Any]


def domain(text: str) -> str:
    """Return a domain name in lower case without the last dot."""
    name = text.lower().removesuffix(".")
    bad = next((label for label in name.split(".") if not _LABEL.fullmatch(label)), None)
    if bad is not None:
        raise Wrong(
            f"{text[:80]!r} is no domain name: label {bad[:80]!r}; "
            "allowed in a label: 1 to 63 letters, digits and inner '-'"
        )
    if len(name) > MAX_DOMAIN_LETTERS:
        raise Wrong(f"{text[:40]!r}... is too long; allowed: up to {MAX_DOMAIN_LETTERS} characters")
    return name


def cluster_domain(text: str) -> str:
    """Return the cluster domain: a domain name outside the reverse trees."""
    name = domain(text)
    if any(name == zone or name.endswith("." + zone) for zone in (*_REVERSE, "arpa")):
        raise Wrong(f"{text!r} belongs to the reverse tree; allowed: a forward zone such as cluster.local")
    return name


def reverse_zone(text: str) -> str:
    """Return a reverse zone: in-addr.arpa, ip6.arpa or a name below them."""
    name = zone(text)
    if not any(name == top or name.endswith("." + top) for top in _REVERSE):
        raise Wrong(f"{text!r} is no reverse zone; allowed: in-addr.arpa, ip6.arpa and names below them")
    return name


def zone(text: str) -> str:
    """Return the origin of a zone in lower case without the last dot; the root is "."."""
    name = text.lower().removesuffix(".")
    if not name and text == ".":
        return "."
    bad = next((label for label in name.split(".") if not _ZONE_LABEL.fullmatch(label)), None)
    if bad is not None or len(name) > 253:
        raise Wrong(f'{text[:80]!r} is no zone name; allowed: names such as in-addr.arpa, or "." for all')
    return name


def namespace(text: str) -> str:
    """Return the name of a namespace (an RFC 1123 label)."""
    if not _LABEL.fullmatch(text):
        raise Wrong(
            f"{text[:80]!r} is no namespace; allowed: 1 to 63 lower-case letters, digits and inner '-'"
        )
    return text


def network(text: str) -> Network:
    """Return a network, its host bits 0; a lone address is a network of one."""
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = ip_network(text, strict=False)
    except ValueError:
        raise Wrong(f"{text[:80]!r} is no network; allowed: such as 10.96.0.0/12 or fd00:1::/108") from None
    raise Wrong(f"{text!r} has bits set behind its prefix; meant: {meant}")


def service_network(text: str) -> Network:
    """Return a network whose addresses can be given to Services: unicast, at least four."""
    found = network(text)
    if found.is_multicast or found.prefixlen == 0 or found.num_addresses < 4:
        shortest = "/30" if found.version == 4 else "/126"
        raise Wrong(f"{text!r} can't be given to Services; allowed: unicast networks, {shortest} or larger")
    return found


def address(text: str) -> str:
    """Return a unicast address in its usual spelling."""
    try:
        found = ip_address(text)
    except ValueError:
        raise Wrong(f"{text[:80]!r} is no IP address; allowed: such as 192.0.2.1 or 2001:db8::1") from None
    if found.is_unspecified or found.is_multicast:
        raise Wrong(f"{text!r} can't be reached as a server; allowed: unicast addresses")
    return str(found)


def endpoint(text: str) -> Endpoint:
    """Return where to listen, from HOST:PORT; HOST is an address ([v6]) or localhost."""
    allowed = "allowed: ADDRESS:PORT or [IPv6-ADDRESS]:PORT, such as 127.0.0.1:1053 or [::1]:1053"
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        missing = "address" if colon or text.isdigit() else "port"
        raise Wrong(f"{text[:80]!r} lacks its {missing}; {allowed}, 0.0.0.0:PORT for all of IPv4")
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
        raise Wrong(f"port {port[:40]!r} in {text[:80]!r} is none; allowed: 0..65535, 0 takes a free one")
    bracketed = host.startswith("[") and host.endswith("]")
    inner = host[1:-1] if bracketed else host
    try:
        found = ip_address("127.0.0.1" if inner == "localhost" and not bracketed else inner)
    except ValueError:
        raise Wrong(f"{host[:80]!r} is no address of this machine; {allowed}") from None
    if (found.version == 6) is not bracketed or found.is_multicast:
        raise Wrong(f"{text[:80]!r} is no place to listen; {allowed}")
    return Endpoint(str(found), int(port))


def listen_addresses(texts: list[str]) -> tuple[Endpoint, ...]:
    """Return where to listen: at least one, none twice, no wildcard beside an address of its own."""
    found = tuple(_each(endpoint)(texts))
    if not found:
        raise Wrong('the list is empty; allowed: one or more of ADDRESS:PORT, such as ["127.0.0.1:1053"]')
    for at, one in enumerate(found):
        for other in found[:at]:
            if one.port and one.port == other.port and same_place(one.host, other.host):
                raise Wrong(f"{other} and {one} are one place; allowed: each address and port once")
    return found


def same_place(one: str, other: str) -> bool:
    """Return whether listening on one address takes the other's port (a wildcard takes all)."""
    a, b = ip_address(one), ip_address(other)
    return a.version == b.version and (a == b or a.is_unspecified or b.is_unspecified)


def port_range(text: str) -> range:
    """Return a range of ports from LOW-HIGH, both included."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*", text, re.ASCII)
    low, high = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= low <= high <= 65535:
        raise Wrong(f'{text[:80]!r} is no range of ports; allowed: "LOW-HIGH" within 1-65535')
    return range(low, high + 1)


def upstream(text: str) -> str:
    """Return where other names are asked for: a resolv.conf, an address, tls:// or https://."""
    scheme, there, rest = text.partition("://")
    if there and scheme in ("tls", "https") and rest:
        return text
    if text.startswith("/"):
        return text
    try:
        ip_address(text)
    except ValueError:
        try:
            endpoint(text)
        except Wrong:
            raise Wrong(
                f"{text[:80]!r} is no upstream; allowed: ADDRESS, ADDRESS:PORT, tls://HOST, "
                "https://HOST/PATH, or the absolute path of a resolv.conf"
            ) from None
    return text


def label_selector(text: str) -> str:
    """Return a label selector as Kubernetes writes it, "" for none."""
    from .objects.errors import StatusError
    from .objects.selectors import LabelSelector

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


def host_name(text: str) -> str:
    """Return the name of a host in lower case without the last dot."""
    name = text.lower().removesuffix(".")
    if len(name) > 253 or not all(_ZONE_LABEL.fullmatch(label) for label in name.split(".")):
        raise Wrong(f"{text[:80]!r} is no host name; allowed: such as dns.example.org, without a port")
    return name


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
        return Grant(who[0], who[1], role, _each(namespace)(among))
    except Wrong as wrong:
        raise Wrong(f"{what}: namespaces: {wrong}") from None


def _between(low: int, high: int, unit: str = "") -> Callable[[int], int]:
    def read(number: int) -> int:
        if not low <= number <= high:
            raise Wrong(f"{str(number)[:40]} is out of range; allowed: {low}..{high}{unit}")
        return number

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise Wrong(f"{text[:80]!r} is not known; allowed: {', '.join(words)}")
        return text

    return read


def _each(read: Callable[[str], Any], *, least: int = 0) -> Callable[[Sequence[str]], tuple[Any, ...]]:
    def read_each(texts: Sequence[str]) -> tuple[Any, ...]:
        if len(texts) < least:
            raise Wrong(f"the list is empty; allowed: {least} or more")
        found = tuple(read(text) for text in texts)
        twice = next((item for at, item in enumerate(found) if item in found[:at]), None)
        if twice is not None:
            raise Wrong(f"'{twice}' stands in the list twice; allowed: once")
        return found

    return read_each


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
        "cluster_ip_ranges": Option("texts", _each(service_network, least=1)),
        "node_port_range": Option("text", port_range),
        "load_balancer_ranges": Option("texts", _each(service_network)),
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
        "namespaces": Option("texts", _each(namespace)),
        "namespace_labels": Option("text", label_selector),
        "reverse_zones": Option("texts", _each(reverse_zone)),
        "advertise_addresses": Option("texts", _each(address)),
        "fallthrough": Option("texts", _each(zone)),
        "zones": Option("path", _as_it_is),
        "transfer_to": Option("texts", _each(network)),
    },
    "forward": {
        "upstreams": Option("texts", _each(upstream)),
    },
    "api": {
        "listen": Option("text", endpoint),
        "insecure": Option("switch", _as_it_is),
        "names": Option("texts", _each(host_name)),
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
    if isinstance(value, Grant):
        return {field: spelt(each) for field, each in asdict(value).items() if each}
    if isinstance(value, range):
        return f"{value.start}-{value.stop - 1}"
    if isinstance(value, Path):
        return str(value)
    return str(value)
