"""The writer process: registry, manifests, zone files and API; the only one that writes the store.

    open the store (in an upgrade, once the writer before has ended) -> registry
    -> API on the inherited socket -> manifests -> zone files -> ready
    -> until stopped: zone files as they change, and a check of the readers of the store

Run by the supervisor as `python -m svcdns.server.writer`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

import lmdb

from svcdns import __version__
from svcdns.api.app import create_app, create_runner
from svcdns.api.auth import audit
from svcdns.api.auth.authority import ConfiguredAuthority
from svcdns.api.explained_answer import Surroundings
from svcdns.api.metrics import ApiMetrics
from svcdns.api.refusing import create_refusing_app
from svcdns.cache.store import CacheReader
from svcdns.config.sections import ApiConfig, Config
from svcdns.config.seeing import NEVER
from svcdns.objects.errors import StatusError
from svcdns.registry import probed
from svcdns.registry.answer_tables import NewerLayout, refuse_newer
from svcdns.registry.backup import what_is_wrong
from svcdns.registry.registry import Registry
from svcdns.registry.replicated import Disagreement, Sharing, engine_of
from svcdns.store import damage
from svcdns.store.damage import Damaged
from svcdns.store.environment import NotThere, Store, is_read_only, open_store
from svcdns.store.snapshot import Snapshots
from svcdns.system import free_memory
from svcdns.system.background import background
from svcdns.system.in_child import outcome
from svcdns.tap.memory import Tap
from svcdns.tap.viewer import Viewer
from svcdns.zonefiles.folder import ZoneFolder

from . import data_folder, own_service, tapping
from .api_site import serving
from .child_process import Fatal, NotNow, run
from .child_setup import Handoff
from .counters import WRITER, Counters, reasons
from .flush_link import FlushClient
from .loading import Loading, read_at_start
from .metrics import Metrics
from .notifying import Notifying
from .object_counts import Counts
from .overview import container_page, overview
from .preflight import api_mistakes
from .store_reader import OPEN_AGAIN_SECONDS
from .store_readers import Readers
from .takeover import take_over

CHECK_READERS_SECONDS = 10.0
COLLECT_EVERY = 20_000
"""Objects that may come before those of them that are cycles are looked for; Python's own number is 700."""
MOST_CRASHES = 3
"""So often the writer may die of a signal before it is ready: then it is what it reads that is at fault."""
POLL_SECONDS = 1.0
_CLOSE_TO_FULL = 1 << 20
"""A disk with fewer octets left is full: a transaction writes many pages at once."""

log = logging.getLogger(__name__)


async def serve(handoff: Handoff, config: Config, stop: asyncio.Event) -> None:
    """Do the writer's work until stopped; say so until then where the data are damaged.  Raises Fatal."""
    counters = handoff.counters()
    try:
        crashes = counters.get(WRITER, "crashes")
        if crashes >= MOST_CRASHES:
            raise Damaged(f"the process that writes them has died of them {crashes} times in a row")
        await _serve(handoff, config, counters, stop)
    except damage.ERRORS as found:
        log.error("%s; DNS goes on from what can be read", damage.line(config.data, found))
        await _refuse(handoff, config.api, stop)


async def _refuse(handoff: Handoff, config: ApiConfig, stop: asyncio.Event) -> None:
    """Answer the API with 503 until told to end: another start would find the same."""
    runner = create_runner(create_refusing_app("the stored data are damaged: restore a backup"))
    async with serving(runner, socket.socket(fileno=os.dup(handoff.api)), config):
        await stop.wait()


async def _serve(handoff: Handoff, config: Config, counters: Counters, stop: asyncio.Event) -> None:
    metrics, tap = Metrics(), tapping.of_descriptor(handoff.tapping)
    manifests = read_at_start(config, is_first=not counters.get(WRITER, "restarts"))
    await take_over(handoff)
    await _until_readers_have_locks(config.data, counters)
    with contextlib.closing(_open(config, counters)) as store:
        registry = Registry(store, config, metrics.commits.observe, engine_of(config))
        metrics.watch_sharing(lambda: registry.sharing)
        watcher = ReaderWatch(store, counters)
        counts = Counts(registry)
        metrics.watch(
            counters,
            store,
            counts.objects.get,
            watcher.readers.oldest_age,
            lambda: data_folder.forwarder_status(config.data) if counters.forwarder_lives() else {},
            lambda: data_folder.published(config.data, data_folder.ENGINES),
            tap,
        )
        async with (
            _started(registry, config.data, is_first=not counters.get(WRITER, "restarts")),
            _api(handoff, registry, counters, metrics, counts, tap),
            _own_service(handoff, config, registry),
            background(watcher.run()),
        ):
            catalog = config.dns.catalog_zone
            record = registry.record
            zones = ZoneFolder(
                config.dns.zones, store, registry.transact, record=record, catalog_zone=catalog
            )
            notifying = Notifying(config, store)
            loading = Loading(registry, manifests, zones, counters, strict=config.strict_manifests)
            await loading.load()
            _collect_seldom()
            async with background(loading.run()), background(notifying.run()), _on_hangup(zones.refresh):
                counters.set(WRITER, "ready", 1)
                await _until_told(stop, registry, counters, config)
                counters.set(WRITER, "ready", 0)


