"""Messages of nf_tables: tables, chains, sets, rules and elements, and batches that take effect as a whole.

Rules:

* a change is a batch: `commit` has the kernel take all of it or nothing; `rehearse` asks whether it would;
* elements are spread over messages, since an attribute holds 64 KiB;
* nothing is listed in order to change something: work is as large as the change.

include/uapi/linux/netfilter/nf_tables.h of Linux; https://docs.kernel.org/netlink/specs/nftables.html
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import IntEnum, IntFlag

from svcdns.netlink.nft_expressions import u32, value_data
from svcdns.netlink.nft_types import Holds, Set, padded, type_number
from svcdns.netlink.wire import (
    ACK,
    APPEND,
    ATTRIBUTE,
    CREATE,
    DUMP,
    DUMP_INTERRUPTED,
    NESTED,
    REQUEST,
    Message,
    NetlinkError,
    Received,
    Socket,
    attribute,
    nested,
    text,
)

SUBSYSTEM = 10 << 8
_HEADER = struct.Struct("!BBH")
"""struct nfgenmsg: family, version, resource."""
_BATCH_BEGIN, _BATCH_END = 16, 17
_SUBSYSTEM_ID = 10
_MESSAGE_OCTETS = 48 << 10
"""Elements in one message; an attribute ends at 64 KiB."""
_DUMPS = 50
"""So many times a list is asked for that others change meanwhile."""
_VERDICT_DATA = 0xFFFFFF00


class Kind(IntEnum):
    """Types of messages (enum nf_tables_msg_types)."""

    NEWTABLE = 0
    GETTABLE = 1
    DELTABLE = 2
    NEWCHAIN = 3
    GETCHAIN = 4
    DELCHAIN = 5
    NEWRULE = 6
    GETRULE = 7
    DELRULE = 8
    NEWSET = 9
    GETSET = 10
    DELSET = 11
    NEWSETELEM = 12
    GETSETELEM = 13
    DELSETELEM = 14
    DESTROYSETELEM = 30
    """As DELSETELEM, and what isn't there is no error (Linux 6.3)."""


class TableFlag(IntFlag):
    """Flags of a table."""

    OWNER = 2
    """Only the socket that made it may change it."""
    PERSIST = 4
    """It stays when its owner is gone, and has the next one as its owner (Linux 6.9)."""


class Hook(IntEnum):
    """Where a base chain sees packets (enum nf_inet_hooks)."""

    PREROUTING = 0
    """Of the family arp: packets to this host, of which there are no others."""
    OUTPUT = 3
    POSTROUTING = 4


class _SetFlag(IntFlag):
    INTERVAL = 4
    MAP = 8
    TIMEOUT = 16
    EVAL = 32
    CONCAT = 128


Element = bytes
"""One NFTA_LIST_ELEM, made by `element` or `range_element`."""


def _message(kind: Kind, flags: int, family: int, *parts: bytes) -> Message:
    return Message(SUBSYSTEM | kind, flags, _HEADER.pack(family, 0, 0) + b"".join(parts))


def commit(socket: Socket, changes: Iterable[Message]) -> None:
    """Have the changes take effect, all at once.

    Raises NetlinkError (nothing took effect; `index` counts from the batch's begin, which is 0), OSError.
    """
    socket.exchange([*_batch(changes), _border(_BATCH_END)])


def rehearse(socket: Socket, changes: Iterable[Message]) -> None:
    """Ask whether the kernel would take them: a batch without its end is undone.  Raises as `commit`."""
    socket.exchange(_batch(changes))


def _batch(changes: Iterable[Message]) -> list[Message]:
    """Return a batch's begin and its changes; the last asks for an answer, refusals come without."""
    found = [_border(_BATCH_BEGIN), *changes]
    if len(found) > 1:
        found[-1] = replace(found[-1], flags=found[-1].flags | ACK)
    return found


def _border(kind: int) -> Message:
    return Message(kind, REQUEST, _HEADER.pack(0, 0, _SUBSYSTEM_ID))


def table(family: int, name: str, flags: int, comment: str) -> Message:
    """Make a table, or take over one without an owner."""
    noted = comment.encode()[:254] + b"\0"
    parts = text(1, name), u32(2, flags), attribute(6, bytes((0, len(noted))) + noted)
    return _message(Kind.NEWTABLE, CREATE, family, *parts)


def delete_table(family: int, name: str) -> Message:
    """Delete a table with all that it holds."""
    return _message(Kind.DELTABLE, 0, family, text(1, name))


def base_chain(family: int, table: str, name: str, kind: str, hook: Hook, priority: int) -> Message:
    """Make a chain that sees packets at a hook; what no rule decides is accepted."""
    where = nested(4, u32(1, hook), attribute(2, struct.pack("!i", priority)))
    parts = text(1, table), text(3, name), where, u32(5, 1), text(7, kind)
    return _message(Kind.NEWCHAIN, CREATE, family, *parts)


def chain(family: int, table: str, name: str) -> Message:
    """Make a chain that rules lead to, if it isn't there."""
    return _message(Kind.NEWCHAIN, CREATE, family, text(1, table), text(3, name))


def delete_chain(family: int, table: str, name: str) -> Message:
    """Delete a chain that has no rules and that nothing leads to."""
    return _message(Kind.DELCHAIN, 0, family, text(1, table), text(3, name))


def rule(family: int, table: str, chain: str, expressions: bytes) -> Message:
    """Append a rule to a chain."""
    parts = text(1, table), text(2, chain), attribute(4 | NESTED, expressions)
    return _message(Kind.NEWRULE, CREATE | APPEND, family, *parts)


