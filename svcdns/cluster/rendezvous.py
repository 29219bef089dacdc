"""Whose of several something is, the same for all who ask: which node answers for an address, or does a work.

Rendezvous hashing: each of them has a weight for each key, and the heaviest has it.  So one that leaves
moves its own keys only, and one that comes takes some from each of the others.
Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998).

Pure: who may, and who lives, is said by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

_WEIGHT_OCTETS = 8


def owner(key: bytes, names: Iterable[str]) -> str:
    """Return whose of these names a key is, such as an address of 4 or 16 octets; "" where there is none."""
    return max(names, key=lambda name: (_weight(key, name), name), default="")


def of_object(kind: str, namespace: str, name: str) -> bytes:
    """Return the key of the work that belongs to an object."""
    return f"{kind}/{namespace}/{name}".encode()


def _weight(key: bytes, name: str) -> bytes:
    return blake2b(key + b"\0" + name.encode(), digest_size=_WEIGHT_OCTETS).digest()
