"""What nf_tables answers: tables, chains, sets and elements, read from messages.

Rules: only what was asked for is read, unknown attributes are passed over; octets that make no sense are
Malformed, and nothing else is raised for them.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from svcdns.netlink.nftables import Kind, dump
from svcdns.netlink.wire import Malformed, Received, Socket, attributes, text

_HEADER_OCTETS = 4


class Table(NamedTuple):
    """A table: its name and flags, a number that no other table has or had, and whether a process owns it."""

    name: str
    flags: int
    handle: int
    owned: bool


class Listed(NamedTuple):
    """An element of a set: its key (padded), its value, where a range ends, what it says of a verdict."""

    key: bytes
    value: bytes = b""
    key_end: bytes = b""
    verdict: tuple[int, str] | None = None
    interval_end: bool = False


def tables(socket: Socket, family: int) -> list[Table]:
    """Return the tables of a family.  Raises NetlinkError, Malformed."""
    return [table_in(received) for received in dump(socket, Kind.GETTABLE, family)]


def table_in(received: Received) -> Table:
    """Read a table.  Raises Malformed."""
    found = _fields(received)
    return Table(_text(found.get(1)), _u32(found.get(2)), int.from_bytes(found.get(4, b"")), 7 in found)


def chains(socket: Socket, family: int, table: str) -> set[str]:
    """Return the names of a table's chains.  Raises NetlinkError, Malformed."""
    listed = (_fields(received) for received in dump(socket, Kind.GETCHAIN, family, text(1, table)))
    return {_text(found.get(3)) for found in listed if _text(found.get(1)) == table}


def sets(socket: Socket, family: int, table: str) -> set[str]:
    """Return the names of a table's sets and maps.  Raises NetlinkError, Malformed."""
    listed = (_fields(received) for received in dump(socket, Kind.GETSET, family, text(1, table)))
    return {_text(found.get(2)) for found in listed}


def elements(socket: Socket, family: int, table: str, name: str) -> list[Listed]:
    """Return the elements of a set.  Raises NetlinkError, Malformed."""
    found: list[Listed] = []
    for received in dump(socket, Kind.GETSETELEM, family, text(1, table), text(2, name)):
        found += elements_in(received)
    return found


def elements_in(received: Received) -> list[Listed]:
    """Read the elements in one message.  Raises Malformed."""
    listed = _fields(received).get(3, b"")
    return [_element(octets) for kind, octets in attributes(listed) if kind == 1]


def _element(octets: bytes) -> Listed:
    found = dict(attributes(octets))
    value, verdict = _data(found.get(2, b""))
    flags = _u32(found.get(3, bytes(4)))
    return Listed(_data(found.get(1, b""))[0], value, _data(found.get(10, b""))[0], verdict, bool(flags & 1))


def _data(octets: bytes) -> tuple[bytes, tuple[int, str] | None]:
    found = dict(attributes(octets))
    if 2 not in found:
        return found.get(1, b""), None
    verdict = dict(attributes(found[2]))
    code = struct.unpack("!i", struct.pack("!I", _u32(verdict.get(1))))[0]
    return b"", (code, _text(verdict[2]) if 2 in verdict else "")


def _fields(received: Received) -> dict[int, bytes]:
    if len(received.payload) < _HEADER_OCTETS:
        raise Malformed("a message of nf_tables without its header")
    return dict(attributes(received.payload[_HEADER_OCTETS:]))


def _u32(octets: bytes | None) -> int:
    if octets is None or len(octets) != 4:
        raise Malformed("a number of 32 bits is missing")
    return int.from_bytes(octets)


def _text(octets: bytes | None) -> str:
    if octets is None:
        raise Malformed("a name is missing")
    try:
        return octets.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        raise Malformed("a name that is no text") from None
