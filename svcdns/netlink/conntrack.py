"""The kernel's table of connections (ctnetlink): which are there, and how one is forgotten.

Rules:

* what is dumped is chosen by the kernel where it can (since 5.8), and by `flows` in any case: an older
  kernel gives all there is;
* an entry as the kernel writes it has its addresses at fixed places: those are read at once, everything
  else attribute by attribute, with the same result;
* an entry is deleted by its own octets and its number.  The kernel may give that to the next entry of the
  same client and destination; should that one be deleted, its next packet makes it anew.

include/uapi/linux/netfilter/nfnetlink_conntrack.h; net/netfilter/nf_conntrack_netlink.c
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from . import wire

_NEW, _GET, _DELETE = 0x100, 0x101, 0x102
"""Message types: subsystem 1, messages 0, 1, 2."""
_HEADER = struct.Struct("=BBH")
"""Family, version, resource: struct nfgenmsg."""
IPV4, IPV6 = 2, 10
_OCTETS = {IPV4: 4, IPV6: 16}

_ORIGINAL, _REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_SOURCES, _DESTINATIONS = {IPV4: 1, IPV6: 3}, {IPV4: 2, IPV6: 4}
_PROTOCOL_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_FILTER_ORIGINAL, _FILTER_REPLY = 1, 2
_BY_DESTINATION, _BY_PROTOCOL, _BY_DESTINATION_PORT = 1 << 1, 1 << 3, 1 << 5
_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_MAXIMUM = Path("/proc/sys/net/netfilter/nf_conntrack_max")


class Flow(NamedTuple):
    """One connection: where the client sends to, and who answers it."""

    family: int
    """IPV4 or IPV6."""
    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    answering: bytes
    """The address that answers: the endpoint, where the destination was translated."""
    answering_port: int
    key: bytes
    """What names it to the kernel: attributes of a message that deletes it."""


class Fill(NamedTuple):
    """How full the table is."""

    entries: int
    maximum: int


def fill() -> Fill | None:
    """Return how many entries the table has and may have; None where the kernel has no such table."""
    try:
        return Fill(int(_COUNT.read_text()), int(_MAXIMUM.read_text()))
    except (OSError, ValueError):
        return None


def flows(
    kernel: wire.Socket, family: int, protocol: int, to: tuple[bytes, int] | None = None
) -> Iterator[Flow]:
    """Yield the connections of a protocol, or those among them to one address and port.

    `kernel` is a socket of wire.NETFILTER.  Raises wire.NetlinkError, wire.Malformed.
    """
    request = wire.Message(_GET, wire.DUMP, _HEADER.pack(family, 0, 0) + _filter(family, protocol, to))
    for message in kernel.exchange([request]):
        if message.type != _NEW:
            continue
        flow = read_flow(message.payload)
        if flow is None or flow.protocol != protocol or flow.family != family:
            continue
        if to is None or to == (flow.destination, flow.destination_port):
            yield flow


def delete(kernel: wire.Socket, found: Iterable[Flow]) -> int:
    """Forget connections; return how many were still there.  Raises wire.NetlinkError."""
    count = 0
    for flow in found:
        payload = _HEADER.pack(flow.family, 0, 0) + flow.key
        try:
            kernel.exchange([wire.Message(_DELETE, wire.ACK, payload)])
            count += 1
        except wire.NetlinkError as wrong:
            if wrong.errno != errno.ENOENT:  # it has ended meanwhile
                raise
    return count


def read_flow(payload: bytes) -> Flow | None:
    """Return the connection of an IPCTNL_MSG_CT_NEW; None where it has no ports.  Raises wire.Malformed."""
    if len(payload) < _HEADER.size:
        raise wire.Malformed("a connection without a header")
    family = payload[0]
    if family not in _OCTETS:
        return None
    return _at_fixed_places(family, payload) or _by_attributes(family, payload)


def _tuple_form(family: int) -> tuple[struct.Struct, bytes, bytes]:
    """Return how the kernel writes a tuple with ports, and the octets of its headers of either direction."""
    size = _OCTETS[family]
    form = struct.Struct(f">8s4s{size}s4s{size}s8sBxxx4sHxx4sHxx")

    def headers(direction: int) -> bytes:
        ip = (4 + size) * 2
        lengths = [
            (4 + 4 + ip + 28, direction | wire.NESTED),
            (4 + ip, _TUPLE_IP | wire.NESTED),
            (4 + size, _SOURCES[family]),
            (4 + size, _DESTINATIONS[family]),
            (28, _TUPLE_PROTOCOL | wire.NESTED),
            (5, _PROTOCOL_NUMBER),
            (6, _SOURCE_PORT),
            (6, _DESTINATION_PORT),
        ]
        return b"".join(wire.ATTRIBUTE.pack(*one) for one in lengths)

    return form, headers(_ORIGINAL), headers(_REPLY)


_FORMS = {family: _tuple_form(family) for family in _OCTETS}


def _at_fixed_places(family: int, payload: bytes) -> Flow | None:
    form, original, reply = _FORMS[family]
    end = _HEADER.size + 2 * form.size
    if len(payload) < end:
        return None
    one, two, source, three, to, four, protocol, five, source_port, six, port = form.unpack_from(payload, 4)
    if one + two + three + four + five + six != original:
        return None
    one, two, answering, three, _, four, _, five, answering_port, six, _ = form.unpack_from(
        payload, 4 + form.size
    )
    if one + two + three + four + five + six != reply:
        return None
    key = payload[4 : 4 + form.size] + _identity(payload, end)
    return Flow(family, protocol, source, source_port, to, port, answering, answering_port, key)


def _identity(payload: bytes, at: int) -> bytes:
    """Return what tells an entry from others of its tuple: its zone and number, as they stand."""
    found = b""
    for kind, value in wire.attributes(payload[at:]):
        if kind in (_ID, _ZONE):
            found += wire.attribute(kind, value)
    return found


def _by_attributes(family: int, payload: bytes) -> Flow | None:
    found = dict(wire.attributes(payload[_HEADER.size :]))
    original = _read_tuple(family, found.get(_ORIGINAL, b""))
    reply = _read_tuple(family, found.get(_REPLY, b""))
    if original is None or reply is None:
        return None
    source, to, protocol, source_port, port = original
    key = wire.attribute(_ORIGINAL | wire.NESTED, found[_ORIGINAL]) + _identity(payload, _HEADER.size)
    return Flow(family, protocol, source, source_port, to, port, reply[0], reply[3], key)


def _read_tuple(family: int, octets: bytes) -> tuple[bytes, bytes, int, int, int] | None:
    parts = dict(wire.attributes(octets))
    ip = dict(wire.attributes(parts.get(_TUPLE_IP, b"")))
    transport = dict(wire.attributes(parts.get(_TUPLE_PROTOCOL, b"")))
    source, to = ip.get(_SOURCES[family], b""), ip.get(_DESTINATIONS[family], b"")
    number = transport.get(_PROTOCOL_NUMBER, b"")
    ports = transport.get(_SOURCE_PORT, b""), transport.get(_DESTINATION_PORT, b"")
    if (len(source), len(to), len(number)) != (_OCTETS[family], _OCTETS[family], 1):
        return None
    if any(len(port) != 2 for port in ports):
        return None
    return source, to, number[0], int.from_bytes(ports[0], "big"), int.from_bytes(ports[1], "big")


def packed_tuple(kind: int, family: int, ip: Iterable[bytes], transport: Iterable[bytes]) -> bytes:
    """Return a tuple of one direction from its attributes."""
    return wire.nested(kind, wire.nested(_TUPLE_IP, *ip), wire.nested(_TUPLE_PROTOCOL, *transport))


def _filter(family: int, protocol: int, to: tuple[bytes, int] | None) -> bytes:
    """Return the attributes by which a kernel that can leaves out other entries."""
    ip, transport = [], [wire.attribute(_PROTOCOL_NUMBER, bytes((protocol,)))]
    flags = _BY_PROTOCOL
    if to is not None:
        transport.append(wire.attribute(_DESTINATION_PORT, to[1].to_bytes(2, "big")))
        flags |= _BY_DESTINATION_PORT
    if to is not None and family == IPV4:  # Linux (6.18 at least) gives all *but* the IPv6 address asked for
        ip.append(wire.attribute(_DESTINATIONS[family], to[0]))
        flags |= _BY_DESTINATION
    wanted = wire.nested(
        _FILTER,
        wire.attribute(_FILTER_ORIGINAL, struct.pack("=I", flags)),
        wire.attribute(_FILTER_REPLY, struct.pack("=I", 0)),
    )
    return packed_tuple(_ORIGINAL, family, ip, transport) + wanted
