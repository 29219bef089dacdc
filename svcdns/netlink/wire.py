"""Netlink messages and attributes as octets, and the socket that carries them.

Rules:

* headers and attribute headers are in the machine's byte order, padded to 4 octets; what is inside an
  attribute has the order that its family says (nf_tables: network order);
* one `exchange` is one send: the messages of a batch take effect together or not at all;
* a reply is awaited for each message that asked for one; the kernel's refusal is a NetlinkError that says
  which message it was.

https://docs.kernel.org/userspace-api/netlink/intro.html
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

HEADER = struct.Struct("=IHHII")
"""Length with header, type, flags, sequence number, port."""
ATTRIBUTE = struct.Struct("=HH")
"""Length with header, type."""
NESTED = 0x8000
NETWORK_ORDER = 0x4000
_TYPE_MASK = 0x3FFF

REQUEST, MULTI, ACK, ECHO, DUMP = 0x01, 0x02, 0x04, 0x08, 0x300
REPLACE, EXCL, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 1, 2, 3, 4
DUMP_INTERRUPTED = 0x10

ROUTE, NETFILTER = 0, 12
"""Protocols of netlink sockets."""
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _NO_ENOBUFS = 270, 10, 11, 5
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_RECEIVE_OCTETS = 1 << 16
_SEQUENCE_MASK = 0x7FFFFFFF
_PATIENCE = struct.pack("@ll", 30, 0)
"""How long an answer may take (struct timeval): the kernel answers at once, or it has lost the answer."""


class NetlinkError(OSError):
    """The kernel refused a message: `errno`, and `index`, its place in what was sent (-1: none)."""

    def __init__(self, code: int, index: int = -1, text: str = "") -> None:
        """Say what the kernel said; `text` is its own explanation where it gives one."""
        super().__init__(code, text or os.strerror(code))
        self.index = index


class Overrun(NetlinkError):
    """The kernel dropped messages for this socket: what was learned so far has gaps (ENOBUFS)."""


class Malformed(ValueError):
    """Octets from the kernel that are no netlink messages."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to send: type, flags (REQUEST is added), octets behind the header."""

    type: int
    flags: int
    payload: bytes


class Received(NamedTuple):
    """One message that came: type, flags, sequence number, octets behind the header."""

    type: int
    flags: int
    sequence: int
    payload: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute with its padding.  Raises ValueError for over 65,531 octets."""
    length = ATTRIBUTE.size + len(value)
    if length > 0xFFFF:
        raise ValueError(f"an attribute holds at most 65,531 octets, not {len(value)}")
    return ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Return an attribute that holds a text, ended by NUL."""
    return attribute(kind, value.encode() + b"\0")


def attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type (without flags) and the value of each attribute.  Raises Malformed."""
    at, end = 0, len(octets)
    while at < end:
        if end - at < ATTRIBUTE.size:
            raise Malformed("an attribute header is cut off")
        length, kind = ATTRIBUTE.unpack_from(octets, at)
        if length < ATTRIBUTE.size or at + length > end:
            raise Malformed(f"an attribute of {length} octets where {end - at} are left")
        yield kind & _TYPE_MASK, octets[at + ATTRIBUTE.size : at + length]
        at += length + (-length % 4)


def messages(octets: bytes) -> Iterator[Received]:
    """Yield the messages of one datagram.  Raises Malformed."""
    at, end = 0, len(octets)
    while at < end:
        if end - at < HEADER.size:
            raise Malformed("a message header is cut off")
        length, kind, flags, sequence, _ = HEADER.unpack_from(octets, at)
        if length < HEADER.size or at + length > end:
            raise Malformed(f"a message of {length} octets where {end - at} are left")
        yield Received(kind, flags, sequence, octets[at + HEADER.size : at + length])
        at += length + (-length % 4)


def packed(message: Message, sequence: int) -> bytes:
    """Return a message with its header and padding."""
    length = HEADER.size + len(message.payload)
    header = HEADER.pack(length, message.type, message.flags | REQUEST, sequence, 0)
    return header + message.payload + b"\0" * (-length % 4)


class Socket:
    """A netlink socket: blocking exchanges for requests, or a listener for groups."""

    def __init__(self, protocol: int, groups: Sequence[int] = ()) -> None:
        """Open it, and join the multicast groups.  Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._sequence = 0
        for option in (_CAP_ACK, _EXT_ACK):  # a refusal without the octets refused, but with its text
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, 1, group)
        if not groups:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it; twice is fine."""
        self._socket.close()

    def fileno(self) -> int:
        """Return its descriptor, for an event loop."""
        return self._socket.fileno()

    def exchange(self, sent: Iterable[Message]) -> list[Received]:
        """Send messages in one datagram; return what came back when each that asked (ACK, DUMP) is answered.

        Raises NetlinkError for the first refusal, once all is read; Overrun; OSError.
        """
        first = (self._sequence + 1) & _SEQUENCE_MASK
        parts, waiting = [], set()
        for message in sent:
            self._sequence = (self._sequence + 1) & _SEQUENCE_MASK
            parts.append(packed(message, self._sequence))
            if message.flags & (ACK | DUMP):
                waiting.add(self._sequence)
        octets = b"".join(parts)
        self._make_room(len(octets))
        self._socket.sendto(octets, (0, 0))
        return self._answers(waiting, first, len(parts))

    def receive(self, flags: int = 0) -> list[Received]:
        """Return the messages of one datagram from a group.  Raises Overrun, BlockingIOError, Malformed."""
        try:
            octets, _, got, _ = self._socket.recvmsg(_RECEIVE_OCTETS, 0, flags)
        except OSError as wrong:
            if wrong.errno == errno.ENOBUFS:
                raise Overrun(errno.ENOBUFS) from None
            raise
        if got & socket.MSG_TRUNC:
            raise Malformed(f"a datagram of over {_RECEIVE_OCTETS} octets")
        return list(messages(octets))

    def _make_room(self, octets: int) -> None:
        if octets <= self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2:
            return
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, octets * 2)
        except PermissionError:  # in a user namespace: as much as net.core.wmem_max allows
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, octets * 2)

    def _answers(self, waiting: set[int], first: int, count: int) -> list[Received]:
        found: list[Received] = []
        refused: NetlinkError | None = None
        lost: Overrun | None = None
        while waiting:
            try:
                received = self.receive(socket.MSG_DONTWAIT if lost else 0)
            except Overrun as overrun:  # more refusals than there is room for: the first can still be read
                lost = overrun
                continue
            except BlockingIOError:
                lost = lost or Overrun(errno.ETIMEDOUT)
                break
            for message in received:
                place = (message.sequence - first) & _SEQUENCE_MASK
                if place >= count:
                    continue  # of an exchange before this one
                if message.type == NLMSG_ERROR:
                    code = _code(message)
                    if code and refused is None:
                        refused = NetlinkError(-code, place)
                    waiting.discard(message.sequence)
                    if code:  # a batch ends with its first refusal: nothing else is answered
                        waiting.clear()
                elif message.type == NLMSG_DONE:
                    waiting.discard(message.sequence)
                else:
                    found.append(message)
        failed = refused or lost
        if failed is not None:
            self._drain()
            raise failed
        return found

    def _drain(self) -> None:
        """Read what is left: a queue that stays full would swallow the next answer without a word."""
        while True:
            try:
                self._socket.recv(_RECEIVE_OCTETS, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as wrong:
                if wrong.errno != errno.ENOBUFS:
                    raise


def _code(message: Received) -> int:
    """Return what an answer says: 0, or a negative errno.  Raises Malformed."""
    if len(message.payload) < 4:
        raise Malformed("an answer without its code")
    return int(struct.unpack_from("=i", message.payload)[0])
