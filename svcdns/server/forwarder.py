"""The forwarder process: asks upstreams what is not ours, and keeps their answers in the cache.

    open the cache -> routes to the upstreams -> requests from the workers -> until told to end

It is the only one that writes the cache; it reads the store as the workers do.  Ten times a second it
shows life, once a second it copies its counters and says how its upstreams are (see `forwarder.json`).
When it dies, own names are answered as ever; what waits in the links is answered by the next one.

Run by the supervisor as `python -m svcdns.server.forwarder`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from svcdns.cache import generations
from svcdns.cache.store import Cache
from svcdns.config.listening import dns_endpoints
from svcdns.config.sections import Config, ForwardConfig
from svcdns.dns.access import Access, Rights
from svcdns.dns.stats import Stats
from svcdns.dns.view import elsewhere
from svcdns.forward.bailiwick import Border
from svcdns.forward.control import AGAIN_SECONDS, Control
from svcdns.forward.forwarder import Forwarder, Limits
from svcdns.forward.invalidation import GainedZones
from svcdns.forward.partial_loops import Circles
from svcdns.forward.routes import Routes
from svcdns.forward.single_flight import Flights

from . import folder
from .child_setup import Handoff
from .process import run
from .store_reader import OPEN_AGAIN_SECONDS, StoreReader
from .takeover import LEAVE, STAY, tell

BEAT_SECONDS = 0.1
TELL_SECONDS = 1.0
GAINED_SECONDS = 1.0
CHORES_SECONDS = 10.0
LAND_SECONDS = 3.5
"""Longest time that flights get to land when the server ends."""

_TRIES_FOR_THE_CACHE = 40

log = logging.getLogger(__name__)


async def serve(handoff: Handoff, config: Config, stop: asyncio.Event) -> None:
    """Forward until told to end."""
    store = StoreReader(config.data)
    while not _is_loaded(store):
        if stop.is_set():
            return
        await asyncio.sleep(OPEN_AGAIN_SECONDS)
    await _have_the_cache_left(handoff, config)
    with contextlib.closing(Cache(config.data, config.cache.octets, _source(config.forward))) as cache:
        await _Forwarding(handoff, config, store, cache).run(stop)


async def _have_the_cache_left(handoff: Handoff, config: Config) -> None:
    """In an upgrade: have the forwarder before forward on without the cache, which only one may write."""
    tell(handoff, LEAVE)
    for _ in range(_TRIES_FOR_THE_CACHE if handoff.predecessor >= 0 else 0):
        if generations.is_free(config.data):
            return
        await asyncio.sleep(OPEN_AGAIN_SECONDS)


def _source(forward: ForwardConfig) -> str:
    """Return where answers come from, as the configuration says: those of others are forgotten."""
    zones = {".": forward.upstreams} | {zone.name: zone.upstreams for zone in forward.zone}
    return json.dumps({name: sorted(upstreams) for name, upstreams in zones.items()}, sort_keys=True)


def _is_loaded(store: StoreReader) -> bool:
    """Say whether the store says which names are ours: all others are not known before, nor are loops."""
    store.try_to_open()
    with store.begin() as snapshot:
        return snapshot is not None and snapshot.serving is not None


class _Forwarding:
    """What this process is made of."""

    def __init__(self, handoff: Handoff, config: Config, store: StoreReader, cache: Cache) -> None:
        self._counters = handoff.counters()
        self._row = self._counters.forwarder
        self._slot = self._counters.slot(self._row - 1)
        self._stats = Stats()
        self._stats.slots[:] = self._slot.read()
        self._folder = config.data
        self._cache = cache
        self._store = store
        self._routes = Routes(config.forward, dns_endpoints(config))
        border = Border(store.begin, elsewhere(config.forward))
        self._gained = GainedZones(border, cache)
        self._flights = Flights(self._routes.pool, cache, config.cache, crosses=border.crossing)
        self._forwarder = Forwarder(
            [socket.socket(fileno=descriptor) for descriptor in handoff.udp],
            [socket.socket(fileno=descriptor) for descriptor in handoff.links],
            border,
            self._flights,
            self._stats,
            limits=Limits(config.forward.outstanding, config.forward.outstanding_per_client),
            udp_size=config.dns.udp_size,
            is_probe=self._routes.is_probe,
            circles=Circles(self._routes.upstreams, self._flights.is_under_way),
            rights=Rights(Access.of(config)),
        )
        self._control = Control()
        self._left = False
        """Whether another forwarder has the cache now."""
        self._telling = _Telling(config.data)

    async def run(self, stop: asyncio.Event) -> None:
        """Forward until told to end; then let those land who are under way."""
        await self._routes.start()
        await self._control.start(self._folder, self._flush)
        self._forwarder.start()
        gc.collect()
        gc.freeze()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(LEAVE, lambda: loop.create_task(self._leave()))
        loop.add_signal_handler(STAY, lambda: loop.create_task(self._stay()))
        async with (
            _again_and_again(BEAT_SECONDS, lambda: self._counters.beat(self._row)),
            _again_and_again(TELL_SECONDS, self._tell),
            _again_and_again(TELL_SECONDS, self._look_at_the_lock),
            _again_and_again(GAINED_SECONDS, self._gained.look),
            _again_and_again(CHORES_SECONDS, self._see_to_the_cache),
            _again_and_again(AGAIN_SECONDS, lambda: self._control.keep()),
        ):
            self._counters.beat(self._row)  # before it is ready: else the supervisor takes it for stuck
            self._counters.set(self._row, "ready", 1)
            await stop.wait()
            self._counters.set(self._row, "ready", 0)
            self._forwarder.stop()
            await self._flights.stop(LAND_SECONDS)
        await self._control.stop()
        await self._routes.stop()
        self._tell()

    def _look_at_the_lock(self) -> None:
        """Take a lock on what is read where that has become possible, and say whether there is one."""
        self._store.look_again()
        self._counters.set(self._row, "unlocked", int(not self._store.has_lock))

    def _see_to_the_cache(self) -> None:
        if not self._left:
            self._cache.chores()

    async def _leave(self) -> None:
        """Leave to a successor of which there can be only one; the links go on being served."""
        self._left = True
        self._cache.close()
        await self._control.stop()

    async def _stay(self) -> None:
        """Take up what was left: there will be no successor."""
        self._left = False
        self._cache.chores()
        self._control = Control()
        await self._control.start(self._folder, self._flush)

    def _tell(self) -> None:
        if self._left:
            return
        self._slot.write(self._stats.slots)
        cached = {"octets": self._cache.octets, "entries": self._cache.entries}
        told = {
            "cache": cached,
            "outstanding": self._forwarder.outstanding,
            "upstreams": self._routes.status(),
        }
        self._telling.tell(json.dumps(told))

    async def _flush(self, prefix: bytes) -> int:
        """Forget what is in the cache below a key; what comes meanwhile is new."""
        flushed, most = 0, self._cache.entries
        while flushed < most and (some := self._cache.flush_some(prefix)):
            flushed += some
            await asyncio.sleep(0)  # questions come first
        return flushed


class _Telling:
    """Says how the forwarder is, as long as that can be written; a line when it no longer can."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._fails = False

    def tell(self, text: str) -> None:
        try:
            folder.tell_forwarder(self._data, text)
        except OSError as failed:
            if not self._fails:
                log.warning("%s can't be written: %s", self._data / folder.FORWARDER, failed.strerror)
            self._fails = True
        else:
            self._fails = False


@contextlib.asynccontextmanager
async def _again_and_again(
    seconds: float, work: Callable[[], Awaitable[object] | object]
) -> AsyncIterator[None]:
    """Do something beside the body every so many seconds, at once for the first time."""

    async def repeat() -> None:
        while True:
            try:
                if isinstance(doing := work(), Awaitable):
                    await doing
            except Exception:
                log.exception("a chore of the forwarder failed")
            await asyncio.sleep(seconds)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    run(serve)
