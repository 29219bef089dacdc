"""The real registry, the API in front of it, and a client; coroutine tests run in one loop."""

import asyncio
import inspect
import json
import logging
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from api.users import USERS
from api.web_sockets import RawClient
from prometheus_client import CollectorRegistry, generate_latest
from toolbox.builders import namespace, service
from toolbox.on_etcd import engine_of

from svcdns.api.app import create_app, create_runner
from svcdns.api.auth.token_file import add
from svcdns.api.auth.token_lines import made as made_line
from svcdns.api.auth.token_lines import new_token
from svcdns.api.metrics import ApiMetrics
from svcdns.config.sections import ApiConfig, Config
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import NAMESPACE, SERVICE, Kind
from svcdns.registry import events
from svcdns.registry.registry import Registry
from svcdns.registry.replicated import Engine
from svcdns.registry.requests import Selection, WriteOptions
from svcdns.store.environment import Store, open_store


class RecordedRegistry(Registry):
    """The real registry, which notes what the API asks of it, and fails or waits when a test says so."""

    def __init__(self, store: Store, engine: Engine | None) -> None:
        config = Config(api=ApiConfig(hints=False))  # they have tests of their own
        super().__init__(store, config, engine=engine)
        self.calls: list[tuple[Any, ...]] = []
        """The name of each write or watch that was asked for, and its arguments."""
        self.watchers = 0
        self.fail: Exception | None = None
        self.gate: asyncio.Event | None = None
        """What writes wait for."""
        self.warnings: tuple[str, ...] = ()

    async def put(self, kind: Kind, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object without being asked by the API."""
        written = await Registry.create(self, kind, namespace, body, WriteOptions())
        return json.loads(written.object)

    def stored(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        """Return an object; None: there is none."""
        try:
            return json.loads(Registry.get(self, kind, namespace, name))
        except StatusError:
            return None

    @property
    def revision(self) -> int:
        return Registry.page(self, NAMESPACE, "", Selection(), 1).revision

    def get(self, *given):
        self._fail()
        return super().get(*given)

    def listing(self, *given):
        self._fail()
        return super().listing(*given)

    async def watch(self, *given, **more):
        self.calls.append(("watch", *given))
        self.watchers += 1
        try:
            async with aclosing(super().watch(*given, **more)) as batches:
                async for batch in batches:
                    yield batch
                    self._fail()
        finally:
            self.watchers -= 1

    def _fail(self) -> None:
        if self.fail:
            raise self.fail


def _recorded(name: str) -> Callable[..., Awaitable[Any]]:
    """Return a write of the registry that is noted first."""
    write = getattr(Registry, name)
    signature = inspect.signature(write)

    async def call(self: RecordedRegistry, *given: Any, **more: Any) -> Any:
        bound = signature.bind(self, *given, **more)
        bound.apply_defaults()
        self.calls.append((name, *bound.args[1:]))
        if self.gate:
            await self.gate.wait()
        self._fail()
        done = await write(*bound.args)
        return replace(done, warnings=self.warnings) if self.warnings else done

    return call


for _name in ("create", "replace", "patch", "delete", "delete_collection"):
    setattr(RecordedRegistry, _name, _recorded(_name))


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


@pytest.fixture(autouse=True)
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    yield made
    made.run_until_complete(asyncio.sleep(0))
    made.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder in memory where there is one: nothing here is about disks."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as made:
        yield Path(made)


@pytest.fixture
def registry(loop, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedRegistry]:
    """Give a registry with the Service `web` in the namespace `shop`, and two empty namespaces."""
    monkeypatch.setattr(events, "GATHER_SECONDS", 3600.0)  # Events would come as revisions of their own
    store = open_store(folder, "writer")
    made = RecordedRegistry(store, engine_of(folder))

    async def start() -> None:
        await made.start()
        await asyncio.gather(
            *(made.put(NAMESPACE, "", namespace(name)) for name in ("shop", "bank", "other"))
        )
        await made.put(SERVICE, "shop", service(labels={"app": "web"}, clusterIP="10.96.0.7"))

    loop.run_until_complete(start())
    made.calls.clear()
    yield made
    loop.run_until_complete(made.stop())
    store.close()


@pytest.fixture
def clock(registry: RecordedRegistry) -> Callable[[], float]:
    """Five minutes after `web` was made."""
    web = registry.stored(SERVICE, "shop", "web")
    return lambda: datetime.fromisoformat(web["metadata"]["creationTimestamp"]).timestamp() + 300


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
def tls() -> ssl.SSLContext | None:
    """Give the context of a server that speaks TLS; a test module may."""
    return None


@pytest.fixture
def server(loop, registry, clock, health, collectors, options, tls) -> Iterator[TestServer]:
    def metrics() -> tuple[bytes, str]:
        return generate_latest(collectors), "text/plain; version=0.0.4; charset=utf-8"

    app = create_app(
        registry,
        health=health,
        metrics=metrics,
        version="1.2.3",
        counters=ApiMetrics(collectors),
        clock=clock,
        **options,
    )
    made = ServerAsServed(app)
    loop.run_until_complete(made.start_server(shutdown_timeout=1, ssl=tls))
    yield made
    loop.run_until_complete(made.close())


@pytest.fixture
def client(loop, server) -> Iterator[TestClient]:
    async def make() -> TestClient:
        return TestClient(server)

    made = loop.run_until_complete(make())
    yield made
    loop.run_until_complete(made.close())


@pytest.fixture
def raw(server):
    """Return a function: a client that has sent some octets."""

    async def connect(octets: bytes) -> RawClient:
        made = RawClient(*await asyncio.open_connection("127.0.0.1", server.port))
        made.writer.write(octets)
        return made

    return connect


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens"
    texts = {}
    for name, (role, namespaces) in USERS.items():
        texts[name] = new_token()
        add(path, made_line(texts[name], name, role, namespaces))
    return path, texts


@pytest.fixture
def ask(client, tokens):
    """Return a function: status and body of a request by one of USERS (None: by nobody)."""

    async def send(user, method, path, body=None, **headers):
        if user is not None:
            headers = {"Authorization": f"Bearer {tokens[1][user]}", **headers}
        async with client.request(method, path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    return send


@pytest.fixture
def audited(caplog):
    caplog.set_level(logging.INFO, "svcdns.audit")
    return lambda: [json.loads(record.message) for record in caplog.records if record.name == "svcdns.audit"]
