"""Sending much: a little at a time, and no more before the client has taken most of it.

So what is held for a client that reads slowly, or not at all, is a bounded number of octets.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiohttp import web

SLICE = 64 * 1024
"""Octets given to a connection at a time."""


async def send(response: web.StreamResponse, octets: bytes, *, until: bytes = b"") -> None:
    """Send octets of an answer that has begun; wait while the client is behind.

    With `until`, which is the last octet of all of them, each part that is sent ends with that octet: where
    one is longer than a slice, it is sent at once.
    """
    if len(octets) <= SLICE:
        if octets:
            await response.write(octets)
        return
    view = memoryview(octets)
    for start, end in _slices(octets, until):
        await response.write(view[start:end])


def _slices(octets: bytes, until: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(octets):
        end = start + SLICE
        if until and end < len(octets):
            last = octets.rfind(until, start, end)
            end = (last if last >= 0 else octets.index(until, end)) + 1
        yield start, end
        start = end
