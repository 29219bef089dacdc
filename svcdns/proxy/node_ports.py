"""Programs of this machine that listen on node ports: a Service with that port would take their traffic.

Packet rules come before listeners, so on the addresses that offer node ports such a program gets no
connection once a Service has its port, and nothing tells it.  What listens is read from /proc/net.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

from svcdns.system.port_owner import program_at

_PROC = Path("/proc/net")
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")
_LISTEN, _CLOSED = "0A", "07"
"""States: a TCP socket that listens; a UDP socket that is connected to nobody."""
_LOCAL, _STATE = 1, 3
"""Columns of a line."""


class Listener(NamedTuple):
    """A socket that others can connect to."""

    protocol: str
    """ "tcp" or "udp"."""
    address: str
    port: int

    @property
    def text(self) -> str:
        """Return it as people write it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.protocol} {host}:{self.port}"


def listeners(ports: Collection[int], addresses: Collection[bytes]) -> list[Listener]:
    """Return what listens on some of the ports: at one of the addresses, or at all of this machine."""
    wanted = {ip_address(one) for one in addresses}
    found = {
        one
        for protocol in ("tcp", "udp")
        for one in _sockets(protocol)
        if one.port in ports and _is_met(ip_address(one.address), wanted)
    }
    return sorted(found, key=lambda one: (one.port, one.protocol, one.address))


def who_listens(listener: Listener) -> str:
    """Return the program, such as "dnsmasq (process 312)"; "a program" where that is not shown to us."""
    return program_at(listener.protocol, listener.port) or "a program"


def taken_by_clients(ports: range) -> range:
    """Return the ports of a range that this machine also gives to its own outgoing connections."""
    try:
        first, last = map(int, _EPHEMERAL.read_text().split())
        reserved = _RESERVED.read_text().strip()
    except (OSError, ValueError):
        return range(0)
    shared = range(max(first, ports.start), min(last + 1, ports.stop))
    kept = {one for part in reserved.split(",") if part for one in _numbers(part)}
    return range(0) if kept.issuperset(shared) else shared


def _numbers(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


def _is_met(address: IPv4Address | IPv6Address, wanted: Collection[IPv4Address | IPv6Address]) -> bool:
    return bool(wanted) and (address.is_unspecified or address in wanted)


def _sockets(protocol: str) -> Iterator[Listener]:
    state = _LISTEN if protocol == "tcp" else _CLOSED
    for table in (protocol, f"{protocol}6"):
        with suppress(OSError):
            for line in (_PROC / table).read_text().splitlines()[1:]:
                columns = line.split()
                if len(columns) > _STATE and columns[_STATE] == state:
                    address, _, port = columns[_LOCAL].rpartition(":")
                    yield Listener(protocol, str(_read(address)), int(port, 16))


def _read(text: str) -> IPv4Address | IPv6Address:
    """Read an address as /proc writes it: numbers of 32 bits, each in the machine's byte order."""
    octets = bytes.fromhex(text)
    numbers = struct.unpack(f">{len(octets) // 4}I", octets)
    order = "<" if sys.byteorder == "little" else ">"
    found = ip_address(struct.pack(f"{order}{len(numbers)}I", *numbers))
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
