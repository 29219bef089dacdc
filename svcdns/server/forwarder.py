"""The forwarder process: asks upstreams what is not ours, and keeps their answers in the cache.

    open the cache -> routes to the upstreams -> errands from the workers -> until told to end

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
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import lmdb

from svcdns.config import Config
from svcdns.dns.forward.control import Control
from svcdns.dns.forward.flights import Flights
from svcdns.dns.forward.forwarder import Forwarder, Limits
from svcdns.dns.forward.routes import Routes
from svcdns.dns.tally import Tally
from svcdns.listening import dns_endpoints
from svcdns.store.cache import Cache
from svcdns.store.environment import NotThere, open_store
from svcdns.store.snapshot import Snapshot, Snapshots

from . import folder
from .handoff import Handoff
from .process import run

BEAT_SECONDS = 0.1
TELL_SECONDS = 1.0
CHORES_SECONDS = 10.0
OPEN_AGAIN_SECONDS = 0.05
LAND_SECONDS = 3.5
"""Longest time that flights get to land when the server ends."""

log = logging.getLogger(__name__)


async def serve(handoff: Handoff, config: Config, stop: asyncio.Event) -> None:
    """Forward until told to end."""
    counters = handoff.counters()
    row, slot = counters.forwarder, counters.slot(counters.forwarder - 1)
    tally = Tally()
    tally.slots[:] = slot.read()
    store = _Store(config)
    udp = [socket.socket(fileno=descriptor) for descriptor in handoff.udp]
    links = [socket.socket(fileno=descriptor) for descriptor in handoff.links]
    with contextlib.closing(Cache(config.data, config.cache.octets)) as cache:
        routes = Routes(config.forward, dns_endpoints(config))
        flights = Flights(routes.pool, cache, config.cache)
        forwarder = Forwarder(
            udp,
            links,
            store.begin,
            flights,
            tally,
            limits=Limits(config.forward.outstanding, config.forward.outstanding_per_client),
            udp_size=config.dns.udp_size,
            is_probe=routes.is_probe,
        )
        control = Control()
        telling = _Telling(config.data)

        def tell() -> None:
            slot.write(tally.slots)
            cached = {"octets": cache.octets, "entries": cache.entries}
            told = {"cache": cached, "outstanding": forwarder.outstanding, "upstreams": routes.status()}
            telling.tell(json.dumps(told))

        async def flush(prefix: bytes) -> int:
            flushed, most = 0, cache.entries  # what comes meanwhile is new
            while flushed < most and (some := cache.flush_some(prefix)):
                flushed += some
                await asyncio.sleep(0)  # questions come first
            return flushed

        await store.loaded()
        await routes.start()
        await control.start(config.data, flush)
        forwarder.start()
        gc.collect()
        gc.freeze()
        async with (
            _again_and_again(BEAT_SECONDS, lambda: counters.beat(row)),
            _again_and_again(TELL_SECONDS, tell),
            _again_and_again(CHORES_SECONDS, cache.chores),
        ):
            counters.set(row, "ready", 1)
            await stop.wait()
            counters.set(row, "ready", 0)
            forwarder.stop()
            await flights.stop(LAND_SECONDS)
        await control.stop()
        await routes.stop()
        tell()


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


class _Store:
    """The store, as soon as the writer has made it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._refused = ""
        self._snapshots: Snapshots | None = None

    def begin(self) -> Snapshot | None:
        """Begin a snapshot; None while there is no store."""
        return self._snapshots.begin() if self._snapshots is not None else None

    async def loaded(self) -> None:
        """Wait until it says which names are ours: all others are not known before, nor are loops."""
        while not self._is_loaded():
            await asyncio.sleep(OPEN_AGAIN_SECONDS)

    def _is_loaded(self) -> bool:
        try:
            if self._snapshots is None:
                self._snapshots = Snapshots(open_store(self._config.data, "reader"))
            snapshot = self._snapshots.begin()
        except NotThere:
            return False
        except lmdb.Error as failed:
            if str(failed) != self._refused:
                log.error("the store can't be opened: %s; trying again", failed)
            self._refused = str(failed)
            return False
        snapshot.txn.abort()
        return snapshot.serving is not None


@contextlib.asynccontextmanager
async def _again_and_again(seconds: float, work: Callable[[], object]) -> AsyncIterator[None]:
    """Do something beside the body every so many seconds, at once for the first time."""

    async def repeat() -> None:
        while True:
            try:
                work()
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
