"""What a worker counts: one flat list of integers, and the names of its slots.

The query path adds 1 at an index and does nothing else.  Once a second the whole list is copied
into the worker's part of a file that outlives it; whoever renders metrics reads that copy with the
constants of this module, which are the only description of the layout:

    slot of a reply = REPLIES + ((zone * PROTOCOLS + protocol) * TYPES + type) * RCODES + rcode

then the histogram of batch durations (one slot for each of BATCH_BOUNDS, not cumulative, and one
for everything above), its sum in nanoseconds, its count, and the single counters.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from svcdns.wire import codes

LAYOUT = 2
"""Version of the layout; raised with every change, so that old files are not misread."""

TYPES = ("A", "AAAA", "SRV", "PTR", "CNAME", "TXT", "SOA", "NS", "MX", "ANY", "HTTPS", "other")
RCODES = (
    "NOERROR",
    "NODATA",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "BADVERS",
    "other",
)
"""NODATA is NOERROR without an answer (RFC 2308 section 2.2)."""
PROTOCOLS = ("udp", "tcp")
ZONES = ("cluster", "reverse", "file", "other", "forward")
"""The kind of the zone that the question's name is in; "forward": upstreams or the cache said what the
reply says; "other": in none of ours, or malformed."""

UDP, TCP = range(2)
OK, NODATA, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS, OTHER_RCODE = range(9)
CLUSTER, REVERSE, FILE, NO_ZONE, FORWARD = range(5)

BATCH_BOUNDS = (
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.05,
    0.1,
    1.0,
)
"""Upper bounds of the histogram in seconds; the last bucket (+Inf) has no bound."""

PROTOCOL_STRIDE = len(TYPES) * len(RCODES)
ZONE_STRIDE = len(PROTOCOLS) * PROTOCOL_STRIDE

REPLIES = 0
BATCHES = REPLIES + len(ZONES) * ZONE_STRIDE
BATCH_NANOSECONDS = BATCHES + len(BATCH_BOUNDS) + 1
BATCH_COUNT = BATCH_NANOSECONDS + 1
COUNTERS = BATCH_COUNT + 1

SINGLE = {
    "dropped": "Replies that the kernel would not take (send buffer full, peer unreachable).",
    "silent": "Messages that get no reply: shorter than a header, or replies themselves.",
    "panics": "Questions answered SERVFAIL because of an unexpected exception.",
    "tcp_connections": "TCP connections accepted.",
    "tcp_refused": "TCP connections closed to stay within the limit.",
    "transfers": "Zone transfers completed.",
    "transfers_failed": "Zone transfers given up or refused for lack of room.",
    "cache_hits": "Forwarded questions answered from the cache.",
    "cache_misses": "Forwarded questions for which upstreams were asked, or that joined such a one.",
    "stale_answers": "Forwarded questions answered with what had run out, as no upstream answered.",
    "forward_refused": "Questions not forwarded: the forwarder down or overloaded, or a client at its limit.",
    "forward_loops": "Our own questions that came back to us through an upstream.",
}
"""Single counters and their help texts, in slot order from COUNTERS on."""
(
    DROPPED,
    SILENT,
    PANICS,
    TCP_CONNECTIONS,
    TCP_REFUSED,
    TRANSFERS,
    TRANSFERS_FAILED,
    CACHE_HITS,
    CACHE_MISSES,
    STALE_ANSWERS,
    FORWARD_REFUSED,
    FORWARD_LOOPS,
) = range(COUNTERS, COUNTERS + len(SINGLE))

SLOTS = COUNTERS + len(SINGLE)
_BOUNDS_NS = tuple(int(bound * 1e9) for bound in BATCH_BOUNDS)

TYPE_SLOT: dict[int, int] = {getattr(codes, name): at * len(RCODES) for at, name in enumerate(TYPES[:-1])}
"""What an RR type adds to a slot's index; types that are missing here add OTHER_TYPE."""
OTHER_TYPE = TYPES.index("other") * len(RCODES)


class ReplyCount(NamedTuple):
    """One labelled counter of replies."""

    type: str
    rcode: str
    protocol: str
    zone: str
    value: int


class Stats:
    """The counters of one worker."""

    __slots__ = ("slots",)

    def __init__(self) -> None:
        self.slots: list[int] = [0] * SLOTS

    def batch(self, nanoseconds: int) -> None:
        """Count one batch of datagrams and the time from its receipt to its last reply."""
        slots = self.slots
        slots[BATCHES + bisect_left(_BOUNDS_NS, nanoseconds)] += 1
        slots[BATCH_NANOSECONDS] += nanoseconds
        slots[BATCH_COUNT] += 1


RCODE_SLOT = {getattr(codes, name): at for at, name in enumerate(RCODES) if hasattr(codes, name)}
"""What an rcode adds to a slot's index; those that are missing here add OTHER_RCODE."""


def slot(zone: int, protocol: int, rrtype: int, rcode: int) -> int:
    """Return the index of a reply's counter; `rrtype` is an RR type number, the rest our constants."""
    return (
        REPLIES + zone * ZONE_STRIDE + protocol * PROTOCOL_STRIDE + TYPE_SLOT.get(rrtype, OTHER_TYPE) + rcode
    )


def replies(slots: tuple[int, ...] | list[int]) -> Iterator[ReplyCount]:
    """Yield every counter of replies that is not zero, with its labels."""
    at = REPLIES
    for zone in ZONES:
        for protocol in PROTOCOLS:
            for rrtype in TYPES:
                for rcode in RCODES:
                    if slots[at]:
                        yield ReplyCount(rrtype, rcode, protocol, zone, slots[at])
                    at += 1
