"""Readers of what options of the configuration hold: names, addresses, networks, numbers and words.

A reader takes what somebody wrote and returns the one value that it means; it raises Wrong with what is wrong
and what is allowed.  It knows nothing of files, variables or flags.  Standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import takewhile
from typing import Any

Network = IPv4Network | IPv6Network

MAX_DOMAIN_LETTERS = 180
"""Longest cluster domain: leaves room for `_port._tcp.endpoint.service.namespace.svc` most of the time."""

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_ZONE_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_/-]{0,61}[a-z0-9_])?", re.ASCII)
_REVERSE = ("in-addr.arpa", "ip6.arpa")


class Wrong(ValueError):
    """A value that an option can't hold; the text says what is wrong and what is allowed."""

    table: int = 0
    """Of an option that is written as tables: the number of the one that is wrong, from 1; 0 for none."""
    others: tuple[Wrong, ...] = ()
    """What else is wrong with the same value, such as other items of a list."""

    @property
    def all(self) -> tuple[Wrong, ...]:
        """Everything that is wrong with the value."""
        return (self, *self.others)

    def reworded(self, word: Callable[[Wrong], Wrong]) -> Wrong:
        """Return all of it in other words."""
        return together([word(one) for one in self.all])

    @classmethod
    def in_table(cls, number: int, text: str) -> Wrong:
        """Return what is wrong about one table."""
        wrong = cls(text)
        wrong.table = number
        return wrong


def together(wrongs: Sequence[Wrong]) -> Wrong:
    """Return several as one; there is at least one, and none has others."""
    first, *rest = wrongs
    first.others = tuple(rest)
    return first


DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on; port 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as it is written: HOST:PORT, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def shown(value: Any) -> str:
    """Return a value of any type as a line about it quotes it: JSON, cut where it is long."""
    try:
        text = json.dumps(value, default=str)
    except ValueError:  # a number with thousands of digits
        return "this"
    return text if len(text) <= 60 else text[:57] + "..."


def few(items: Sequence[str]) -> str:
    """Return the first three of some items, and how many more there are."""
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(items[:3]) + more


def between(low: int, high: int, unit: str = "") -> Callable[[int], int]:
    """Return the reader of a whole number within these bounds, both allowed."""

    def read(number: int) -> int:
        if not low <= number <= high:
            raise Wrong(f"{_digits(number)} is out of range; allowed: {low}..{high} {unit}".rstrip())
        return number

    return read


def _digits(number: int) -> str:
    """Return a number as text; Python refuses to write out one with thousands of digits."""
    return str(number)[:40] if abs(number) < 1 << 1024 else "this number"


def cache_octets(number: int) -> int:
    """Return the size of the cache: 0, or what is worth having."""
    least, most = 1 << 20, 64 << 30
    if number and not least <= number <= most:
        allowed = f"allowed: 0 for no cache, or {least} (1 MiB) to {most} (64 GiB) octets"
        raise Wrong(f"{_digits(number)} is out of range; {allowed}")
    return number


def one_of(*words: str) -> Callable[[str], str]:
    """Return the reader of one of these words."""

    def read(text: str) -> str:
        if text not in words:
            raise Wrong(f"{text[:80]!r} is not known; allowed: {', '.join(words)}")
        return text

    return read


def user(text: str) -> str:
    """Return the name of a user of this machine, or "" for none."""
    if text and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}", text, re.ASCII):
        raise Wrong(f"{text[:80]!r} is no user name; allowed: a name of /etc/passwd")
    return text


def label_selector(text: str) -> str:
    """Return a label selector as Kubernetes writes it, "" for none."""
    from svcdns.objects.errors import StatusError
    from svcdns.objects.selectors import LabelSelector

    try:
        LabelSelector.parse(text)
    except StatusError as wrong:
        raise Wrong(f"{wrong.message}; allowed: such as team=web,tier!=test") from None
    return text.strip()


def is_within(name: str, *zones: str) -> bool:
    """Return whether a name is one of these zones, or below one."""
    return any(name == zone or name.endswith("." + zone) for zone in zones)


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
    """Return the cluster domain: outside the reverse trees; home.arpa is for homes (RFC 8375)."""
    name = domain(text)
    if is_within(name, "arpa") and not is_within(name, "home.arpa"):
        raise Wrong(f"{text!r} belongs to the reverse tree; allowed: a forward zone such as cluster.local")
    return name


