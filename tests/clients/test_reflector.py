"""Reflectors end up with the server's state, whatever happens to their connections.

10,000 random changes, while every connection is killed again and again and some reflectors sleep for longer
than the event log reaches back (it is kept short here).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from toolbox.builders import pod, service
from toolbox.reflecting import Object, Reflector, cancelled
from toolbox.registry_harness import started

from svcdns.api.app import create_app, create_runner
from svcdns.config.sections import Config
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import NAMESPACE, POD, SERVICE
from svcdns.registry import watch as feed
from svcdns.registry.registry import Registry
from svcdns.registry.requests import DeleteOptions, Patch, WriteOptions
from svcdns.store import log

CHANGES = 10_000
AT_ONCE = 50
NAMESPACES = ("a", "b")
NAMES = 40
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Registry, str]]:
    """A registry with the API in front of it; (registry, URL)."""
    async with started(folder, Config()) as running:
        app = create_app(
            running.registry,
            health=list,
            metrics=lambda: (b"", "text/plain"),
            version="test",
            bookmark_interval=0.1,
        )
        runner = create_runner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            host, port = runner.addresses[0][:2]
            yield running.registry, f"http://{host}:{port}"
        finally:
            await runner.cleanup()


class Changes:
    """Random writes to a registry: Pods come, change their labels and readiness, and go; so do Services."""

    def __init__(self, registry: Registry, seed: int) -> None:
        self._registry = registry
        self._random = random.Random(seed)
        self.done = 0

    async def run(self, count: int) -> None:
        """Make changes, some at a time."""
        while count > 0:
            group = min(AT_ONCE, count)
            await asyncio.gather(*(self._one() for _ in range(group)))
            count -= group

    async def _one(self) -> None:
        roll = self._random.random
        namespace = self._random.choice(NAMESPACES)
        try:
            if roll() < 0.05:
                await self._service(namespace)
            else:
                await self._pod(namespace, f"p{self._random.randrange(NAMES)}", roll())
            self.done += 1
        except StatusError as refused:
            assert refused.code in (404, 409), refused.message

    async def _pod(self, namespace: str, name: str, roll: float) -> None:
        if roll < 0.25:
            made = pod(name, f"10.1.{self._random.randrange(9)}.{self._random.randrange(1, 9)}", self._app())
            await self._registry.create(POD, namespace, made, WriteOptions())
        elif roll < 0.4:
            await self._registry.delete(POD, namespace, name, DeleteOptions())
        elif roll < 0.7:
            await self._change(namespace, name, {"metadata": {"labels": {"app": self._app()}}})
        else:
            said = self._random.choice(("True", "False"))
            status = {"status": {"conditions": [{"type": "Ready", "status": said}]}}
            await self._change(namespace, name, status, "status")

    async def _change(self, namespace: str, name: str, document: Object, subresource: str = "") -> None:
        patch = Patch("merge", document)
        await self._registry.patch(POD, namespace, name, patch, WriteOptions(), subresource)

    async def _service(self, namespace: str) -> None:
        name = self._app()
        if self._random.random() < 0.5:
            await self._registry.create(SERVICE, namespace, service(name, clusterIP="None"), WriteOptions())
        else:
            await self._registry.delete(SERVICE, namespace, name, DeleteOptions())

    def _app(self) -> str:
        return self._random.choice(("web", "db", "api"))


def reflectors(session: aiohttp.ClientSession, api: str) -> list[Reflector]:
    """One of each sort that there is in the field."""

    def of(path: str, kind: str, watch_list: bool = False, **query: str) -> Reflector:
        return Reflector(session, api + path, kind, query, watch_list)

    return [
        of("/api/v1/pods", "Pod"),
        of("/api/v1/pods", "Pod", True),
        of("/api/v1/pods", "Pod", labelSelector="app in (web,db)"),
        of("/api/v1/pods", "Pod", True, labelSelector="app=web", fieldSelector="metadata.namespace=a"),
        of("/api/v1/namespaces/b/pods", "Pod", fieldSelector="status.phase!=Failed,metadata.name!=p1"),
        of(SLICES, "EndpointSlice"),
        of(SLICES, "EndpointSlice", True),
        of("/api/v1/services", "Service", True),
        of("/api/v1/endpoints", "Endpoints"),
        of("/api/v1/endpoints", "Endpoints", True, labelSelector="kubernetes.io/service-name=web"),
    ]


async def disturb(followers: list[Reflector], changes: Changes, seed: int) -> None:
    """Kill connections at random; now and then let one sleep until the log has gone past it."""
    dice = random.Random(seed)
    while True:
        await asyncio.sleep(dice.uniform(0.0, 0.05))
        one = dice.choice(followers)
        if dice.random() < 0.9:
            one.kill()
            continue
        one.sleep()
        until = changes.done + 3 * log.KEEP
        while changes.done < min(until, CHANGES * 0.9):
            await asyncio.sleep(0.01)
        one.wake()


async def truth(one: Reflector) -> dict[tuple[str, str], Object]:
    """What the server says now."""
    async with one.session.get(one.url, params=one.query) as answer:
        page: dict[str, Any] = await answer.json()
    return {(o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in page["items"]}


def shown(objects: dict[tuple[str, str], Object]) -> dict[tuple[str, str], Object]:
    """What is compared: of Endpoints, a computed view, all but the revision it was computed at."""
    if not any(obj["kind"] == "Endpoints" for obj in objects.values()):
        return objects
    return {k: {**o, "metadata": {**o["metadata"], "resourceVersion": ""}} for k, o in objects.items()}


async def agreed(one: Reflector) -> None:
    """Wait until it holds what the server lists."""
    for _ in range(600):
        if shown(one.objects) == shown(await truth(one)):
            return
        await asyncio.sleep(0.1)
    ours, theirs = shown(one.objects), shown(await truth(one))
    wrong = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
    raise AssertionError(f"{one.url} {one.query}: not the server's state of {wrong[:5]}")


@pytest.mark.parametrize("seed", [1])
def test_after_many_changes_all_hold_the_servers_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    for where, name, small in ((log, "KEEP", 300), (feed, "RECENT", 20), (feed, "BATCH", 30)):
        monkeypatch.setattr(where, name, small)

    async def main() -> list[Reflector]:
        async with served(tmp_path / "data") as (registry, api), aiohttp.ClientSession() as session:
            for name in NAMESPACES:
                await registry.create(NAMESPACE, "", {"metadata": {"name": name}}, WriteOptions())
            changes = Changes(registry, seed)
            followers = reflectors(session, api)
            running = [asyncio.create_task(one.run()) for one in followers]
            disturbing = asyncio.create_task(disturb(followers, changes, seed))
            while changes.done < CHANGES:
                await changes.run(min(1000, CHANGES - changes.done))
            await cancelled(disturbing)
            for one in followers:
                one.wake()
            await asyncio.gather(*(agreed(one) for one in followers))
            for task in running:
                await cancelled(task)
            return followers

    followers = asyncio.run(main())
    counts = [one.counts for one in followers]
    print(*counts, sep="\n")
    assert all(count.killed > 3 and count.events > 100 for count in counts), counts
    assert sum(count.expired for count in counts) > 3, counts
    assert sum(count.bookmarks for count in counts) > 0, counts
