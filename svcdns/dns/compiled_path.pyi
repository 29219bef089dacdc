"""The compiled path of a plain question (compiled_path.c); not there where no compiler was."""

from collections.abc import Callable, Mapping

import lmdb

from .no_reply import NoReply
from .view import View, ZoneTable

DescribedZone = tuple[object, bytes, int, int, int, bytes, int]
"""The zone, its key, flags, the number of the closest one around it (-1: none), slot of its counters, prefix
of its rows' keys, octets of its origin."""
DescribedTable = tuple[tuple[DescribedZone, ...], int, bytes, bytes, bytes, bool]
"""Zones in the order of their keys; which is the cluster domain (-1: none); keys of it, of `svc` and `pod`
below it; short names."""
OpenedView = tuple[ZoneTable, Callable[..., object], lmdb._Database, lmdb._Database]
"""The table of zones, `get` of the transaction, and the tables of answers and of zone files' rows."""

class Path:
    """Answers plain questions as svcdns.dns.fast_path.FastPath does; one a worker, used from one thread."""

    def __init__(
        self,
        slots: list[int],
        udp_size: int,
        types: dict[int, int],
        describe: Callable[[ZoneTable], DescribedTable],
        open_view: Callable[[View], OpenedView],
        random: Callable[[], float],
        protocol_stride: int,
        nodata_slot: int,
        nxdomain_slot: int,
        not_plain: NoReply,
        or_else: Callable[..., object] | None,
        cache: Callable[[bytes], bytes | None] = ...,
        now: Callable[[], int] = ...,
        forward_slot: int = 0,
        hits_slot: int = 0,
    ) -> None:
        """`types` are those that are plain, with the slots of their counters; `or_else` decides the rest.

        `cache` reads the cache of forwarded answers, which are left to `or_else` without it; `now` is its
        clock.  `forward_slot` is where their counters begin, `hits_slot` the counter of hits.

        Raises ValueError for a `udp_size` above 4,096 octets.
        """

    def answer(self, packet: bytes, view: View, transport: int, rights: int = 1, /) -> object:
        """Return the reply, or what `or_else` says; `not_plain` where that is None."""

class Batch:
    """The datagrams of one socket: `receive`, `answer`, `put` for what Python decides, `recorded`, `send`.

    Each raises RuntimeError where `answer` is at work, which only code can see that this calls.
    """

    def __init__(self, path: Path, descriptor: int, rights: Mapping[str, int], wildcard: bool) -> None:
        """`rights` gives those of a client's address, which never change.

        `wildcard`: the kernel was asked for addresses (svcdns.dns.udp.ask_for_addresses).
        """

    def receive(self) -> int:
        """Receive what waits, at most 64 datagrams, and forget those before; return how many came."""

    def answer(
        self, view: View | None, /
    ) -> list[tuple[int, bytes, tuple[str, int], int, list[tuple[int, int, bytes]]]]:
        """Make the replies to plain questions; return the other messages.

        Of each: its number, the octets, the client's address as the socket module gives it, its rights,
        and the ancillary data of a reply.
        """

    def put(self, number: int, reply: bytes, /) -> None:
        """Set the reply to the message of this number."""

    def recorded(self, first: int, step: int, /) -> tuple[int, bytes]:
        """Return how many replies are chosen, and two arrays in MessagePack: questions, replies.

        Chosen are, of those that have a reply, the one of number `first` and each `step`th from there on.
        Items are [octets, [address, port]], and [octets, nil] in the same order.  To be called before `send`.
        """

    def send(self) -> int:
        """Send all replies; return how many the kernel would not take."""