def alias_zone(text: str) -> str:
    """Return a zone below which Services may have names of their own.

    Never in the reverse trees, and none of the names that mean something else than a place in the tree for
    good (RFC 6761, RFC 7686, RFC 9462).
    """
    name = domain(text)
    if is_within(name, "arpa") and not is_within(name, "home.arpa"):
        raise Wrong(f"{text!r} belongs to the reverse tree; allowed: a forward zone such as home.arpa")
    if is_within(name, "localhost", "invalid", "onion"):
        raise Wrong(f"{text!r} never means a host of a network (RFC 6761, RFC 7686); allowed: other zones")
    return name


def catalog_zone(text: str) -> str:
    """Return the origin of the catalog zone, "" for none."""
    return domain(text) if text else ""


def reverse_zone(text: str) -> str:
    """Return a reverse zone: in-addr.arpa, ip6.arpa or a name below them."""
    name = zone(text)
    if not is_within(name, *_REVERSE):
        raise Wrong(f"{text!r} is no reverse zone; allowed: in-addr.arpa, ip6.arpa and names below them")
    return name


def reverse_network(name: str) -> Network | None:
    """Return the smallest network that a name of the reverse trees belongs to, None for any other name.

    From the root down, labels are digits of the address until one isn't: that is a name within the network.
    """
    top = next((top for top in _REVERSE if name.endswith("." + top)), None)
    if top is None:
        return None
    kind, most, bits, base = (IPv4Network, 4, 8, "d") if top == "in-addr.arpa" else (IPv6Network, 32, 4, "x")
    digits = {format(digit, base): digit for digit in range(1 << bits)}
    labels = reversed(name.removesuffix("." + top).split(".")[-most:])
    found = [digits[label] for label in takewhile(digits.__contains__, labels)]
    value = sum(digit << bits * (most - at) for at, digit in enumerate(found, 1))
    return kind((value, bits * len(found)))


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
    if "%" in text:
        raise Wrong(f"{text[:80]!r} names an interface; allowed: networks, such as fe80::/10")
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


def name_server(text: str) -> Endpoint:
    """Return where another name server listens, from ADDRESS or ADDRESS:PORT (IPv6 in brackets)."""
    try:
        return Endpoint(address(text), DNS_PORT)
    except Wrong:
        found = endpoint(text)
    if not found.port:
        raise Wrong(f"{text[:80]!r} has port 0; allowed: 1..65535, or no port for {DNS_PORT}")
    return Endpoint(address(found.host), found.port)


def listen_addresses(texts: list[str]) -> tuple[Endpoint, ...]:
    """Return where to listen: at least one, none twice, no wildcard beside an address of its own."""
    found = tuple(each(endpoint)(texts))
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


def host_name(text: str) -> str:
    """Return the name of a host in lower case without the last dot."""
    name = text.lower().removesuffix(".")
    if len(name) > 253 or not all(_ZONE_LABEL.fullmatch(label) for label in name.split(".")):
        raise Wrong(f"{text[:80]!r} is no host name; allowed: such as dns.example.org, without a port")
    return name


def node_name(text: str) -> str:
    """Return the name of a node as Kubernetes has it (an RFC 1123 subdomain), "" for none."""
    name = text.lower()
    if name and (len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split("."))):
        raise Wrong(f"{text[:80]!r} is no name of a node; allowed: such as host-1 or host-1.example.org")
    return name


def interface(text: str) -> str:
    """Return the name of a network interface, as Linux has them: 15 octets at most, no slash, no space."""
    is_name = 0 < len(text.encode()) < 16 and not set(text) & set("/: \t\n\0") and text not in (".", "..")
    if not is_name:
        raise Wrong(f"{text[:80]!r} is no name of an interface; allowed: such as eth0")
    return text


def node_port_addresses(text: str) -> str:
    """Return a word for addresses of this host, or a network in its usual spelling."""
    return text if text in ("primary", "localhost", "all") else str(network(text))


def local_network(text: str) -> str:
    """Return "auto", or a network in its usual spelling."""
    return text if text == "auto" else str(network(text))


def each(read: Callable[[str], Any], *, least: int = 0) -> Callable[[Sequence[str]], tuple[Any, ...]]:
    """Return the reader of a list: at least so many values, none twice however it is spelt."""

    def read_all(texts: Sequence[str]) -> tuple[Any, ...]:
        if len(texts) < least:
            raise Wrong(f"the list is empty; allowed: {least} or more")
        found: dict[Any, None] = {}
        wrongs: list[Wrong] = []
        for text in texts:
            try:
                item = read(text)
            except Wrong as wrong:
                wrongs += wrong.all
                continue
            if item in found:
                wrongs.append(Wrong(f"'{item}' stands in the list twice; allowed: once"))
            found[item] = None
        if wrongs:
            raise together(wrongs)
        return tuple(found)

    return read_all
