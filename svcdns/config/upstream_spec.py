"""How an upstream is written in the configuration.

    9.9.9.9   127.0.0.1:5353   2001:db8::1   [2001:db8::1]:5353   fe80::1%eth0    UDP, TCP for what is longer
    tcp://9.9.9.9                                                                 TCP only
    tls://9.9.9.9#dns.quad9.net   tls://9.9.9.9   tls://dns.quad9.net             DNS over TLS (RFC 7858)
    https://dns.quad9.net/dns-query   https://dns.quad9.net/dns-query#9.9.9.9     DNS over HTTPS (RFC 8484)
    /etc/resolv.conf                                                              what that file lists

Behind # stands the other half of what TLS needs: the name that the certificate is for where an address
stands in front, the address to connect to where a name does.  A name without an address is resolved
by the system, so it is no choice where the system asks us.

`parse` and `str` are inverses: a Spec has one spelling.  Standard library only: the supervisor reads this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Literal

from .readers import Wrong

Kind = Literal["file", "udp", "tcp", "tls", "https"]

PORTS: dict[str, int] = {"udp": 53, "tcp": 53, "tls": 853, "https": 443}
"""What is meant where no port is written."""

ALLOWED = (
    "allowed: ADDRESS[:PORT], tcp://ADDRESS[:PORT], tls://ADDRESS[:PORT][#SERVER-NAME], tls://NAME[:PORT], "
    "https://HOST[:PORT]/PATH[#ADDRESS], or the absolute path of a resolv.conf"
)

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_PATH = r"/([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*"
_OTHERS_PORT = r"(tcp://|tls://)?\[?([0-9A-Fa-f.:]+)\]?[#@]([0-9]{1,5})(#[^#]*)?"
_INTERFACE = r"[A-Za-z0-9_.@-]{1,15}"


@dataclass(frozen=True, slots=True)
class Spec:
    """One upstream, or the file that lists some."""

    kind: Kind
    host: str = ""
    """An address without brackets, or a name in lower case without the last dot; "" for a file."""
    port: int = 0
    path: str = ""
    """Of a file or a URL (with its query)."""
    server_name: str = ""
    """tls: the name that the certificate is for; "" where it is for `host`."""
    connect: str = ""
    """https: the address to connect to; "" where `host` says it."""

    @property
    def address(self) -> str:
        """The address that is connected to, "" where the system has to resolve a name."""
        host = self.connect or self.host
        return host if _is_address(host) else ""

    @property
    def url(self) -> str:
        """What an https upstream is asked under."""
        return f"https://{_place(self.host, self.port, PORTS['https'])}{self.path}"

    def __str__(self) -> str:
        """Return the text of the configuration, in its one spelling."""
        if self.kind == "file":
            return self.path
        if self.kind == "https":
            return self.url + (f"#{self.connect}" if self.connect else "")
        place = _place(self.host, self.port, PORTS[self.kind])
        if self.kind == "udp":
            return self.host if self.port == PORTS["udp"] else place
        return f"{self.kind}://{place}" + (f"#{self.server_name}" if self.server_name else "")


def upstream(text: str) -> str:
    """Return an upstream in its one spelling."""
    return str(parse(text))


def parse(text: str) -> Spec:
    """Return what an upstream's text says.  Raises Wrong: what is wrong and what is allowed."""
    try:
        return _parse(text)
    except Wrong:
        if meant := _with_colon(text):
            what = f"a port stands behind a colon; did you mean {meant}?"
            raise Wrong(f"{text[:80]!r} is no upstream: {what} {ALLOWED}") from None
        raise


def _with_colon(text: str) -> str:
    """Return what dnsmasq's ADDRESS#PORT and unbound's ADDRESS@PORT[#NAME] mean, "" for another text."""
    other = re.fullmatch(_OTHERS_PORT, text, re.ASCII | re.IGNORECASE)
    if other is None:
        return ""
    scheme, host, port, rest = other.groups(default="")
    scheme = scheme or "tls://" * bool(rest)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return str(_parse(scheme + place + rest))
    except Wrong:
        return ""


