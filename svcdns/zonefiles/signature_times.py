"""Times of signatures: seconds since 1970 modulo 2**32, which are serial numbers (RFC 4034 section 3.1.5)."""

from __future__ import annotations

_MODULUS = 1 << 32


def is_before(one: int, other: int) -> bool:
    """Compare two times modulo 2**32 (RFC 1982)."""
    return 0 < (other - one) % _MODULUS < _MODULUS // 2


def has_expired(expires: int, time: float) -> bool:
    """Say whether a time modulo 2**32 is over; `time` is in seconds since 1970."""
    return is_before(expires, int(time) % _MODULUS)
