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
import os
import socket
from dataclasses import dataclass
from typing import Any

from svcdns.config.sections import Config, Endpoint
from svcdns.system.port_owner import program_at

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
    """Rows, at least one a worker, each in the order of dns.listen."""
    tcp: list[socket.socket]
    api: socket.socket
    links: list[tuple[socket.socket, socket.socket]]
    """By worker: its end of its link with the forwarder and the forwarder's; [] where none is needed."""
    passing: tuple[socket.socket, socket.socket]
    """Where workers that leave put their TCP connections, and where those who stay find them."""
    flush: tuple[socket.socket, socket.socket] | None
    """The writer's and the forwarder's end of their link; None where nothing is forwarded."""
    dns_addresses: list[Endpoint]
    """The real addresses, in the order of dns.listen."""
    api_address: Endpoint

    def udp_of(self, worker: int, workers: int) -> list[socket.socket]:
        """Return the sockets that a worker reads: several rows after an upgrade to fewer workers."""
        return [one for row in self.udp[worker::workers] for one in row]

    def all(self) -> list[socket.socket]:
        """Return all of them."""
        ends = [end for pair in (*self.links, self.passing, self.flush or ()) for end in pair]
        return [*(one for row in self.udp for one in row), *self.tcp, self.api, *ends]

    def close(self) -> None:
        """Close all of them."""
        for one in self.all():
            one.close()

    def numbers(self) -> dict[str, Any]:
        """Return their descriptors and addresses, for a successor (see succession.py); -1 is a closed one."""
        return {
            "udp": [[one.fileno() for one in row] for row in self.udp],
            "tcp": [one.fileno() for one in self.tcp],
            "api": self.api.fileno(),
            "links": [[end.fileno() for end in ends] for ends in self.links],
            "passing": [end.fileno() for end in self.passing],
            "flush": [end.fileno() for end in self.flush or ()],
            "dns_addresses": [[one.host, one.port] for one in self.dns_addresses],
            "api_address": [self.api_address.host, self.api_address.port],
        }

    @classmethod
    def of(cls, numbers: dict[str, Any]) -> Sockets:
        """Return the sockets of a predecessor."""
        known: dict[int, socket.socket] = {}  # what several workers read is one socket here too
        return cls(
            [[_of_number(one, known) for one in row] for row in numbers["udp"]],
            [_of_number(one, known) for one in numbers["tcp"]],
            _of_number(numbers["api"], known),
            [_pair(ends, known) for ends in numbers["links"]],
            _pair(numbers["passing"], known),
            _pair(numbers["flush"], known) if numbers["flush"] else None,
            [Endpoint(*one) for one in numbers["dns_addresses"]],
            Endpoint(*numbers["api_address"]),
        )


def _of_number(number: int, known: dict[int, socket.socket]) -> socket.socket:
    if number in known:
        return known[number]
    if number < 0:
        made = socket.socket()
        made.close()
        return made
    known[number] = made = socket.socket(fileno=number)
    os.set_inheritable(number, False)
    return made


def _pair(numbers: list[int], known: dict[int, socket.socket]) -> tuple[socket.socket, socket.socket]:
    one, other = numbers
    return _of_number(one, known), _of_number(other, known)


def bind_all(config: Config, workers: int) -> Sockets:
    """Bind every socket of the server.  Raises BindError; nothing stays open then."""
    opened: list[socket.socket] = []
    try:
        pairs = [dns_pair(listen, opened) for listen in config.dns.listen]
        addresses = [
            Endpoint(listen.host, udp.getsockname()[1])
            for listen, (udp, _) in zip(config.dns.listen, pairs, strict=True)
        ]
        udp = [[first for first, _ in pairs]]
        udp += [[more_udp(address, opened) for address in addresses] for _ in range(1, workers)]
        api = tcp_listener(config.api.listen, opened, "API, TCP", "--api")
        api_address = Endpoint(config.api.listen.host, api.getsockname()[1])
    except BaseException:
        for one in opened:
            one.close()
        raise
    # Here, as only root can make them large.
    links = [link() for _ in udp] if config.forward.forwards else []
    flush = link() if config.forward.forwards else None
    tcp = [tcp for _, tcp in pairs]
    return Sockets(udp, tcp, api, links, passing(), flush, addresses, api_address)


def dns_pair(listen: Endpoint, opened: list[socket.socket]) -> tuple[socket.socket, socket.socket]:
    """Return the first UDP socket and the TCP listener of an entry, on one port.  Raises BindError."""
    for _ in range(_TRIES_FOR_A_PORT):
        udp = _first_udp(listen)
        try:
            tcp = tcp_listener(Endpoint(listen.host, udp.getsockname()[1]), opened, "DNS, TCP", "--dns")
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


def more_udp(address: Endpoint, opened: list[socket.socket]) -> socket.socket:
    """Return one more UDP socket of an address.  Raises BindError."""
    udp = _socket(address, socket.SOCK_DGRAM)
    opened.append(udp)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    _bind(udp, address, "DNS, UDP", "--dns")
    _widen(udp)
    return udp


def tcp_listener(listen: Endpoint, opened: list[socket.socket], what: str, flag: str) -> socket.socket:
    """Return a TCP listener; errors name what it is for and the flag that chooses it.  Raises BindError."""
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
        program = program_at("udp" if "UDP" in what else "tcp", listen.port) or "another program"
        text = f"{listen} ({what}) is in use by {program}; stop that, or choose another with {flag}"
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


def passing() -> tuple[socket.socket, socket.socket]:
    """Return what TCP connections are passed on through."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def _widen(udp: socket.socket) -> None:
    """Make room for bursts; beyond the system's limit only where we may (CAP_NET_ADMIN)."""
    try:
        udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_OCTETS)
    except OSError:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_OCTETS)
