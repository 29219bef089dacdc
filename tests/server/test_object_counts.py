"""Counts of objects cost those who ask often a part of the process, and are right where they are cheap."""

import asyncio
from pathlib import Path

from toolbox.builders import pod, service
from toolbox.registry_harness import started

from svcdns.objects.kinds import POD, SERVICE
from svcdns.registry.requests import WriteOptions
from svcdns.server.object_counts import CHEAP_SECONDS, TIMES_AS_LONG, Counted, Counts


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0
        self.counted = 0
        self.takes = 0.0

    def __call__(self) -> float:
        return self.seconds

    def count(self) -> int:
        self.seconds += self.takes
        self.counted += 1
        return self.counted


def test_what_is_counted_follows_each_write(tmp_path: Path) -> None:
    async def work() -> None:
        async with started(tmp_path / "data") as running:
            registry = running.registry
            counts = Counts(registry)
            before = counts.objects.get()["Service"]
            for number in range(1, 4):
                await registry.create(SERVICE, "default", service(f"web-{number}"), WriteOptions())
                assert counts.objects.get()["Service"] == before + number
            await registry.create(POD, "default", pod("web", "10.1.0.1", "web-1"), WriteOptions())
            assert counts.endpoints.get()["all"] == registry.endpoint_counts()["all"]

    asyncio.run(work())


def test_without_a_write_nothing_is_counted_again_and_what_takes_long_not_after_each(tmp_path: Path) -> None:
    clock = Clock()

    async def work() -> None:
        async with started(tmp_path / "data") as running:
            counted = Counted(running.registry.store, clock.count, clock)
            names = iter(range(100))

            async def write() -> None:
                await running.registry.create(SERVICE, "default", service(f"s{next(names)}"), WriteOptions())

            await write()
            assert counted.get() == counted.get() == 1
            await write()
            assert counted.get() == 2, "cheap: at once"
            clock.takes = 2 * CHEAP_SECONDS
            await write()
            assert counted.get() == 3
            await write()
            assert counted.get() == 3, "it holds"
            clock.seconds += 2 * TIMES_AS_LONG * clock.takes
            assert counted.get() == 4

    asyncio.run(work())
