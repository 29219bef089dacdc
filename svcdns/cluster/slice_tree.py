"""Which of a Service's generated slices an endpoint stands in: it follows from the Pods, however they came.

Each endpoint has a hash, of its Pod's uid.  Up to MOST endpoints of one family and the same ports are one
slice.  Beyond that the hashes are halved, and halved again: a slice holds those that begin with its `path`,
some bits as text, "" for all.  So the slices are the leaves of a binary tree that depends on nothing but
which Pods there are; one Pod more or less halves a slice, or unites those below one branch, and moves nobody
else.  A leaf without endpoints has no slice.

Pure; paths and hashes are texts of the digits 0 and 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import TypeVar

MOST = 100
"""Endpoints in one generated slice."""
BITS = 64

Key = TypeVar("Key")


def hash_of(uid: str) -> str:
    """Return the bits by which a Pod finds its slice."""
    return f"{int.from_bytes(blake2b(uid.encode(), digest_size=BITS // 8).digest()):0{BITS}b}"


def leaf_for(paths: Collection[str], bits: str) -> str:
    """Return the path of the leaf that a hash belongs to: one of `paths`, or one that has no slice yet."""
    return next(
        path
        for path in (bits[:depth] for depth in range(BITS + 1))
        if path in paths or not any(other.startswith(path) for other in paths)
    )


def leaves(path: str, hashes: Mapping[Key, str]) -> dict[str, list[Key]]:
    """Return the leaves below a path that hold these endpoints, those without any left out."""
    if len(hashes) <= MOST or len(path) == BITS:
        return {path: list(hashes)} if hashes else {}
    found: dict[str, list[Key]] = {}
    for half in (path + "0", path + "1"):
        found |= leaves(half, {key: bits for key, bits in hashes.items() if bits.startswith(half)})
    return found


def united(paths: Iterable[str], path: str) -> tuple[str, list[str]]:
    """Return the path above a leaf, and which of the leaves of a tree stand below that."""
    above = path[:-1]
    return above, [other for other in paths if other.startswith(above)]


def kept_name(path: str) -> str:
    """Return what names the slice of a path: where it is halved, the first half goes on under its name."""
    return path.rstrip("0")