def delete_rules(family: int, table: str, chain: str | None = None) -> Message:
    """Delete all rules of a chain, or of all chains."""
    return _message(Kind.DELRULE, 0, family, text(1, table), text(2, chain) if chain else b"")


def new_set(family: int, table: str, declared: Set, number: int) -> Message:
    """Make a set or a map if it isn't there; `number` is its own in the batch."""
    parts = [text(1, table), text(2, declared.name), u32(3, _flags(declared))]
    parts += [u32(4, type_number(declared.key)), u32(5, declared.key_octets)]
    if declared.data is Holds.VERDICTS:
        parts += [u32(6, _VERDICT_DATA), u32(7, 16)]
    elif isinstance(declared.data, tuple):
        parts += [u32(6, type_number(declared.data)), u32(7, padded(declared.data))]
    if described := _description(declared):
        parts.append(nested(9, *described))
    parts += [u32(10, number), attribute(13, declared.user_data())]
    return _message(Kind.NEWSET, CREATE, family, *parts)


def _flags(declared: Set) -> int:
    flags = _SetFlag(0)
    if declared.is_map:
        flags |= _SetFlag.MAP
    if declared.interval:
        flags |= _SetFlag.INTERVAL | (_SetFlag.CONCAT if len(declared.key) > 1 else _SetFlag(0))
    if declared.size:
        flags |= _SetFlag.TIMEOUT | _SetFlag.EVAL
    if declared.timed:
        flags |= _SetFlag.TIMEOUT
    return flags


def _description(declared: Set) -> list[bytes]:
    parts = [u32(1, declared.size)] if declared.size else []
    if declared.interval and len(declared.key) > 1:
        parts.append(nested(2, *(nested(1, u32(1, kind.octets)) for kind in declared.key)))
    return parts


def delete_set(family: int, table: str, name: str) -> Message:
    """Delete a set or a map that no rule uses."""
    return _message(Kind.DELSET, 0, family, text(1, table), text(2, name))


def element(key: bytes, data: bytes = b"") -> Element:
    """Return an element: its key, padded as in registers, and `value_data` or `verdict_data` of a map."""
    return nested(1, nested(1, value_data(key)), nested(2, data) if data else b"")


def timed_element(key: bytes, milliseconds: int) -> Element:
    """Return an element that the kernel takes out by itself after so long."""
    return nested(1, nested(1, value_data(key)), attribute(4, struct.pack("!Q", milliseconds)))


def range_element(first: bytes, last: bytes) -> Element:
    """Return an element of a set of concatenated ranges, from and to the key."""
    return nested(1, nested(1, value_data(first)), nested(10, value_data(last)))


def interval(first: bytes, last: bytes) -> tuple[Element, ...]:
    """Return a range in a set with keys of one field: its begin, and what is behind its end."""
    behind = int.from_bytes(last) + 1
    begin = element(first)
    if behind >> (8 * len(last)):
        return (begin,)
    return begin, nested(1, nested(1, value_data(behind.to_bytes(len(last)))), u32(3, 1))


class ElementForm:
    """Makes elements of one set, all of one shape, in few steps: for tens of thousands of them."""

    def __init__(self, declared: Set) -> None:
        """Prepare what is the same in each."""
        key = declared.key_octets
        value = padded(declared.data) if isinstance(declared.data, tuple) else 0
        header = ATTRIBUTE.size
        size = 3 * header + key + (2 * header + value if value else 0)
        self._head = ATTRIBUTE.pack(size, 1 | NESTED) + ATTRIBUTE.pack(2 * header + key, 1 | NESTED)
        self._head += ATTRIBUTE.pack(header + key, 1)
        self._middle = b""
        if value:
            self._middle = ATTRIBUTE.pack(2 * header + value, 2 | NESTED) + ATTRIBUTE.pack(header + value, 1)

    def element(self, key: bytes, value: bytes = b"") -> Element:
        """Return an element: key and value, padded as in registers."""
        return self._head + key + self._middle + value


def add_elements(family: int, table: str, name: str, elements: Iterable[Element]) -> Iterator[Message]:
    """Yield messages that add elements; one that is there with another value is refused (EEXIST, EBUSY)."""
    for part in _parts(elements):
        yield _elements(Kind.NEWSETELEM, CREATE, family, table, name, part)


def delete_elements(
    family: int, table: str, name: str, elements: Iterable[Element], missing_is_fine: bool = False
) -> Iterator[Message]:
    """Yield messages that delete elements; ENOENT where one is missing, unless that is fine (Linux 6.3)."""
    kind = Kind.DESTROYSETELEM if missing_is_fine else Kind.DELSETELEM
    for part in _parts(elements):
        yield _elements(kind, 0, family, table, name, part)


def flush_set(family: int, table: str, name: str) -> Message:
    """Delete all elements of a set."""
    return _message(Kind.DELSETELEM, 0, family, text(1, table), text(2, name))


def _elements(kind: Kind, flags: int, family: int, table: str, name: str, part: Sequence[Element]) -> Message:
    return _message(kind, flags, family, text(1, table), text(2, name), nested(3, *part))


def _parts(elements: Iterable[Element]) -> Iterator[list[Element]]:
    part: list[Element] = []
    octets = 0
    for one in elements:
        if octets + len(one) > _MESSAGE_OCTETS:
            yield part
            part, octets = [], 0
        part.append(one)
        octets += len(one)
    if part:
        yield part


def dump(socket: Socket, kind: Kind, family: int, *filters: bytes) -> list[Received]:
    """Return what a dump lists.  Raises NetlinkError, EINTR where others change it all the time."""
    for _ in range(_DUMPS):
        found = socket.exchange([_message(kind, DUMP, family, *filters)])
        if not any(received.flags & DUMP_INTERRUPTED for received in found):
            return found
    raise NetlinkError(errno.EINTR)
