"""The resolv.conf that makes a container resolve names as a Pod of a namespace does.

Pure: which addresses there are is said by whoever calls.  The search list and ndots are Kubernetes' own
(https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/), the format is resolv.conf(5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address

from svcdns.config.sections import Endpoint

DNS_PORT = 53
MOST_SERVERS = 3
"""glibc asks no more than that (MAXNS), musl neither."""
NDOTS = 5
MOST_DOTS = 15
"""glibc takes larger numbers for this one."""


def text(
    servers: Sequence[Endpoint], namespace: str, domain: str, ndots: int = NDOTS, *, say_which: str = ""
) -> str:
    """Return the whole file; `servers` are at most MOST_SERVERS, `domain` is the cluster domain.

    What keeps the file from working is said in a comment, with the remedy.  `say_which` is by what one says
    an address of a server that listens on all, "" for one that doesn't.
    """
    lines = [f"# Made by svcdns: resolves names as a Pod of namespace {namespace} does."]
    lines += [f"# {note}" for note in _notes(servers, say_which)]
    lines += [f"nameserver {one.host}" for one in servers]
    lines += [f"search {' '.join(search_list(namespace, domain))}", f"options ndots:{ndots}", ""]
    return "\n".join(lines)


def search_list(namespace: str, domain: str) -> tuple[str, ...]:
    """Return what is put behind a name, in this order."""
    return f"{namespace}.svc.{domain}", f"svc.{domain}", domain


def asked_names(name: str, namespace: str, domain: str, ndots: int = NDOTS) -> list[str]:
    """Return the names that a resolver with this file asks for in turn, absolute (resolv.conf(5))."""
    if name.endswith("."):
        return [name]
    below = [f"{name}.{end.rstrip('.')}." for end in search_list(namespace, domain)]
    return [f"{name}.", *below] if name.count(".") >= ndots else [*below, f"{name}."]


def _notes(servers: Sequence[Endpoint], say_which: str) -> Iterable[str]:
    ports = sorted({one.port for one in servers} - {DNS_PORT})
    if ports:
        port = f"port {ports[0]}" if ports[0] else "a port of the kernel's choice"
        yield (
            f"svcdns answers on {port}, and resolv.conf can't name a port: "
            f"have it listen on port {DNS_PORT} (listen in [dns], or --dns)."
        )
    if all(ip_address(one.host).is_loopback for one in servers):
        yield "Loopback is reached only within one network namespace, and most containers have their own."
        if say_which:
            yield f"svcdns listens on all addresses: say which one containers reach, by {say_which}."
        else:
            yield "For these, have svcdns listen on another address (listen in [dns], or --dns)."


def listens_on_all(listening: Sequence[Endpoint]) -> bool:
    """Return whether `addresses_for` has to choose for a wildcard; arguments as there."""
    return any(ip_address(one.host).is_unspecified for one in _chosen(listening))


def _chosen(listening: Sequence[Endpoint]) -> list[Endpoint]:
    """Return the listeners that clients are sent to."""
    return [one for one in listening if one.port == DNS_PORT] or list(listening)


def addresses_for(
    listening: Sequence[Endpoint], advertised: Sequence[str], local: str | None = None
) -> list[Endpoint]:
    """Return where clients of this server should ask, best first, at most MOST_SERVERS.

    `listening` is where it answers DNS, `advertised` are dns.advertise_addresses, `local` is the address at
    which this client reached another service of the same machine (its API), None if it did not.

    Listeners on port 53 come alone if there are any.  A wildcard stands for `local`, or for what is
    advertised.  Loopback addresses are given only where there is nothing else.
    """
    chosen = _chosen(listening)
    found: list[Endpoint] = []
    for one in chosen:
        hosts = _reached(one, advertised, local) if ip_address(one.host).is_unspecified else [one.host]
        found += [Endpoint(host, one.port) for host in hosts]
    public = [one for one in found if not ip_address(one.host).is_loopback]
    public = public or [Endpoint(host, chosen[0].port) for host in advertised]
    return list(dict.fromkeys(public or found))[:MOST_SERVERS]


def _reached(wildcard: Endpoint, advertised: Sequence[str], local: str | None) -> list[str]:
    """Return addresses of one family at which a wildcard listener is reached."""
    version = ip_address(wildcard.host).version
    if local is not None:
        address = ip_address(local)
        address = (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
        if address.version == version and not address.is_loopback and not address.is_unspecified:
            return [str(address)]
    same = [host for host in advertised if ip_address(host).version == version]
    return same or ["127.0.0.1" if version == 4 else "::1"]
