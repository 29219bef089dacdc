"""Protobuf's wire format, read into dicts along a table of messages; nothing of Kubernetes stands here.

A message is a run of fields, each a tag (number and wire type, a varint) and a value: a varint, or octets
with their length before them.  Fields whose number the table lacks are skipped, as protobuf demands: they
come from a client that is newer than we are.  A message that comes twice is merged, a scalar that comes twice
is the last one, and lists of numbers may be packed or not.

Whatever isn't right is raised as Malformed, with the path of the field.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
Put = Callable[[Object, Any], None]
"""Puts a field's value, an int or octets, into the object that its message becomes."""
Read = Callable[[Any], Any]
"""Makes of a field's value, an int or octets, what stands in JSON; None for what doesn't stand there."""

VARINT, FIXED64, OCTETS, FIXED32 = 0, 1, 2, 5
"""Wire types; 3 and 4, groups, are no longer used, and 6 and 7 never were."""

_SIGN, _MODULUS = 1 << 63, 1 << 64


class Malformed(Exception):
    """These octets aren't such a message."""

    def __init__(self, text: str) -> None:
        """`text` says what is wrong with the field, or its message, that is being read."""
        super().__init__(text)
        self.text = text
        self.path = ""

    def below(self, name: str) -> Malformed:
        """Return this error as that of a field in which the present one stands."""
        self.path = name + self.path if self.path[:1] in ("", "[") else f"{name}.{self.path}"
        return self

    def __str__(self) -> str:
        """Return "spec.ports[0].port: it is cut off"."""
        return f"{self.path}: {self.text}" if self.path else self.text


class Message:
    """A message's fields.  They are added after it is made, for messages refer to each other."""

    __slots__ = ("_numbers", "_put")

    def __init__(self) -> None:
        self._put: dict[int, tuple[str, Put]] = {}
        self._numbers: dict[int, str] = {}

    def add(self, number: int, name: str, wires: tuple[int, ...], put: Put) -> None:
        """Add a field that may come with these wire types."""
        self._numbers[number] = name
        for wire in wires:
            self._put[number << 3 | wire] = name, put

    def read(self, octets: bytes, into: Object | None = None) -> Object:
        """Return the object that the octets describe, merged into one that is there.  Raises Malformed."""
        found: Object = {} if into is None else into
        at, end, fields = 0, len(octets), self._put
        while at < end:
            tag = octets[at]
            at += 1
            if tag > 127:
                tag, at = varint(octets, at - 1)
            field = fields.get(tag)
            if field is None:
                at = self._skip(octets, at, tag)
                continue
            name, put = field
            try:
                # Most values are few octets: those are taken here, all others in _value.
                small = octets[at] if at < end else 255
                stop = at + 1 + small
                if small < 128 and tag & 7 == OCTETS and stop <= end:
                    value, at = octets[at + 1 : stop], stop
                else:
                    value, at = _value(octets, at, tag & 7)
                put(found, value)
            except Malformed as error:
                raise error.below(name) from None
        return found

    def _skip(self, octets: bytes, at: int, tag: int) -> int:
        """Return where the field after an unknown one begins."""
        number = tag >> 3
        if number == 0 or number >= 1 << 29:
            raise Malformed(f"{number} is no field number")
        if (name := self._numbers.get(number)) is not None:
            raise Malformed(f"it has the wire type {tag & 7}, that of another type").below(name)
        return _value(octets, at, tag & 7)[1]


def _value(octets: bytes, at: int, wire: int) -> tuple[Any, int]:
    """Return the value that begins there, and where it ends."""
    if wire == VARINT:
        return varint(octets, at)
    if wire == OCTETS:
        length, at = varint(octets, at)
    elif wire in (FIXED64, FIXED32):
        length = 8 if wire == FIXED64 else 4
    else:
        raise Malformed(f"the wire type {wire} is not in use")
    stop = at + length
    if stop > len(octets):
        raise Malformed(f"it is cut off: {length} octets are announced, {len(octets) - at} are left")
    return octets[at:stop], stop


def varint(octets: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned number of at most 64 bits that begins there, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(octets):
            raise Malformed("it is cut off in a number")
        octet = octets[at]
        at += 1
        value |= (octet & 127) << shift
        if octet < 128:
            break
    if octet >= 128 or value >= _MODULUS:
        raise Malformed("a number is longer than 64 bits")
    return value, at


# What values mean


def int64(value: int) -> int:
    """Return a number with its sign."""
    return value - _MODULUS if value & _SIGN else value


def int32(value: int) -> int:
    """Return a number with its sign.  Raises Malformed."""
    signed = int64(value)
    if not -(1 << 31) <= signed < 1 << 31:
        raise Malformed(f"{signed} does not fit into 32 bits")
    return signed


def text(value: bytes) -> str:
    """Return a string.  Raises Malformed."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"it is not valid UTF-8: {error.reason} at octet {error.start}") from None


# Where values go


def single(name: str, read: Read, kept: bool) -> Put:
    """Read a field that stands once; a zero is left out unless it is `kept`."""

    def put(into: Object, value: Any) -> None:
        found = read(value)
        if found or (kept and found is not None):
            into[name] = found
        else:
            into.pop(name, None)

    return put


def nested(name: str, message: Message, kept: bool) -> Put:
    """Read a message in a message; an empty one is left out unless it is `kept`."""

    def put(into: Object, value: bytes) -> None:
        found = message.read(value, into.get(name))
        if found or kept:
            into[name] = found

    return put


def inline(message: Message) -> Put:
    """Read a message whose fields stand among those of the message that it is in."""

    def put(into: Object, value: bytes) -> None:
        message.read(value, into)

    return put


def several(name: str, read: Read) -> Put:
    """Read a list."""

    def put(into: Object, value: Any) -> None:
        found = into.setdefault(name, [])
        try:
            found.append(read(value))
        except Malformed as error:
            raise error.below(f"[{len(found)}]") from None

    return put


def numbers(name: str, read: Read) -> Put:
    """Read a list of numbers, one a field or packed."""
    one = several(name, read)

    def put(into: Object, value: Any) -> None:
        if isinstance(value, int):
            one(into, value)
            return
        at = 0
        while at < len(value):
            number, at = varint(value, at)
            one(into, number)

    return put


def mapping(name: str, read: Read) -> Put:
    """Read an object from strings to values that are octets: a list of messages with a key and a value each.

    The last of a key wins.
    """
    entry = Message()
    entry.add(1, "key", (OCTETS,), single("key", text, True))
    entry.add(2, "value", (OCTETS,), single("value", read, True))

    def put(into: Object, value: bytes) -> None:
        found = entry.read(value)
        into.setdefault(name, {})[found.get("key", "")] = found["value"] if "value" in found else read(b"")

    return put
