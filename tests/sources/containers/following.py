"""A source in a test's own loop: a `FakeEngine` in front of it, and the API of a real server behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sources.containers.fake_engine import FakeEngine
from toolbox.running_server import RunningServer
from toolbox.waiting import until

from svcdns.client import AsyncClient, Connection
from svcdns.client.exchange import Object
from svcdns.config.container_engines import ContainerEngine
from svcdns.objects.kinds import EVENT, POD, SERVICE
from svcdns.sources.containers.source import Source

NEVER = 3600
"""Seconds between two complete lists where a test is not about them."""


@dataclass
class Following:
    """An engine that is followed, and what is registered of it."""

    engine: FakeEngine
    source: Source
    client: AsyncClient
    server: RunningServer
    name: str
    task: "asyncio.Task[None]"

    async def pods(self) -> dict[str, Object]:
        """Return the engine's Pods by namespace/name."""
        return await self._of(POD)

    async def services(self) -> dict[str, Object]:
        """Return the engine's Services by namespace/name."""
        return await self._of(SERVICE)

    async def _of(self, kind: Any) -> dict[str, Object]:
        found = await self.client.list(kind, labels=f"svcdns.io/engine={self.name}")
        return {f"{one['metadata']['namespace']}/{one['metadata']['name']}": one for one in found}

    async def addresses(self) -> dict[str, str]:
        """Return the address of each Pod that is ready, by namespace/name."""
        return {name: pod["status"]["podIP"] for name, pod in (await self.pods()).items() if is_ready(pod)}

    async def until_addresses(self, wanted: dict[str, str]) -> None:
        """Return when just these Pods are ready, with these addresses."""
        found: dict[str, str] = {}
        for _ in range(6000):
            found = await self.addresses()
            if found == wanted:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{found} are ready, not {wanted}; {self.source.status.metrics()}")

    async def until_listed(self, times: int = 1) -> None:
        """Return when all has been listed (so often), and the registry has it."""
        await until(lambda: sum(self.source.status.resyncs.values()) >= times and self.source.status.up)

    async def events(self, reason: str) -> list[Object]:
        """Return the Events of this engine's source with a reason."""
        found = await self.client.list(EVENT)
        return [one for one in found if one["reason"] == reason and one["source"].get("host") == self.name]

    async def until_event(self, reason: str) -> Object:
        """Return the first Event with a reason, once it is there."""
        for _ in range(6000):
            if found := await self.events(reason):
                return found[0]
            await asyncio.sleep(0.01)
        raise AssertionError(f"no Event {reason}")

    def reasons(self) -> dict[str, str]:
        """Return why each container has no Pod, "" for those that have one."""
        return {one["container"]: one["reason"] for one in self.source.status.containers}

    async def kill(self) -> None:
        """End the source as kill -9 would end its process: nothing is said to anybody."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


def is_ready(pod: Object) -> bool:
    """Return whether a Pod is ready."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"]["conditions"])


@asynccontextmanager
async def following(
    server: RunningServer,
    folder: Path,
    name: str,
    engine: FakeEngine | None = None,
    known: tuple[str, ...] = (),
    **options: Any,
) -> AsyncIterator[Following]:
    """Follow an engine of that name, a new one that is begun here unless one is given."""
    fake = engine or FakeEngine(folder / "engine.sock")
    if engine is None:
        await fake.begin()
    config = ContainerEngine(f"unix://{fake.socket}", **{"name": name, "resync": NEVER, **options})
    try:
        async with AsyncClient(Connection(server.api)) as client:
            source = Source(config, client, known or OTHERS, lambda: None)
            task = asyncio.create_task(source.run())
            made = Following(fake, source, client, server, name, task)
            try:
                yield made
            finally:
                await made.kill()
    finally:
        if engine is None:
            await fake.end()


OTHERS = tuple(f"engine-{number}" for number in range(100))
"""The engines of all tests of a module, whose objects none of them is to clear away."""
