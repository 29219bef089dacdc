"""Where a frontend can be bound, and in plain words why not.

Rules:

* an address is bound where it is the host's: on an interface, in 127.0.0.0/8, or by a route `local` of a
  whole range (AnyIP).  For IPv6 such a route takes IPV6_FREEBIND, which asks nobody whether the address is
  ours, so the kernel is asked for its route first;
* each address is bound by itself.  So a program that has the port of all addresses has it of this one too.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from svcdns.cluster.traffic_plan import NODE, TCP, UDP, Frontend, Host
from svcdns.netlink.wire import ACK, ROUTE, Message, Socket, attribute
from svcdns.proxy.relay.picking import Network

_IPV6_FREEBIND = 78
KINDS = {TCP: socket.SOCK_STREAM, UDP: socket.SOCK_DGRAM}
_GET_ROUTE, _DESTINATION, _LOCAL = 26, 1, 2
"""RTM_GETROUTE, RTA_DST, RTN_LOCAL (rtnetlink(7))."""
_ROUTE_HEADER = struct.Struct("=BBBBBBBBI")
_LOOPBACK = {4: bytes((127, 0, 0, 1)), 6: bytes(15) + b"\1"}
_PRIVILEGED_BELOW = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


class Point(NamedTuple):
    """Where a socket is bound."""

    protocol: int
    address: bytes
    port: int

    @property
    def text(self) -> str:
        """Its address, for people and sockets."""
        return socket.inet_ntop(_family(self.address), self.address)


def points(frontend: Frontend, host: Host) -> Sequence[Point]:
    """Return where a frontend is bound: node ports on the node's addresses, and on the loopback address."""
    if frontend.address != NODE:
        return [Point(frontend.protocol, frontend.address, frontend.port)]
    size = 4 if frontend.family == 4 else 16
    addresses = [one for one in host.node_addresses if len(one) == size]
    unique = dict.fromkeys((*addresses, _LOOPBACK[frontend.family]))
    return [Point(frontend.protocol, address, frontend.port) for address in unique]


def bind(point: Point) -> socket.socket:
    """Return a bound socket that does not block.  Raises OSError; `reason` says what it means."""
    made = socket.socket(_family(point.address), KINDS[point.protocol])
    try:
        made.setblocking(False)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if point.protocol == TCP:  # inherited by the connections that it takes
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _bind(made, point)
    except OSError:
        made.close()
        raise
    return made


def _bind(made: socket.socket, point: Point) -> None:
    try:
        made.bind((point.text, point.port))
    except OSError as wrong:
        far = wrong.errno == errno.EADDRNOTAVAIL and len(point.address) == 16
        if not far or not is_local(point.address):
            raise
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        made.bind((point.text, point.port))


def is_local(address: bytes) -> bool:
    """Whether the kernel takes what is sent to an address for its own."""
    family = _family(address)
    header = _ROUTE_HEADER.pack(family, 8 * len(address), 0, 0, 0, 0, 0, 0, 0)
    try:
        with Socket(ROUTE) as kernel:
            octets = header + attribute(_DESTINATION, address)
            answers = kernel.exchange([Message(_GET_ROUTE, ACK, octets)])
    except OSError:
        return False
    return any(answer.payload[7:8] == bytes((_LOCAL,)) for answer in answers)


def reason(code: int, point: Point, ranges: Sequence[Network], owner: str) -> str:
    """Return why a point could not be bound, and what helps.

    `code` is the errno; `owner` says which program has the port, where that is known.
    """
    if code == errno.EADDRINUSE:
        taker = owner or "another program"
        return f"{taker} has this port; one that listens on all addresses (0.0.0.0, ::) has it of each"
    if code == errno.EADDRNOTAVAIL:
        address = ip_address(point.address)
        around = next((one for one in ranges if address in one), None)
        if around is None:
            return "this is no address of this host"
        return f"this is no address of this host; once, as root: ip route add local {around} dev lo"
    if code in (errno.EACCES, errno.EPERM):
        return (
            f"ports below {_privileged_below()} take CAP_NET_BIND_SERVICE; or once, as root: "
            f"sysctl -w net.ipv4.ip_unprivileged_port_start={point.port}"
        )
    if code in (errno.EMFILE, errno.ENFILE):
        return "this process may have no more open files (LimitNOFILE)"
    return os.strerror(code)


def _privileged_below() -> int:
    try:
        return int(_PRIVILEGED_BELOW.read_text())
    except (OSError, ValueError):
        return 1024


def _family(address: bytes) -> socket.AddressFamily:
    return socket.AF_INET6 if len(address) == 16 else socket.AF_INET
