"""A small registry in memory, the API in front of it, and a client; coroutine tests run in one loop."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, generate_latest

from svcdns.api.app import create_app, create_runner
from svcdns.api.metrics import ApiMetrics
from svcdns.objects.errors import StatusError, conflict, not_found
from svcdns.objects.kinds import ENDPOINTS, NAMESPACE, SERVICE, Kind
from svcdns.registry.requests import Event, Page, Patch, Selection, Written

NOW = 1_700_000_000.0


class FakeRegistry:
    """The registry's interface over a dict: no defaults, no validation, one revision a change."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Kind, str, str], dict[str, Any]] = {}
        self.revision = 10
        self.oldest = 1
        self.log: list[tuple[int, str, Kind, dict[str, Any]]] = []
        self.changed = asyncio.Event()
        self.warnings: tuple[str, ...] = ()
        self.calls: list[tuple[Any, ...]] = []
        self.watchers = 0
        self.fail: Exception | None = None
        self.gate: asyncio.Event | None = None

    def put(self, kind: Kind, namespace: str, body: dict[str, Any], event: str = "ADDED") -> dict[str, Any]:
        self.revision += 1
        metadata = {"uid": f"uid-{self.revision}", **body.get("metadata", {})}
        metadata["resourceVersion"] = str(self.revision)
        if namespace:
            metadata["namespace"] = namespace
        obj = {**body, "apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}
        self.objects[kind, namespace, metadata["name"]] = obj
        self._note(event, kind, obj)
        return obj

    def _note(self, event: str, kind: Kind, obj: dict[str, Any]) -> None:
        self.log.append((self.revision, event, kind, obj))
        self.changed.set()
        self.changed = asyncio.Event()

    def _find(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        if self.fail:
            raise self.fail
        try:
            return self.objects[kind, namespace, name]
        except KeyError:
            raise not_found(kind.plural, name, kind.group) from None

    async def create(self, kind, namespace, body, options):
        self.calls.append(("create", kind, namespace, body, options))
        if self.gate:
            await self.gate.wait()
        if self.fail:
            raise self.fail
        name = body["metadata"].get("name")
        if not isinstance(name, str) or not name:
            raise StatusError(422, "Invalid", "metadata.name: Required value", kind=kind.name)
        if (kind, namespace, name) in self.objects:
            raise StatusError(409, "AlreadyExists", f'{kind.plural} "{name}" already exists')
        obj = body if options.dry_run else self.put(kind, namespace, body)
        return Written(json.dumps(obj).encode(), True, self.warnings)

    async def replace(self, kind, namespace, name, body, options, subresource=""):
        self.calls.append(("replace", kind, namespace, name, body, options, subresource))
        old = self._find(kind, namespace, name)
        if body["metadata"].get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
            raise conflict(kind.plural, name, "the object has been modified", kind.group)
        obj = self.put(kind, namespace, body, "MODIFIED")
        return Written(json.dumps(obj).encode(), False, self.warnings)

    async def patch(self, kind, namespace, name, patch: Patch, options, subresource=""):
        self.calls.append(("patch", kind, namespace, name, patch, options, subresource))
        old = self._find(kind, namespace, name)
        new = old | patch.document if patch.type == "merge" else old
        obj = self.put(kind, namespace, {**new, "metadata": old["metadata"]}, "MODIFIED")
        return Written(json.dumps(obj).encode(), False, self.warnings)

    async def delete(self, kind, namespace, name, options):
        self.calls.append(("delete", kind, namespace, name, options))
        obj = self._find(kind, namespace, name)
        self.revision += 1
        del self.objects[kind, namespace, name]
        self._note("DELETED", kind, obj)
        return Written(json.dumps(obj).encode(), False, self.warnings)

    async def delete_collection(self, kind, namespace, selection, options):
        self.calls.append(("delete_collection", kind, namespace, selection, options))
        page = self.page(kind, namespace, selection)
        for octets in page.items:
            await self.delete(kind, namespace, json.loads(octets)["metadata"]["name"], options)
        return page

    def get(self, kind, namespace, name):
        return json.dumps(self._find(kind, namespace, name)).encode()

    def page(self, kind, namespace, selection: Selection, limit=0, continue_=""):
        if self.fail:
            raise self.fail
        found = [
            obj
            for (k, ns, _), obj in sorted(self.objects.items(), key=lambda item: item[0][1:])
            if k is kind and (not namespace or ns == namespace) and selection.matches(obj)
        ]
        start = int(continue_) if continue_.isdigit() else 0
        if continue_ and not continue_.isdigit():
            raise StatusError(400, "BadRequest", "continue: not a token of ours")
        shown = found[start : start + limit] if limit else found[start:]
        left = len(found) - start - len(shown)
        items = [json.dumps(obj).encode() for obj in shown]
        token = str(start + limit) if left > 0 else ""
        return Page(items, self.revision, token, left if left > 0 else None)

    async def watch(
        self, kind, namespace, selection, after, *, bookmarks=False, initial_events=False
    ) -> AsyncIterator[Event]:
        self.calls.append(("watch", kind, namespace, selection, after))
        if after is not None and after < self.oldest:
            raise StatusError(410, "Expired", f"too old resource version: {after} ({self.oldest})")
        self.watchers += 1
        try:
            if after is None:
                page = self.page(kind, namespace, selection)
                for octets in page.items:
                    yield Event("ADDED", octets, page.revision)
                after = page.revision
                if initial_events:
                    yield Event("BOOKMARK", b"{}", after)
            while True:
                changed = self.changed
                for revision, event, k, obj in list(self.log):
                    if revision > after and k is kind and selection.matches(obj):
                        yield Event(event, json.dumps(obj).encode(), revision)
                after = self.revision
                if self.fail:
                    raise self.fail
                await changed.wait()
        finally:
            self.watchers -= 1


class ServerAsServed(TestServer):
    """The application behind the runner that the writer gives it."""

    async def _make_runner(self, **options: Any) -> web.AppRunner:
        return create_runner(self.app, shutdown_timeout=1)


class FlagHealth:
    """Reasons why the server is not ready; tests set them."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def __call__(self) -> list[str]:
        return self.reasons


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests in the loop of their fixtures."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    pyfuncitem.funcargs["loop"].run_until_complete(asyncio.wait_for(pyfuncitem.obj(**arguments), 60))
    return True


@pytest.fixture(autouse=True)
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    yield made
    made.run_until_complete(asyncio.sleep(0))
    made.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def registry(loop: asyncio.AbstractEventLoop) -> FakeRegistry:
    made = FakeRegistry()
    made.put(NAMESPACE, "", {"metadata": {"name": "shop"}, "status": {"phase": "Active"}})
    made.put(
        SERVICE,
        "shop",
        {
            "metadata": {
                "name": "web",
                "labels": {"app": "web"},
                "creationTimestamp": "2023-11-14T22:08:20Z",
            },
            "spec": {
                "type": "ClusterIP",
                "clusterIP": "10.96.0.7",
                "clusterIPs": ["10.96.0.7"],
                "ports": [{"port": 80, "protocol": "TCP"}],
                "selector": {"app": "web"},
            },
        },
    )
    made.put(ENDPOINTS, "shop", {"metadata": {"name": "web"}})
    return made


@pytest.fixture
def health() -> FlagHealth:
    return FlagHealth()


@pytest.fixture
def collectors() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def options() -> dict[str, Any]:
    """Options of create_app that a test module may change."""
    return {}


@pytest.fixture
def server(loop, registry, health, collectors, options) -> Iterator[TestServer]:
    def metrics() -> tuple[bytes, str]:
        return generate_latest(collectors), "text/plain; version=0.0.4; charset=utf-8"

    app = create_app(
        registry,
        health=health,
        metrics=metrics,
        version="1.2.3",
        counters=ApiMetrics(collectors),
        clock=lambda: NOW,
        **options,
    )
    made = ServerAsServed(app)
    loop.run_until_complete(made.start_server(shutdown_timeout=1))
    yield made
    loop.run_until_complete(made.close())


@pytest.fixture
def client(loop, server) -> Iterator[TestClient]:
    async def make() -> TestClient:
        return TestClient(server)

    made = loop.run_until_complete(make())
    yield made
    loop.run_until_complete(made.close())
