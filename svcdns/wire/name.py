"""Names on the wire (RFC 1035 sections 3.1 and 4.1.4): all that walks from label to label.

Octets that we trust are walked without a check: stored rows, our own messages, and what `check_name` has
passed.  `read_name` follows pointers, `name_end` is for names that are spelt in full.

Octets from outside are walked by functions that raise BadName, and IndexError where a name runs over the end:

* `split_name` is for questions, and for names spelt in full.  It sees that a pointer goes back, and does
  not follow it: nobody needs what the owners of a question's other RRs are.
* `check_name` is for replies that are stored and handed to clients as they are.  It follows every pointer to
  its end, as a client's parser will, and it does so in linear time.

The fast path of `dns` walks a question's labels by itself, which saves a call.
"""

from __future__ import annotations

from bisect import bisect_right

from .header import OCTETS as HEADER_OCTETS

MAX_NAME_OCTETS = 255
MAX_LABEL_OCTETS = 63

POINTER_FROM = 0xC0
"""From this octet on it is a pointer, where a label's size may stand."""
_OFFSET_HIGH = 0x3F
"""Of the first octet of a pointer: the upper bits of the offset."""
_BEHIND_ANY = 1 << 16
"""More than any offset in a message."""


class BadName(ValueError):
    """What is no domain name, as text or on the wire; the text says why."""


def name_end(octets: bytes, at: int) -> int:
    """Return the end of a name that is spelt in full and begins at this offset."""
    while size := octets[at]:
        at += 1 + size
    return at + 1


def read_name(wire: bytes, at: int, names: dict[int, bytes]) -> tuple[bytes, int]:
    """Return the name at this offset, spelt in full, in its own letter case, and where it ends.

    `names` holds the names that stand at an offset, and learns: however many pointers lead to an octet, it is
    walked once.
    """
    end = octets = 0
    parts, passed = [], []
    while size := wire[at]:
        if size < POINTER_FROM:
            passed.append((at, octets))
            parts.append(wire[at : at + size + 1])
            octets += size + 1
            at += size + 1
        else:
            end = end or at + 2
            at = (size & _OFFSET_HIGH) << 8 | wire[at + 1]
            if at in names:
                parts.append(names[at])
                break
    else:
        end = end or at + 1
        parts.append(b"\0")
    name = b"".join(parts)
    for start, before in passed:
        names[start] = name[before:]
    return name, end


def split_name(packet: bytes, at: int, *, pointer: bool = True) -> tuple[list[bytes], int]:
    """Return the labels of a name up to its root or its pointer, and where it ends.

    Raises BadName for a pointer that does not go back, for any one without `pointer`, and for a label over 63
    octets; IndexError where the message ends.
    """
    start = at
    labels: list[bytes] = []
    while size := packet[at]:
        if size > MAX_LABEL_OCTETS:
            if not pointer:
                raise BadName("a pointer or a label over 63 octets in the question")
            if size < POINTER_FROM:
                raise BadName("a label over 63 octets")
            if (size & _OFFSET_HIGH) << 8 | packet[at + 1] >= start:
                raise BadName("a pointer that doesn't go back")
            return labels, at + 2
        labels.append(packet[at + 1 : at + 1 + size])
        at += 1 + size
    return labels, at + 1


def check_name(wire: bytes, at: int, known: dict[int, int], places: list[tuple[int, int]]) -> int:
    """Return the end of the name at this offset.  Raises BadName, or IndexError where the message ends.

    `known` holds the octets (uncompressed) of the names that stand at an offset, and learns: no octet
    is walked twice as a pointer's target, however many pointers there are.  `places` are where else names
    may stand that are pointed to, from which offset to which: the question's name and opaque RDATA.
    """
    end = octets = 0
    # A pointer must lead to before the place where this name, or the part of it so far, began: no circle is
    # possible then (RFC 1035 section 4.1.4: "a prior occurrence").
    lowest = at
    limit = len(wire)
    passed = []
    while size := wire[at]:
        passed.append((at, octets))
        if size <= MAX_LABEL_OCTETS:
            octets += size + 1
            at += size + 1
        elif size >= POINTER_FROM:
            target = (size & _OFFSET_HIGH) << 8 | wire[at + 1]
            end = end or at + 2
            if at + 2 > limit or not HEADER_OCTETS <= target < lowest:
                raise BadName("a pointer that doesn't go back")
            if target in known:
                octets += known[target]
                break
            # What is no known name must stand in one of the places, and end there: other octets, such as
            # TTLs, change while the reply is kept.
            limit = places[bisect_right(places, (target, _BEHIND_ANY)) - 1][1]
            lowest = at = target
        else:
            raise BadName("a label of an unknown kind")
        if at >= limit:
            raise BadName("a pointer to what is no name")
    else:
        passed.append((at, octets))
        octets += 1
        end = end or at + 1
    if octets > MAX_NAME_OCTETS:
        raise BadName("a name over 255 octets")
    for start, before in passed:
        known[start] = octets - before
    return end
