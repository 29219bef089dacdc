"""Which node answers for a load balancer address: one of those that may, the same for all who ask.

Rendezvous hashing: each node has a weight for each address, and the heaviest has it.  So a node that leaves
moves its own addresses only, and one that comes takes some from each of the others.
Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (1998).

Pure: who may, and who lives, is said by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

_WEIGHT_OCTETS = 8


def announcer(address: bytes, nodes: Iterable[str]) -> str:
    """Return which of these nodes answers for an address (4 or 16 octets); "" where there is none."""
    return max(nodes, key=lambda node: (_weight(address, node), node), default="")


def _weight(address: bytes, node: str) -> bytes:
    return blake2b(address + b"\0" + node.encode(), digest_size=_WEIGHT_OCTETS).digest()
