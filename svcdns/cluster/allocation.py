"""Which address or port comes next: walking a range past what is in use.

A range is walked from a cursor that each allocation moves on, so what was just freed is handed out
last.  The first part of a range (as in Kubernetes: min(max(16, size / 16), 256) addresses) is kept for
those who ask for a certain address, and used for others only when the rest is full.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Network = IPv4Network | IPv6Network

InUse = Callable[[int], Iterator[int]]
"""Yields the numbers in use, ascending, from the one given on; none are needed where that one is free."""

STATIC_MIN, STATIC_MAX, STATIC_STEP = 16, 256, 16


@functools.lru_cache(maxsize=64)
def usable(network: Network) -> range:
    """Return the addresses of a range that may be given out, as integers.

    Network and broadcast address (IPv4) and the subnet-router anycast address (IPv6) are left out,
    where the range is large enough to have them.
    """
    first, last = int(network.network_address), int(network.broadcast_address)
    if network.num_addresses <= 2:
        return range(first, last + 1)
    return range(first + 1, last if network.version == 4 else last + 1)


def dynamic_start(numbers: range) -> int:
    """Return where the part that is handed out unasked begins (Kubernetes KEP-3070)."""
    size = len(numbers)
    if size <= STATIC_MIN:
        return numbers.start
    return numbers.start + min(max(STATIC_MIN, size // STATIC_STEP), STATIC_MAX)


def next_free(numbers: range, cursor: int | None, in_use: InUse) -> int | None:
    """Return the first free number from `cursor` on, wrapping; None when all are in use.

    `cursor` is the last number given out, None when there was none.
    """
    begin = dynamic_start(numbers)
    at = begin if cursor is None or not begin <= cursor + 1 < numbers.stop else cursor + 1
    for part in (range(at, numbers.stop), range(begin, at), range(numbers.start, begin)):
        found = _first_gap(part, in_use)
        if found is not None:
            return found
    return None


def _first_gap(numbers: range, in_use: InUse) -> int | None:
    candidate = numbers.start
    if candidate >= numbers.stop:
        return None
    for taken in in_use(candidate):
        if taken > candidate:
            break
        candidate = taken + 1
        if candidate >= numbers.stop:
            return None
    return candidate


def address(number: int, network: Network) -> IPv4Address | IPv6Address:
    """Return the address of an integer within a range's family."""
    return IPv4Address(number) if network.version == 4 else IPv6Address(number)
