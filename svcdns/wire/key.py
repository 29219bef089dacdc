"""Owner names as database keys: labels from the root down, lower-cased, each ended by NUL.

`web.default.svc.cluster.local.` has the key `local\\0cluster\\0svc\\0default\\0web\\0`.  In this order

* a name's descendants follow it directly and share its key as a prefix, so one `set_range`
  decides between "exists", "empty non-terminal" and "does not exist" (RFC 8020);
* cutting labels off a name is cutting octets off the end of its key.

The octets 0 and 1 inside a label are escaped (`\\1\\1` and `\\1\\2`), so no label can imitate a
boundary.  The longest name (255 octets on the wire) gives a key of at most 504 octets, which
leaves room for a prefix within LMDB's limit of 511.
"""

from __future__ import annotations

import functools

from .name import MAX_LABEL_OCTETS, MAX_NAME_OCTETS, BadName, split_name


def key_of_labels(labels: list[bytes]) -> bytes:
    """Return the key of labels that stand in wire order (leftmost first), any letter case."""
    joined = b"\0".join(labels)
    if joined.count(0) != max(len(labels) - 1, 0) or 1 in joined:
        labels = [label.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1") for label in labels]
    return (b"\0".join(labels[::-1]) + b"\0").lower() if labels else b""


def key_of_wire(name: bytes) -> bytes:
    """Return the key of an uncompressed wire-format name (RFC 1035 section 3.1), root included."""
    return key_of_labels(split_name(name, 0)[0])


def key_of(name: str) -> bytes:
    """Return the key of a name in presentation format without escapes; the last dot may be missing."""
    return key_of_wire(wire_of(name))


@functools.lru_cache(1024)  # one write asks several times for each of its names
def wire_of(name: str) -> bytes:
    """Return the uncompressed wire format of a name, its letter case kept.

    Takes what Kubernetes objects can hold: labels parted by dots, without RFC 1035 escapes.
    Raises BadName for an empty label, a label over 63 octets or a name over 255.
    """
    stripped = name.removesuffix(".")
    if not stripped:
        return b"\0"
    labels = stripped.encode().split(b".")
    try:
        out = b"".join([_LENGTHS[len(label)] + label for label in labels]) + b"\0"
    except IndexError:
        longest = max(labels, key=len).decode()
        raise BadName(f"label {longest!r} is longer than {MAX_LABEL_OCTETS} octets") from None
    if b"" in labels:
        raise BadName(f"{name!r} has an empty label")
    if len(out) > MAX_NAME_OCTETS:
        raise BadName(f"{name!r} is longer than {MAX_NAME_OCTETS} octets")
    return out


_LENGTHS = [bytes((length,)) for length in range(MAX_LABEL_OCTETS + 1)]


def labels_of_key(key: bytes) -> list[bytes]:
    """Return the labels of a key in wire order (leftmost first), lower case."""
    labels = key.split(b"\0")[-2::-1]
    if 1 in key:
        labels = [label.replace(b"\1\1", b"\0").replace(b"\1\2", b"\1") for label in labels]
    return labels


def wire_of_key(key: bytes) -> bytes:
    """Return the uncompressed wire format of the name whose key this is, in lower case."""
    return b"".join(bytes((len(label),)) + label for label in labels_of_key(key)) + b"\0"


def text_of_key(key: bytes) -> str:
    """Return a name's presentation format for people (absolute, unprintable octets as \\DDD)."""
    labels = labels_of_key(key)
    return "".join(_escape(label) + "." for label in labels) or "."


def _escape(label: bytes) -> str:
    return "".join(
        f"\\{chr(o)}" if o in b'."\\;()@$' else chr(o) if 0x21 <= o <= 0x7E else f"\\{o:03d}" for o in label
    )


def above(key: bytes) -> bytes:
    """Return the key of the name above another one; above the root there is the root."""
    return key[: key.rfind(b"\0", 0, -1) + 1]


def parent_keys(key: bytes) -> list[bytes]:
    """Return the key itself and all its ancestors, longest first, down to the top label."""
    keys = []
    end = len(key)
    while end > 0:
        keys.append(key[:end])
        end = key.rfind(b"\0", 0, end - 1) + 1
    return keys
