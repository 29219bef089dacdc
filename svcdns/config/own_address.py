"""Which upstreams are this server itself: what is sent there would come back to us without end."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from ipaddress import ip_address

from .sections import Endpoint

_DOCKERS_RESOLVER = "127.0.0.11"
_GET_ROUTE = 26
_REQUEST = 1
_NEW_ROUTE = 24
_LOCAL = 2
_DESTINATION = 1
_HEADER = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")


def own_listener(address: str, port: int, own: Sequence[Endpoint]) -> Endpoint | None:
    """Return where we listen that this address and port lead to, None for another server.

    `own` are the real places where we listen; a wildcard listens on every address of this machine, but for
    that of Docker's own resolver: inside a container, the kernel hands it to Docker whoever listens.
    """
    wanted = ip_address(address)
    for listen in own:
        here = ip_address(listen.host)
        if listen.port != port or here.version != wanted.version:
            continue
        if here == wanted or (here.is_unspecified and is_local(address) and address != _DOCKERS_RESOLVER):
            return listen
    return None


def is_local(address: str) -> bool:
    """Return whether packets to this address stay on this machine, as the routing table says."""
    found = ip_address(address)
    if found.is_loopback or found.is_unspecified:
        return True
    family = socket.AF_INET6 if found.version == 6 else socket.AF_INET
    try:
        if "%" in address:
            return _is_bindable(address, family)
        return _route_type(family, found.packed) == _LOCAL
    except OSError:
        return _is_bindable(address, family)


def _route_type(family: int, packed: bytes) -> int:
    """Ask the kernel for the kind of route to an address (rtnetlink); raises OSError where we may not.

    Binding would do where nothing else is known, but net.ipv4.ip_nonlocal_bind lets any address be bound.
    """
    body = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _DESTINATION) + packed
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(1.0)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), _GET_ROUTE, _REQUEST, 1, 0) + body)
        reply = kernel.recv(8192)
    if len(reply) < _HEADER.size + _ROUTE.size or _HEADER.unpack_from(reply)[1] != _NEW_ROUTE:
        return 0  # no route at all
    kind: int = _ROUTE.unpack_from(reply, _HEADER.size)[7]
    return kind


def _is_bindable(address: str, family: int) -> bool:
    try:
        where = socket.getaddrinfo(address, 0, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.bind(where[0][4])
    except OSError:
        return False
    return True