def _collect_seldom() -> None:
    """Leave to the collector what comes from now on, and look less often: a write makes few cycles."""
    gc.collect()
    gc.freeze()
    free_memory.give_back()
    gc.set_threshold(COLLECT_EVERY, *gc.get_threshold()[1:])


async def _until_readers_have_locks(data: Path, counters: Counters) -> None:
    """Wait until who writes the store can see all who read it: not those of a read-only file system."""
    rows = range(1, counters.forwarder + 1)
    while not is_read_only(data) and any(counters.get(row, "unlocked") for row in rows):
        await asyncio.sleep(OPEN_AGAIN_SECONDS)


async def _until_told(stop: asyncio.Event, registry: Registry, counters: Counters, config: Config) -> None:
    """Wait for the event.  Raises NotNow when what was opened on a read-only file system could be written."""
    store, data = registry.store, config.data
    while not stop.is_set():
        counters.set_stale(is_stale(registry.sharing, config.store.stale_after))
        if probed.is_noted(store):
            counters.want_probes()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), POLL_SECONDS)
        if not store.has_lock and not is_read_only(data):
            raise NotNow(f"{data} is no longer read-only: it is opened again, to be written")


def is_stale(sharing: Sharing | None, stale_after: int) -> bool:
    """Return whether what is answered is older than it should be; `stale_after`: seconds, 0 for never."""
    return sharing is not None and bool(stale_after) and sharing.outage_seconds > stale_after


def _open(config: Config, counters: Counters) -> Store:
    """Open the store for writing; on a read-only file system to read, for what is answered from it.

    What is not whole ends the server, unless it was good before.
    """
    first = not counters.get(WRITER, "restarts")
    # In a child: it may end the process that reads it, which would be started again and again.
    if (first or counters.get(WRITER, "crashes")) and (found := outcome(lambda: what_is_wrong(config.data))):
        if first:
            raise Fatal(damage.line(config.data, found))
        raise Damaged(found)
    try:
        role: Literal["reader", "writer"] = "reader" if is_read_only(config.data) else "writer"
        store = open_store(config.data, role, is_map=bool(config.store.etcd))
        refuse_newer(store)
    except NotThere as missing:
        raise NotNow(f"{missing}, and it is on a read-only file system") from None
    except NewerLayout as newer:
        raise Fatal(str(newer)) from None
    except damage.ERRORS:
        raise
    except lmdb.Error as refused:
        if not first:
            raise  # it was good before: DNS goes on while this is tried again
        raise Fatal(f"the data in {config.data} can't be opened: {refused}") from None
    store.env.reader_check()
    return store


@contextlib.asynccontextmanager
async def _started(registry: Registry, folder: Path, *, is_first: bool) -> AsyncIterator[None]:
    try:
        await registry.start()
    except damage.ERRORS:
        raise
    except Disagreement as differs:
        raise (Fatal if is_first else NotNow)(str(differs)) from None
    except (lmdb.Error, StatusError) as refused:
        if registry.sharing is not None and registry.sharing.outage_seconds:
            raise NotNow(registry.trouble) from None
        raise NotNow(f"the data in {folder} can't be written: {_in_words(refused, folder)}") from None
    try:
        yield
    finally:
        await registry.stop()


def _in_words(refused: Exception, folder: Path) -> str:
    """Return what kept a write from its end; LMDB calls one that the disk took a part of an I/O error."""
    status = os.statvfs(folder)
    full = status.f_bavail * status.f_frsize < _CLOSE_TO_FULL
    cut_short = os.strerror(errno.EIO) in str(refused) and full
    return os.strerror(errno.ENOSPC) if cut_short else str(refused)