def _parse(text: str) -> Spec:
    if text.startswith("/"):
        if not text.isprintable() or text.endswith("/"):
            raise Wrong(f"{text[:80]!r} is no path of a resolv.conf; {ALLOWED}")
        return Spec("file", path=text)
    scheme, there, rest = text.partition("://")
    scheme = scheme.lower() if there else "udp"
    if not there:
        return Spec("udp", *_address_and_port(text, text, "udp"))
    if scheme == "tcp":
        return Spec("tcp", *_address_and_port(rest, text, "tcp"))
    if scheme == "tls":
        return _tls(rest, text)
    if scheme == "https":
        return _https(rest, text)
    raise Wrong(f"{text[:80]!r} is no upstream: {scheme[:20]!r} is not known; {ALLOWED}")


def _tls(rest: str, text: str) -> Spec:
    place, hash_, name = rest.partition("#")
    host, port = _host_and_port(place, text, "tls")
    if not hash_:
        return Spec("tls", host, port)
    if not _is_address(host):
        raise Wrong(f"{text[:80]!r}: a name stands in front of # already; {ALLOWED}")
    return Spec("tls", host, port, server_name=_host_name(name, text))


def _https(rest: str, text: str) -> Spec:
    rest, hash_, connect = rest.partition("#")
    place, slash, path = rest.partition("/")
    host, port = _host_and_port(place, text, "https")
    if not slash:
        raise Wrong(f"{text[:80]!r} lacks its path; allowed: such as https://{place[:80]}/dns-query")
    if not re.fullmatch(_PATH, "/" + path):
        raise Wrong(f"{text[:80]!r}: {('/' + path)[:80]!r} is no path of a URL; {ALLOWED}")
    address = _address(connect.removeprefix("[").removesuffix("]"), text) if hash_ else ""
    return Spec("https", host, port, "/" + path, connect=address)


def _address_and_port(place: str, text: str, kind: Kind) -> tuple[str, int]:
    """Return an address and its port."""
    host, port = _split(place, text, kind)
    return _address(host, text), port


def _host_and_port(place: str, text: str, kind: Kind) -> tuple[str, int]:
    """Return a host (address or name) and its port, as they stand in a URL."""
    if "@" in place and "%" not in place:
        raise Wrong(f"{text[:80]!r} names a user; {ALLOWED}")
    host, port = _split(place, text, kind)
    if ":" in host or _is_address(host):
        return _address(host, text), port
    return _host_name(host, text), port


def _split(place: str, text: str, kind: Kind) -> tuple[str, int]:
    """Return HOST and PORT of HOST, HOST:PORT, [HOST], [HOST]:PORT, or an IPv6 address without brackets."""
    if place.count(":") > 1 and not place.startswith("["):
        return place, PORTS[kind]
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in host:
            raise Wrong(f"{text[:80]!r} is no upstream: brackets hold an IPv6 address; {ALLOWED}")
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = place.partition(":")
    if not colon:
        return host, PORTS[kind]
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or not 1 <= int(port) <= 65535:
        raise Wrong(f"port {port[:40]!r} in {text[:80]!r} is none; allowed: 1..65535")
    return host, int(port)


def _address(host: str, text: str) -> str:
    """Return a unicast address in its usual spelling; IPv4 inside IPv6 becomes IPv4."""
    try:
        found = ip_address(host)
    except ValueError:
        raise Wrong(f"{text[:80]!r} is no upstream: {host[:80]!r} is no address; {ALLOWED}") from None
    if isinstance(found, IPv6Address):
        _check_interface(found, text)
        found = found.ipv4_mapped or found
    if found.is_unspecified or found.is_multicast or str(found) == "255.255.255.255":
        raise Wrong(f"{text[:80]!r} can't be reached as a server; allowed: unicast addresses")
    return str(found)


def _check_interface(found: IPv6Address, text: str) -> None:
    interface = found.scope_id
    if found.is_link_local and interface is None:
        raise Wrong(f"{text[:80]!r} says not on which interface; allowed: such as {found}%eth0")
    if interface is not None and not (found.is_link_local and re.fullmatch(_INTERFACE, interface)):
        allowed = "allowed: an interface behind fe80::/10"
        raise Wrong(f"{text[:80]!r}: %{interface[:40]} can't stand there; {allowed}")


def _host_name(host: str, text: str) -> str:
    """Return a host name in lower case; one that ends in a number is meant as an address."""
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or labels[-1].isdigit() or not all(re.fullmatch(_LABEL, label) for label in labels):
        raise Wrong(f"{text[:80]!r}: {host[:80]!r} is neither an address nor a host name; {ALLOWED}")
    return name


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _place(host: str, port: int, usual: int) -> str:
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port == usual else f"{bracketed}:{port}"
