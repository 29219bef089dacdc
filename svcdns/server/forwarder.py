"""The forwarder process: asks upstreams what is not ours, and keeps their answers in the cache.

    open the cache -> routes to the upstreams -> requests from the workers -> until stopped

It is the only one that writes the cache; it reads the store as the workers do.  Ten times a second it shows
life, once a second it copies its counters and says how its upstreams are (see `forwarder.json`).  When it
dies, own names are answered as ever; what waits in the links is answered by the next one.

Run by the supervisor as `python -m svcdns.server.forwarder`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from typing import NoReturn

from svcdns.cache import generations
from svcdns.cache.store import Cache
from svcdns.config.listening import dns_endpoints
from svcdns.config.sections import Config
from svcdns.dns.access import Access, Rights
from svcdns.dns.stats import Stats
from svcdns.dns.view import elsewhere
from svcdns.forward.bailiwick import Bailiwick
from svcdns.forward.clients import Clients
from svcdns.forward.intake import Forwarder, Loops
from svcdns.forward.invalidation import ZoneChanges, Zones
from svcdns.forward.partial_loops import PartialLoopDetector
from svcdns.forward.routes import Routes
from svcdns.forward.single_flight import Limits, Lookups, SingleFlight
from svcdns.forward.upstreams.recorded import recorded
from svcdns.system import free_memory
from svcdns.system.background import background
from svcdns.system.log_on_change import LogOnChange
from svcdns.tap.recorder import BY_FORWARDER, BY_UPSTREAM

from . import data_folder, scheduling
from .child_process import run
from .child_setup import Handoff
from .flush_link import FlushServer
from .recording import recorder_of
from .store_reader import OPEN_AGAIN_SECONDS, StoreReader
from .takeover import LEAVE, STAY, signal_predecessor

BEAT_SECONDS = 0.1
STATUS_SECONDS = 1.0
ZONES_SECONDS = 1.0
CHORES_SECONDS = 10.0
OPEN_SECONDS = 20.0
"""Longest time that opening the store, or the cache, may take."""
TAKE_SECONDS = 0.5
"""Longest time in which what waits in the links is taken at the end."""
DRAIN_SECONDS = 3.5
"""Longest time that questions under way get then."""

_TRIES_FOR_THE_CACHE = 40
_OBJECTS_TO_COLLECT = 10_000
"""New ones from which on the garbage collector looks at them: with its usual 700 it would look at what a few
dozen questions hold while they wait for upstreams, again and again, and find nothing."""

log = logging.getLogger(__name__)


async def serve(handoff: Handoff, config: Config, stop: asyncio.Event) -> None:
    """Forward until stopped."""
    scheduling.step_back()
    store = StoreReader(config.data)
    bailiwick = Bailiwick(store.begin, elsewhere(config.forward))
    # Which names are ours, and whether upstreams lead in loops, is known only once there is a store.
    while (zones := _zones(store, bailiwick)) is None:
        if stop.is_set():
            return
        await asyncio.sleep(OPEN_AGAIN_SECONDS)
    await _have_the_cache_left(handoff, config)
    source = _source_of(config, zones)
    with _not_for_ever():
        opened = Cache(config.data, config.cache.octets, source)
    with contextlib.closing(opened) as cache:
        await _Forwarding(handoff, config, store, bailiwick, cache).run(stop)


def _zones(store: StoreReader, bailiwick: Bailiwick) -> Zones | None:
    with _not_for_ever():
        return bailiwick.zones() if store.try_to_open() else None


@contextlib.contextmanager
def _not_for_ever() -> Iterator[None]:
    """End this process (SIGALRM) where the body takes OPEN_SECONDS, so that the supervisor starts another.

    Who opens an environment of LMDB waits for others as its lock file says; a damaged one has no end to that.
    """
    signal.setitimer(signal.ITIMER_REAL, OPEN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


async def _have_the_cache_left(handoff: Handoff, config: Config) -> None:
    """In an upgrade: have the forwarder before forward on without the cache, which only one may write."""
    signal_predecessor(handoff, LEAVE)
    for _ in range(_TRIES_FOR_THE_CACHE if handoff.predecessor >= 0 else 0):
        if generations.is_free(config.data):
            return
        await asyncio.sleep(OPEN_AGAIN_SECONDS)


def _source_of(config: Config, zones: Zones) -> str:
    """Return where answers come from, as upstreams, our zones and those for aliases say.

    What came from elsewhere is forgotten.
    """
    forward = config.forward
    routes = {".": forward.upstreams} | {zone.name: zone.upstreams for zone in forward.zone}
    asked = sorted((name, sorted(upstreams)) for name, upstreams in routes.items())
    ours = sorted((kind, key.hex(), version) for kind, key, version in zones)
    may_come = sorted(config.dns.alias_zones)  # known before the registry has switched to these
    return blake2b(json.dumps([asked, ours, may_come]).encode(), digest_size=16).hexdigest()


class _Forwarding:
    """What this process is made of."""

    def __init__(
        self, handoff: Handoff, config: Config, store: StoreReader, bailiwick: Bailiwick, cache: Cache
    ) -> None:
        self._counters = handoff.counters()
        self._row = self._counters.forwarder
        self._slot = self._counters.slot(self._row - 1)
        self._stats = Stats()
        self._stats.slots[:] = self._slot.read()
        self._recorder = recorder_of(handoff, config, self._row - 1, BY_FORWARDER)
        self._cache = cache
        self._left = False
        """Whether another forwarder has the cache now."""
        self._store = store
        self._of_upstreams = self._recorder.beside(BY_UPSTREAM)
        tapped = config.dnstap.to and config.dnstap.upstreams
        wrap = partial(recorded, self._of_upstreams) if tapped else None
        self._routes = Routes(config.forward, dns_endpoints(config), wrap=wrap)
        self._zone_changes = ZoneChanges(bailiwick, cache, lambda zones: _source_of(config, zones))
        self._single_flight = SingleFlight(
            self._routes.pool, cache, config.cache, bailiwick.departure, bailiwick.scrubbed
        )
        clients = Clients(
            [socket.socket(fileno=descriptor) for descriptor in handoff.udp],
            self._stats,
            Rights(Access.of(config)),
            config.dns.udp_size,
            self._recorder,
        )
        limits = Limits(config.forward.outstanding, config.forward.outstanding_per_client)
        self._lookups = Lookups(self._single_flight, clients, limits)
        partial_loops = PartialLoopDetector(self._routes.upstreams, self._single_flight.is_under_way)
        self._forwarder = Forwarder(
            [socket.socket(fileno=descriptor) for descriptor in handoff.links],
            clients,
            bailiwick,
            self._lookups,
            Loops(self._routes.is_probe, partial_loops),
        )
        self._flush_server = FlushServer(socket.socket(fileno=handoff.flush), self._flush)
        self._data = config.data
        self._unwritten = LogOnChange(False)

    async def run(self, stop: asyncio.Event) -> None:
        """Forward until stopped; then wait for what is under way."""
        await self._routes.start()
        self._forwarder.start()
        self._flush_server.start()
        gc.collect()
        gc.freeze()
        free_memory.give_back()
        gc.set_threshold(_OBJECTS_TO_COLLECT)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(LEAVE, self._leave)
        loop.add_signal_handler(STAY, self._stay)
        async with (
            background(_every(BEAT_SECONDS, self._show_life)),
            background(_every(STATUS_SECONDS, self._publish)),
            background(_every(ZONES_SECONDS, self._zone_changes.check)),
            background(_every(STATUS_SECONDS, self._look_at_the_lock)),
            background(_every(STATUS_SECONDS, self._recorder.refresh)),
            background(_every(STATUS_SECONDS, self._of_upstreams.refresh)),
            background(_every(CHORES_SECONDS, self._see_to_the_cache)),
        ):
            self._show_life()  # before it is ready: else the supervisor takes it for stuck
            self._counters.set(self._row, "ready", 1)
            await stop.wait()
            self._counters.set(self._row, "ready", 0)
            await self._forwarder.finish(TAKE_SECONDS)
            await self._single_flight.stop(DRAIN_SECONDS)
        await self._flush_server.stop()
        await self._routes.stop()
        self._publish()

    def _show_life(self) -> None:
        """Say that this process lives, and where its answers are kept."""
        self._counters.beat(self._row)
        if not self._left:
            self._counters.set(self._row, "cache", self._cache.generation)

    def _look_at_the_lock(self) -> None:
        """Take a lock on what is read where that has become possible, and say whether there is one."""
        self._store.look_again()
        self._counters.set(self._row, "unlocked", int(not self._store.has_lock))

    def _see_to_the_cache(self) -> None:
        if not self._left:
            self._cache.chores()

    def _leave(self) -> None:
        """Leave the cache to a successor, as only one may write it; the links go on being served."""
        self._left = True
        self._cache.close()

    def _stay(self) -> None:
        """Take up what was left: there will be no successor."""
        self._left = False
        self._cache.chores()

    def _publish(self) -> None:
        """Copy the counters, and write how cache and upstreams are."""
        self._slot.write(self._stats.slots)
        if self._left:
            return
        status = {
            "cache": {"octets": self._cache.octets, "entries": self._cache.entries},
            "outstanding": self._lookups.outstanding,
            "upstreams": self._routes.status(),
        }
        try:
            data_folder.publish(self._data, data_folder.FORWARDER, json.dumps(status))
            self._unwritten.is_new(False)
        except OSError as failed:
            if self._unwritten.is_new(True):
                log.warning("%s can't be written: %s", self._data / data_folder.FORWARDER, failed.strerror)

    async def _flush(self, prefix: bytes) -> int:
        """Forget what is in the cache below a key."""
        flushed, is_done = self._cache.flush_some(prefix)
        while not is_done:
            await asyncio.sleep(0)  # questions come first
            some, is_done = self._cache.flush_some(prefix)
            flushed += some
        return flushed


async def _every(seconds: float, work: Callable[[], object]) -> None:
    """Do something every so many seconds, at once for the first time, until cancelled."""
    while True:
        try:
            work()
        except Exception:
            log.exception("a chore of the forwarder failed")
        await asyncio.sleep(seconds)


def main() -> NoReturn:
    """Run this process to its end."""
    run(serve)


if __name__ == "__main__":
    main()
