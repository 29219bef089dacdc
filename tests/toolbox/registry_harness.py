"""A registry on a fresh folder, and questions put to what it has stored, without sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from dnslib import RR
from dnslib.dns import QTYPE
from dnslib.label import DNSBuffer
from toolbox.on_etcd import engine_of

from svcdns.config.sections import Config
from svcdns.names.packed import find
from svcdns.registry import commit
from svcdns.registry.registry import Registry
from svcdns.registry.replicated import proposals
from svcdns.registry.requests import Batch, Event
from svcdns.store.environment import open_store
from svcdns.store.snapshot import Snapshots
from svcdns.wire.key import key_of, wire_of_key


class RegistryHarness:
    """A started registry and what its names answer."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._snapshots = Snapshots(registry.store)

    def row(self, name: str) -> bytes | None:
        """Return the stored row of a name; None: it has none of its own."""
        snapshot = self._snapshots.begin()
        try:
            return snapshot.row(key_of(name))
        finally:
            snapshot.txn.abort()

    def rrs(self, name: str, rrtype: str) -> list[str]:
        """Return RDATA in presentation format, sorted."""
        row = self.row(name)
        section = None if row is None else find(row, getattr(QTYPE, rrtype))
        if section is None:
            return []
        owner = wire_of_key(key_of(name))
        return sorted(str(RR.parse(DNSBuffer(owner + rr[2:])).rdata) for rr in section.rrs())


class RegistryClock:
    """The clock by which the registry says when an object was created, in seconds from a fixed time on."""

    seconds = 0

    def now(self, zone: tzinfo) -> datetime:
        """Return the time, as `datetime.now` does."""
        return datetime(2026, 1, 1, 12, tzinfo=zone) + timedelta(seconds=self.seconds)

    def tick_in(self, patch: pytest.MonkeyPatch) -> None:
        """Become the clock of registries, whichever commits them."""
        for module in (commit, proposals):
            patch.setattr(module, "datetime", self)


@pytest.fixture
def registry_clock(monkeypatch: pytest.MonkeyPatch) -> RegistryClock:
    """Give the clock that all registries of a test go by."""
    clock = RegistryClock()
    clock.tick_in(monkeypatch)
    return clock


async def each_event(batches: AsyncIterator[Batch]) -> AsyncIterator[Event]:
    """Yield the events of a watch one by one."""
    async for batch in batches:
        for event in batch.events:
            yield event


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[RegistryHarness], Any]], Any]:
    """Run an async function with a started registry; its folder stays for the next call."""

    def call(work: Callable[[RegistryHarness], Any], config: Config | None = None) -> Any:
        async def main() -> Any:
            async with started(tmp_path / "data", config) as running:
                return await work(running)

        return asyncio.run(main())

    return call


@asynccontextmanager
async def started(folder: Path, config: Config | None = None) -> AsyncIterator[RegistryHarness]:
    """Give a registry that has started on this folder, which stays for the next one."""
    store = open_store(folder, "writer")
    registry = Registry(store, config or Config(), engine=engine_of(folder))
    await registry.start()
    await registry.set_loaded()
    try:
        yield RegistryHarness(registry)
    finally:
        await registry.stop()
        store.close()
