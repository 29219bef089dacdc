"""Addresses that this machine answers for on a link, though it hasn't them (proxy neighbours), and who tells.

Rules:

* an entry of ours bears our number (NDA_PROTOCOL), as routes do;
* what is sent unasked (gratuitous ARP, unsolicited neighbour advertisement) only says what the kernel would
  answer: nobody learns an address from it that isn't answered for.

rtnetlink(7), RFC 826, RFC 5944 section 4.6 (gratuitous ARP), RFC 4861 section 7.2.6
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from . import wire

_NEW, _DELETE, _GET = 28, 29, 30
_HEADER = struct.Struct("=BxxxiHBB")
"""Family, index of the link, state, flags, type."""
_PROXY, _PERMANENT = 0x08, 0x80
_DESTINATION, _PROTOCOL = 1, 12
IPV4, IPV6 = 2, 10

_ARP, _IPV6 = 0x0806, 0x86DD
_ARP_BODY = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST, _REPLY = 1, 2
_EVERYBODY = b"\xff" * 6
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
_ALL_NODES_ETHERNET = bytes.fromhex("333300000001")
_ADVERTISEMENT, _ICMPV6, _HOP_LIMIT = 136, 58, 255
_ROUTER_OVERRIDE = 0xA0000000


class Proxy(NamedTuple):
    """An address that is answered for on a link."""

    link: int
    address: bytes
    protocol: int = 0
    """Who made it; 0: it isn't said."""


def proxies(kernel: wire.Socket) -> list[Proxy]:
    """Return what is answered for, of both families.  Raises wire.NetlinkError, wire.Malformed."""
    found = []
    for family in (IPV4, IPV6):
        request = wire.Message(_GET, wire.DUMP, _HEADER.pack(family, 0, 0, _PROXY, 0))
        for message in kernel.exchange([request]):
            if message.type == _NEW and (one := read_proxy(message.payload)):
                found.append(one)
    return found


def read_proxy(payload: bytes) -> Proxy | None:
    """Return the proxy of an RTM_NEWNEIGH; None for other neighbours.  Raises wire.Malformed."""
    if len(payload) < _HEADER.size:
        raise wire.Malformed("a neighbour without a header")
    family, link, _, flags, _ = _HEADER.unpack_from(payload)
    if family not in (IPV4, IPV6) or not flags & _PROXY:
        return None
    found = dict(wire.attributes(payload[_HEADER.size :]))
    address = found.get(_DESTINATION, b"")
    if len(address) != (4 if family == IPV4 else 16):
        raise wire.Malformed(f"a neighbour's address of {len(address)} octets")
    return Proxy(link, address, found.get(_PROTOCOL, b"\0")[0] if found.get(_PROTOCOL) else 0)


def add(kernel: wire.Socket, one: Proxy) -> None:
    """Answer for an address.  Raises wire.NetlinkError."""
    kernel.exchange([wire.Message(_NEW, wire.ACK | wire.CREATE | wire.REPLACE, packed(one))])


def delete(kernel: wire.Socket, one: Proxy) -> None:
    """Answer for it no more.  Raises wire.NetlinkError: ENOENT where it isn't there."""
    kernel.exchange([wire.Message(_DELETE, wire.ACK, packed(one))])


def packed(one: Proxy) -> bytes:
    """Return what an RTM_NEWNEIGH or RTM_DELNEIGH has behind its header."""
    family = IPV4 if len(one.address) == 4 else IPV6
    parts = wire.attribute(_DESTINATION, one.address) + wire.attribute(_PROTOCOL, bytes((one.protocol,)))
    return _HEADER.pack(family, one.link, _PERMANENT, _PROXY, 0) + parts


def tell(link: str, hardware: bytes, address: bytes) -> None:
    """Say to all on a link, unasked, that an address is at this hardware address.

    Raises OSError: EPERM without CAP_NET_RAW.
    """
    frames = arp_frames(hardware, address) if len(address) == 4 else [advertisement(hardware, address)]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((link, 0))
        for frame in frames:
            out.send(frame)


def arp_frames(hardware: bytes, address: bytes) -> list[bytes]:
    """Return an ARP request and a reply for an address, from and to itself: some hear but one of the two."""
    return [
        _EVERYBODY
        + hardware
        + struct.pack("!H", _ARP)
        + _ARP_BODY.pack(1, 0x0800, 6, 4, kind, hardware, address, target, address)
        for kind, target in ((_REQUEST, bytes(6)), (_REPLY, _EVERYBODY))
    ]


def advertisement(hardware: bytes, address: bytes) -> bytes:
    """Return an unsolicited neighbour advertisement that overrides what others remember."""
    option = struct.pack("!BB", 2, 1) + hardware
    body = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _ROUTER_OVERRIDE) + address + option
    pseudo = address + _ALL_NODES + struct.pack("!IxxxB", len(body), _ICMPV6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    ip = struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, _HOP_LIMIT) + address + _ALL_NODES
    return _ALL_NODES_ETHERNET + hardware + struct.pack("!H", _IPV6) + ip + body


def checksum(octets: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    padded = octets + b"\0" * (len(octets) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
