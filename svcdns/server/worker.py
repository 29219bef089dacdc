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
from collections.abc import Sequence
from functools import partial
from typing import Any

from svcdns.cache.store import CacheReader
from svcdns.config.sections import Config
from svcdns.dns.access import Access, Rights
from svcdns.dns.answer import Answerer
from svcdns.dns.forward_link import ForwardLink
from svcdns.dns.stats import Stats
from svcdns.dns.tcp import TcpListener
from svcdns.dns.tcp_passing import pass_on, take_all
from svcdns.dns.transfer import Transfers
from svcdns.dns.udp import UdpListener
from svcdns.dns.view import elsewhere

from .child_setup import Handoff
from .counters import Counters
from .process import run
from .store_reader import OPEN_AGAIN_SECONDS, StoreReader
from .takeover import LEAVE

PUBLISH_SECONDS = 1.0
DRAIN_SECONDS = 2.0
LEAVE_SECONDS = 5.0
"""For so long TCP clients that wait for an answer are served on when another worker has the sockets."""

log = logging.getLogger(__name__)


async def serve(handoff: Handoff, config: Config, stop: asyncio.Event) -> None:
    """Answer until told to end."""
    counters = handoff.counters()
    link = socket.socket(fileno=handoff.links[0]) if handoff.links else None
    worker = Worker(handoff.worker, config, counters, link)
    udp = [socket.socket(fileno=descriptor) for descriptor in handoff.udp]
    tcp = [socket.socket(fileno=descriptor) for descriptor in handoff.tcp]
    worker.store.try_to_open()
    listeners = await worker.listen(udp, tcp)
    chores = [asyncio.create_task(work) for work in (worker.open(), worker.publish_again_and_again())]
    over_tcp = [listener for listener in listeners if isinstance(listener, TcpListener)]
    if handoff.passed_on >= 0 and over_tcp:
        take_all(socket.socket(fileno=handoff.passed_on), over_tcp[0].adopt)
    leaving = asyncio.Event()

    def leave() -> None:
        leaving.set()
        stop.set()

    asyncio.get_running_loop().add_signal_handler(LEAVE, leave)
    await stop.wait()
    counters.set(handoff.worker + 1, "ready", 0)
    await _drain(udp)
    for listener in listeners:
        if isinstance(listener, UdpListener):
            listener.close()
    if leaving.is_set() and handoff.passing_on >= 0:
        there = partial(pass_on, socket.socket(fileno=handoff.passing_on))
        await asyncio.gather(*(listener.close(LEAVE_SECONDS, there) for listener in over_tcp))
    else:
        await asyncio.gather(*(listener.close() for listener in over_tcp))
    for chore in chores:
        chore.cancel()
    worker.publish_counters()


class Worker:
    """What answers questions in this process."""

    def __init__(self, number: int, config: Config, counters: Counters, link: socket.socket | None) -> None:
        """`number` counts from 0; its counters go on where those of a former worker ended.

        `link` is this worker's end of its link with the forwarder, None where nothing is forwarded.
        """
        self._config = config
        self._counters = counters
        self._row = number + 1
        self._slot = counters.slot(number)
        self.store = StoreReader(config.data)
        self._refused = ""
        self.stats = Stats()
        self.stats.slots[:] = self._slot.read()
        self.rights = Rights(Access.of(config))
        self.forward_link = ForwardLink(link, lambda: counters.get(counters.forwarder, "beat") / 1000)
        self._cache = CacheReader(config.data) if link is not None else None
        self.answerer = Answerer(
            self.stats,
            udp_size=config.dns.udp_size,
            identity=f"worker-{number}",
            forwards=config.forward.forwards,
            elsewhere=elsewhere(config.forward),
            **({"cache": self._cache.get} if self._cache is not None else {}),
        )

    async def listen(
        self, udp: Sequence[socket.socket], tcp: Sequence[socket.socket]
    ) -> list[UdpListener | TcpListener]:
        """Begin to answer on these sockets."""
        transfers = _ShownTransfers(
            self.rights, self._config, self.store.begin, self.stats, self._counters, self._row
        )
        listeners: list[UdpListener | TcpListener] = []
        shared: dict[str, Any] = {"rights": self.rights, "forward_link": self.forward_link}
        self.forward_link.start()
        addresses = len(self._config.dns.listen)
        for number, one in enumerate(udp):
            listener = UdpListener(
                one, self.store.begin, self.answerer, self.stats, number=number % addresses, **shared
            )
            listener.start()
            listeners.append(listener)
        for one in tcp:
            accepting = TcpListener(
                one, self.store.begin, self.answerer, self.stats, transfers=transfers, **shared
            )
            await accepting.start()
            listeners.append(accepting)
        return listeners

    async def open(self) -> None:
        """Open the store as soon as the writer has made it; from then on this worker is ready."""
        while not self.store.try_to_open():
            await asyncio.sleep(OPEN_AGAIN_SECONDS)
        self._look_at_the_lock()
        gc.collect()
        gc.freeze()  # what is there now stays: no need to look at it again and again
        self._counters.set(self._row, "ready", 1)

    def _look_at_the_lock(self) -> None:
        """Take a lock on what is read where that has become possible, and say whether there is one."""
        self.store.look_again()
        self._counters.set(self._row, "unlocked", int(not self.store.has_lock))

    def publish_counters(self) -> None:
        """Copy the counters to where they outlive this process."""
        self._slot.write(self.stats.slots)

    async def publish_again_and_again(self) -> None:
        """Copy them once a second, until cancelled; and see whether the cache was made anew."""
        while True:
            if self._cache is not None:
                self._cache.look_again()
            self._look_at_the_lock()
            await asyncio.sleep(PUBLISH_SECONDS)
            self.publish_counters()


class _ShownTransfers(Transfers):
    """Transfers that the writer knows of: it has more patience with their readers."""

    def __init__(
        self, rights: Rights, config: Config, begin: Any, stats: Stats, counters: Counters, row: int
    ) -> None:
        super().__init__(rights, config.data, begin, stats, udp_size=config.dns.udp_size)
        self._shown = counters
        self._row = row
        self._running = 0

    async def serve(self, *arguments: Any) -> None:
        self._show(1)
        try:
            await super().serve(*arguments)
        finally:
            self._show(-1)

    def _show(self, change: int) -> None:
        self._running += change
        self._shown.set(self._row, "busy", self._running)


async def _drain(sockets: Sequence[socket.socket]) -> None:
    """Give the listeners turns until nothing waits in the sockets, DRAIN_SECONDS at most."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DRAIN_SECONDS
    while sockets and select.select(sockets, [], [], 0)[0] and loop.time() < deadline:
        await asyncio.sleep(0)


if __name__ == "__main__":
    run(serve)