@contextlib.asynccontextmanager
async def _api(
    handoff: Handoff,
    registry: Registry,
    counters: Counters,
    metrics: Metrics,
    counts: Counts,
    tap: Tap | None,
) -> AsyncIterator[None]:
    """Answer HTTP on the socket that the supervisor holds."""
    config = handoff.config.api
    if wrong := next(iter(api_mistakes(config)), None):
        if counters.get(WRITER, "restarts") == 0:
            raise Fatal(wrong)
        raise SystemExit(f"svcdns: {wrong}")  # it was good before: DNS goes on while this is tried again
    if config.audit_log is not None:
        audit.write_to(config.audit_log)
    flush = socket.socket(fileno=handoff.flush) if handoff.flush >= 0 else None
    is_open = not config.authenticates
    if is_open and not config.is_local:
        log.warning("whoever reaches the API at %s may change everything (api.insecure)", config.listen)

    def warnings() -> list[str]:
        found = [f"writes are refused: {text}" for text in [registry.trouble] if text]
        if registry.sharing is not None and (seconds := registry.sharing.outage_seconds):
            found.append(f"answers are as they were {seconds:.0f} s ago")
        return found

    app = create_app(
        registry,
        health=lambda: reasons(counters),
        warnings=warnings,
        metrics=metrics.render,
        version=__version__,
        authority=None if is_open else _authority(handoff),
        names=frozenset(config.names) if is_open and config.is_local else None,
        config=registry.settings.config,
        counters=ApiMetrics(metrics.registry),
        flush=FlushClient(flush, counters.forwarder_lives).flush,
        containers=lambda: container_page(registry.settings.config.data),
        overview=lambda: overview(registry, counters, counts, __version__, [*reasons(counters), *warnings()]),
        viewer=_viewer(tap, handoff.config, registry),
        around=_around(handoff, counters),
    )
    runner = create_runner(app, access_log=config.access_log)
    async with serving(runner, socket.socket(fileno=os.dup(handoff.api)), config):
        yield


def _authority(handoff: Handoff) -> ConfiguredAuthority:
    return ConfiguredAuthority(handoff.config.api, handoff.own_tokens, handoff.config.console)


def _around(handoff: Handoff, counters: Counters) -> Surroundings:
    """Return what else than the registry answers come from."""
    data, forwards = handoff.config.data, handoff.config.forward.forwards

    @contextlib.contextmanager
    def cache() -> Iterator[Callable[[bytes], bytes | None]]:
        with contextlib.closing(CacheReader(data)) as reader:
            if forwards:
                reader.refresh(counters.get(counters.forwarder, "cache"))
            yield reader.get

    return Surroundings(cache, lambda: data_folder.forwarder_status(data).get("upstreams") or [])


def _viewer(tap: Tap | None, config: Config, registry: Registry) -> Viewer | None:
    """Return what shows clients of the API what is asked, None where nobody may see it."""
    if tap is None or config.tap.record == NEVER:
        return None
    begin = Snapshots(registry.store).begin
    return Viewer(tap, tapping.sampling(config, tap), begin)


@contextlib.asynccontextmanager
async def _own_service(handoff: Handoff, config: Config, registry: Registry) -> AsyncIterator[None]:
    """Keep the Service that leads to the API on the supervisor's socket, if that is wanted."""
    with socket.socket(fileno=os.dup(handoff.api)) as listener:
        async with own_service.kept(registry, config, listener):
            yield


@contextlib.asynccontextmanager
async def _on_hangup(refresh: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """On SIGHUP take every zone file that changed at once."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def hangup() -> None:
        task = loop.create_task(refresh())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, hangup)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


@dataclass(slots=True)
class ReaderWatch:
    """Clears the store's reader table of the dead, and ends workers that hold an old state."""

    _store: Store
    _counters: Counters
    """Say which pids are workers and when one has died."""
    readers: Readers = field(default_factory=Readers)
    _checked: float = 0.0
    _restarts: int = 0

    async def run(self) -> None:
        """Check once a second until cancelled."""
        while True:
            try:
                self.check(time.monotonic())
            except lmdb.Error as failed:
                log.error("readers of the store can't be checked: %s", failed)
            await asyncio.sleep(POLL_SECONDS)

    def check(self, now: float) -> None:
        """Check once: clear the table when a process died or it is time, end who is stuck."""
        rows = range(1, self._counters.forwarder + 1)
        restarts = sum(self._counters.get(row, "restarts") for row in rows)
        if restarts != self._restarts or now - self._checked >= CHECK_READERS_SECONDS:
            self._store.env.reader_check()
            self._checked, self._restarts = now, restarts
        workers = {self._counters.get(row, "pid"): bool(self._counters.get(row, "busy")) for row in rows}
        workers.pop(0, None)  # those that are being started
        newest = self._store.env.info()["last_txnid"]
        for pid in self.readers.behind_too_long(self._store.env.readers(), newest, now, workers):
            log.error("process %d has held an old state of the store for too long: it is ended", pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's loop where it is installed: HTTP gains by it."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def main() -> NoReturn:
    """Run this process to its end."""
    run(serve, _loop)


if __name__ == "__main__":
    main()
