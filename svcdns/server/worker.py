"""A DNS worker process: answers on its own UDP sockets and on the TCP listeners that all share.

What upstreams have to be asked for it hands over to the forwarder, as long as that one shows life.

It opens the store first, so that its first answer is already from the last state; where there is no
store yet, it answers SERVFAIL (EDE 14) until there is one.  Once a second, and at its end, it copies
its counters into its slot of the shared ones.

Run by the supervisor as `python -m svcdns.server.worker NUMBER` (the number is for `ps`).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import select
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from svcdns.cache.store import CacheReader
from svcdns.config.readers import Wrong
from svcdns.config.sections import Config
from svcdns.config.tsig_keys import read_keys
from svcdns.dns.access import Access, Rights
from svcdns.dns.answer import Answerer
from svcdns.dns.forward_link import ForwardLink
from svcdns.dns.stats import Stats
from svcdns.dns.tcp import TcpListener
from svcdns.dns.tcp_passing import pass_on, take_all
from svcdns.dns.transfer import Transfers
from svcdns.dns.udp import UdpListener
from svcdns.dns.view import elsewhere
from svcdns.system.background import background
from svcdns.tap.recorder import BY_WORKER

from . import scheduling
from .child_process import Fatal, run
from .child_setup import Handoff
from .counters import Counters, Slot
from .recording import recorder_of
from .store_reader import OPEN_AGAIN_SECONDS, StoreReader
from .takeover import LEAVE

if TYPE_CHECKING:
    from svcdns.dns.signatures import Signatures

PUBLISH_SECONDS = 1.0
DRAIN_SECONDS = 2.0
LEAVE_SECONDS = 5.0
"""For so long TCP clients that wait for an answer are served on when another worker has the sockets."""

log = logging.getLogger(__name__)


async def serve(handoff: Handoff, config: Config, stop: asyncio.Event) -> None:
    """Answer until stopped."""
    scheduling.take_short_slices()
    counters, stats, store = handoff.counters(), Stats(), StoreReader(config.data)
    slot, row = counters.slot(handoff.worker), handoff.worker + 1
    stats.slots[:] = slot.read()  # they go on where those of a former worker ended
    link = socket.socket(fileno=handoff.links[0]) if handoff.links else None
    cache = CacheReader(config.data) if link is not None else None

    def refresh() -> None:
        if cache is not None:
            cache.refresh(counters.get(counters.forwarder, "cache"))

    signatures = _signatures(config)
    answerer = Answerer(
        stats,
        udp_size=config.dns.udp_size,
        identity=f"worker-{handoff.worker}",
        forwards=config.forward.forwards,
        elsewhere=elsewhere(config.forward),
        explains=config.dns.explain_empty,
        signatures=signatures,
        **({"cache": cache.get} if cache is not None else {}),
    )
    rights = Rights(Access.of(config))
    forward_link = ForwardLink(link, lambda: counters.get(counters.forwarder, "beat") / 1000)
    recorder = recorder_of(handoff, config, handoff.worker, BY_WORKER)
    shared: dict[str, Any] = {"rights": rights, "forward_link": forward_link, "recorder": recorder}
    transfers = _ShownTransfers(
        rights,
        config.data,
        store.begin,
        stats,
        udp_size=config.dns.udp_size,
        refusals=answerer.refusals,
        signatures=signatures,
    )
    transfers.show = lambda running: counters.set(row, "busy", running)
    udp = [socket.socket(fileno=descriptor) for descriptor in handoff.udp]
    tcp = [socket.socket(fileno=descriptor) for descriptor in handoff.tcp]
    streams = [TcpListener(one, store.begin, answerer, stats, transfers=transfers, **shared) for one in tcp]
    addresses = len(config.dns.listen)
    datagrams = [
        UdpListener(one, store.begin, answerer, stats, number=number % addresses, **shared)
        for number, one in enumerate(udp)
    ]

    store.try_to_open()
    forward_link.start()
    for listener in datagrams:
        listener.start()
    for accepting in streams:
        await accepting.start()
    if handoff.passed_on >= 0 and streams:
        take_all(socket.socket(fileno=handoff.passed_on), streams[0].adopt)
    leaving = _leaves(stop)
    reading = partial(_look_at_the_lock, store, counters, row)

    def staleness() -> None:
        answerer.set_stale(counters.is_stale)

    async with (
        background(_open(store, counters, row, reading)),
        background(_publish(stats, slot, refresh, reading, recorder.refresh, staleness)),
    ):
        await stop.wait()
        counters.set(row, "ready", 0)
        await _drain(udp)
        for listener in datagrams:
            listener.close()
        await _close(streams, handoff.passing_on if leaving.is_set() else -1)
    slot.write(stats.slots)


def _signatures(config: Config) -> Signatures | None:
    """Return who checks signatures, where there are keys; only then is dnspython loaded."""
    if config.dns.tsig_keys is None:
        return None
    from svcdns.dns.signatures import Signatures

    try:
        return Signatures(read_keys(config.dns.tsig_keys), config.dns.udp_size)
    except Wrong as wrong:
        raise Fatal(f"dns.tsig_keys: {wrong}") from None


def _leaves(stop: asyncio.Event) -> asyncio.Event:
    """Return an event that is set, with `stop`, when another worker has taken over the sockets."""
    leaving = asyncio.Event()

    def leave() -> None:
        leaving.set()
        stop.set()

    asyncio.get_running_loop().add_signal_handler(LEAVE, leave)
    return leaving


async def _close(streams: Sequence[TcpListener], passing_on: int) -> None:
    """Close all TCP connections, or pass them on where there is a descriptor for that."""
    if passing_on < 0:
        await asyncio.gather(*(listener.close() for listener in streams))
    else:
        there = partial(pass_on, socket.socket(fileno=passing_on))
        await asyncio.gather(*(listener.close(LEAVE_SECONDS, there) for listener in streams))


async def _open(store: StoreReader, counters: Counters, row: int, reading: Callable[[], None]) -> None:
    """Open the store as soon as the writer has made it; from then on this worker is ready."""
    while not store.try_to_open():
        await asyncio.sleep(OPEN_AGAIN_SECONDS)
    reading()
    gc.collect()
    gc.freeze()  # what is there now stays: no need to look at it again and again
    counters.set(row, "ready", 1)


async def _publish(stats: Stats, slot: Slot, *chores: Callable[[], None]) -> None:
    """Copy the counters to where they outlive this process; see to what is read, and to what is recorded."""
    while True:
        for chore in chores:
            chore()
        await asyncio.sleep(PUBLISH_SECONDS)
        slot.write(stats.slots)


def _look_at_the_lock(store: StoreReader, counters: Counters, row: int) -> None:
    """Take a lock on what is read where that has become possible, and say whether there is one."""
    store.look_again()
    counters.set(row, "unlocked", int(not store.has_lock))


class _ShownTransfers(Transfers):
    """Transfers that the writer knows of: it has more patience with their readers."""

    show: Callable[[int], None]
    """Is given how many are under way."""
    _running = 0

    async def serve(self, *arguments: Any) -> None:
        self._counted(1)
        try:
            await super().serve(*arguments)
        finally:
            self._counted(-1)

    def _counted(self, change: int) -> None:
        self._running += change
        self.show(self._running)


async def _drain(sockets: Sequence[socket.socket]) -> None:
    """Give the listeners turns until nothing waits in the sockets, DRAIN_SECONDS at most."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DRAIN_SECONDS
    while sockets and select.select(sockets, [], [], 0)[0] and loop.time() < deadline:
        await asyncio.sleep(0)


def main() -> NoReturn:
    """Run this process to its end."""
    run(serve)


if __name__ == "__main__":
    main()
