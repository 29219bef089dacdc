"""Hashed owner names (RFC 5155): how a name is hashed, and where the rows of NSEC3 records stand.

The owner name of an NSEC3 record is no name of its zone (RFC 5155 section 7.2.8), so its row is kept apart
from those of names, among the rows of the same zone:

    CHAIN + key of the owner       the NSEC3 of the chain that the zone's NSEC3PARAM names, and its RRSIGs
    OTHERS + key of the owner      other NSEC3, such as a chain that is being built: for transfers only

No key of a name begins with NUL, so these rows come before all names.  The owner is the hash in base32hex
below the apex, whose letters sort as the hashes do: the row at or before a key is the one that covers a hash.
"""

from __future__ import annotations

from base64 import b32hexencode
from functools import lru_cache
from hashlib import sha1

CHAIN = b"\0\1"
OTHERS = b"\0\2"
FIRST = b"\0"
"""What both begin with, and no key of a name."""
PREFIX_OCTETS = 2

SHA1 = 1
"""The one hash algorithm there is (RFC 5155 section 11)."""
MAX_ITERATIONS = 150
"""Further rounds of hashing that a proof may cost; validators take no more (RFC 9276 section 3.2)."""

_KEPT = 4096


@lru_cache(_KEPT)
def hashed_label(name: bytes, salt: bytes, iterations: int) -> bytes:
    """Return the hash of a name as a label, in lower case (RFC 5155 sections 3.3 and 5).

    `name` is in wire format, in lower case; `iterations` are those after the first round.
    """
    digest = sha1(name + salt, usedforsecurity=False).digest()
    for _ in range(iterations):
        digest = sha1(digest + salt, usedforsecurity=False).digest()
    return b32hexencode(digest).lower()
