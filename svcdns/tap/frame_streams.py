"""Frame Streams: frames of octets over a connection or in a file, as dnstap is carried.

    data frame     octets of it (u32) | it
    control frame  0 (u32) | octets of it (u32) | its type (u32) | fields;  field = type (u32) | octets (u32)
    | value

Over a connection READY, ACCEPT and START go to and fro before the first frame, STOP and FINISH behind the
last; in a file START and STOP are enough.  https://farsightsec.github.io/fstrm/
"""

from __future__ import annotations

from struct import Struct

ACCEPT, START, STOP, READY, FINISH = 1, 2, 3, 4, 5
MOST_CONTROL = 512
"""Octets of a control frame."""
_CONTENT_TYPE = 1
_U32 = Struct(">I")
_TWO = Struct(">II")


class NotFrames(Exception):
    """What came is no control frame that was to come; the text is one line."""


def data(payload: bytes) -> bytes:
    """Return a data frame."""
    return _U32.pack(len(payload)) + payload


def control(kind: int, content_type: bytes = b"") -> bytes:
    """Return a control frame, with a content type if there is one."""
    rest = _TWO.pack(_CONTENT_TYPE, len(content_type)) + content_type if content_type else b""
    return _TWO.pack(0, _U32.size + len(rest)) + _U32.pack(kind) + rest


def control_octets(head: bytes) -> int:
    """Return how many octets follow the first eight of a control frame.  Raises NotFrames."""
    escape, octets = _TWO.unpack(head)
    if escape or not _U32.size <= octets <= MOST_CONTROL:
        raise NotFrames("what answers there speaks no Frame Streams")
    return int(octets)


def check_control(rest: bytes, kind: int, content_type: bytes = b"") -> None:
    """Return where the rest of a control frame is of this kind and takes the content type.  Raises NotFrames.

    A frame without content types takes any.
    """
    if _U32.unpack_from(rest)[0] != kind:
        raise NotFrames(f"a control frame of type {_U32.unpack_from(rest)[0]} came instead of {kind}")
    taken, at = [], _U32.size
    while at + _TWO.size <= len(rest):
        field, octets = _TWO.unpack_from(rest, at)
        at += _TWO.size
        if field == _CONTENT_TYPE:
            taken.append(rest[at : at + octets])
        at += octets
    if content_type and taken and content_type not in taken:
        raise NotFrames(f"what answers there takes no {content_type.decode()}")
