"""All sockets of the server, bound by the supervisor before any child runs.

Rules:

* the first UDP socket of an address is bound without SO_REUSEPORT, so a port in use is noticed; it
  joins the group afterwards, which leaves no moment in which another program could come in between;
* UDP and TCP of one listen entry have one port, also where the kernel chose it (port 0);
* an IPv6 wildcard takes IPv6 only: what 0.0.0.0 means is said by its own entry.

Standard library only.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from svcdns.config.sections import Config, Endpoint

RECEIVE_OCTETS = 4 << 20
LINK_OCTETS = 4 << 20
"""Room of a link between a worker and the forwarder: some thousand questions, where we may have as much."""
TCP_BACKLOG = 512
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_TRIES_FOR_A_PORT = 50


class BindError(Exception):
    """A place to listen that can't be had; the text is one line for the user."""


@dataclass(frozen=True, slots=True)
class Sockets:
    """What the supervisor holds: UDP sockets of each worker, and the listeners that all share."""

    udp: list[list[socket.socket]]
    """By worker, then in the order of dns.listen."""
    tcp: list[socket.socket]
    api: socket.socket
    links: list[tuple[socket.socket, socket.socket]]
    """By worker: its end of its link with the forwarder and the forwarder's; [] where none is needed."""
    flush: tuple[socket.socket, socket.socket] | None
    """The writer's and the forwarder's end of their link; None where nothing is forwarded."""
    dns_addresses: list[Endpoint]
    """The real addresses, in the order of dns.listen."""
    api_address: Endpoint

    def close(self) -> None:
        """Close all of them."""
        ends = [end for link in (*self.links, self.flush or ()) for end in link]
        for one in [*(one for row in self.udp for one in row), *self.tcp, self.api, *ends]:
            one.close()


def bind_all(config: Config, workers: int) -> Sockets:
    """Bind every socket of the server.  Raises BindError; nothing stays open then."""
    opened: list[socket.socket] = []
    try:
        pairs = [_dns_pair(listen, opened) for listen in config.dns.listen]
        addresses = [
            Endpoint(listen.host, udp.getsockname()[1])
            for listen, (udp, _) in zip(config.dns.listen, pairs, strict=True)
        ]
        udp = [[first for first, _ in pairs]]
        udp += [[_more_udp(address, opened) for address in addresses] for _ in range(1, workers)]
        api = _tcp(config.api.listen, opened, "API, TCP", "--api")
        api_address = Endpoint(config.api.listen.host, api.getsockname()[1])
    except BaseException:
        for one in opened:
            one.close()
        raise
    # Here, as only root can make them large.
    links = [link() for _ in udp] if config.forward.forwards else []
    flush = link() if config.forward.forwards else None
    return Sockets(udp, [tcp for _, tcp in pairs], api, links, flush, addresses, api_address)


def _dns_pair(listen: Endpoint, opened: list[socket.socket]) -> tuple[socket.socket, socket.socket]:
    """Return the first UDP socket and the TCP listener of an entry, on one port."""
    for _ in range(_TRIES_FOR_A_PORT):
        udp = _first_udp(listen)
        try:
            tcp = _tcp(Endpoint(listen.host, udp.getsockname()[1]), opened, "DNS, TCP", "--dns")
        except BindError:
            udp.close()
            if listen.port:
                raise
            continue  # the port that UDP was given is taken on TCP: another one
        opened.append(udp)
        return udp, tcp
    raise BindError(f"no port is free for both UDP and TCP on {listen.host}")


def _first_udp(listen: Endpoint) -> socket.socket:
    udp = _socket(listen, socket.SOCK_DGRAM)
    try:
        _bind(udp, listen, "DNS, UDP", "--dns")
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _widen(udp)
    except BaseException:
        udp.close()
        raise
    return udp


def _more_udp(address: Endpoint, opened: list[socket.socket]) -> socket.socket:
    udp = _socket(address, socket.SOCK_DGRAM)
    opened.append(udp)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    _bind(udp, address, "DNS, UDP", "--dns")
    _widen(udp)
    return udp


def _tcp(listen: Endpoint, opened: list[socket.socket], what: str, flag: str) -> socket.socket:
    tcp = _socket(listen, socket.SOCK_STREAM)
    try:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(tcp, listen, what, flag)
        tcp.listen(TCP_BACKLOG)
    except OSError as failed:
        tcp.close()
        raise _refused(failed, listen, what, flag) from None
    except BaseException:
        tcp.close()
        raise
    opened.append(tcp)
    return tcp


def _socket(listen: Endpoint, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        made = socket.socket(family, kind)
    except OSError as failed:
        raise BindError(f"can't open a socket for {listen}: {failed.strerror}") from None
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.setblocking(False)
    return made


def _bind(one: socket.socket, listen: Endpoint, what: str, flag: str) -> None:
    try:
        # getaddrinfo knows about IPv6 scopes (fe80::1%eth0)
        where = socket.getaddrinfo(listen.host, listen.port, type=one.type, flags=socket.AI_NUMERICHOST)
        one.bind(where[0][4])
    except OSError as failed:
        raise _refused(failed, listen, what, flag) from None


def _refused(failed: OSError, listen: Endpoint, what: str, flag: str) -> BindError:
    if failed.errno == errno.EADDRINUSE:
        text = f"{listen} ({what}) is in use by another program; stop that, or choose another with {flag}"
    elif failed.errno in (errno.EACCES, errno.EPERM):
        text = (
            f"{listen} ({what}) needs more rights: ports below 1024 are for root (then set user) "
            f"or CAP_NET_BIND_SERVICE; or choose another with {flag}"
        )
    elif failed.errno == errno.EADDRNOTAVAIL:
        wildcard = "[::]" if ":" in listen.host else "0.0.0.0"
        # An API on all addresses takes more than that: it has to know who asks.
        every = f", or {wildcard} for all" if flag == "--dns" else ""
        text = f"{listen} ({what}): this machine has no such address; choose another with {flag}{every}"
    else:
        text = f"{listen} ({what}) can't be bound: {failed.strerror or failed}"
    return BindError(text)


def link() -> tuple[socket.socket, socket.socket]:
    """Return a link (see svcdns.dns.forward_link, .flush_link): the forwarder's end is the second."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
        try:
            end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, LINK_OCTETS)
        except OSError:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINK_OCTETS)
    return ends


def _widen(udp: socket.socket) -> None:
    """Make room for bursts; beyond the system's limit only where we may (CAP_NET_ADMIN)."""
    try:
        udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_OCTETS)
    except OSError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_OCTETS)
