"""Replicas of one registry on a real etcd, in one process, each with a map of its own and no sockets."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from toolbox.running_etcd import RunningEtcd
from toolbox.waiting import until

from svcdns.config.sections import Config
from svcdns.etcd.client import Etcd
from svcdns.objects.kinds import STORED, Kind, by_manifest
from svcdns.registry.registry import Registry
from svcdns.registry.replicated.engine import Engine
from svcdns.registry.requests import Patch, Selection, WriteOptions
from svcdns.store.environment import Store, open_store
from svcdns.store.snapshot import read_serving

Object = dict[str, Any]
Rows = dict[bytes, bytes]

_prefixes = itertools.count(1)


class Replica:
    """One replica, and what it shows."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    async def create(self, obj: Object) -> Object:
        """Create an object as a user writes it."""
        kind = kind_of(obj)
        namespace = obj["metadata"].get("namespace", "default") if kind.namespaced else ""
        written = await self.registry.create(kind, namespace, obj, WriteOptions())
        return dict(msgspec.json.decode(written.object))

    async def replace(self, obj: Object) -> Object:
        """Replace it by what it is to be."""
        metadata = obj["metadata"]
        at = (kind_of(obj), metadata.get("namespace", ""), metadata["name"])
        written = await self.registry.replace(*at, obj, WriteOptions())
        return dict(msgspec.json.decode(written.object))

    async def patch(self, kind: Kind, name: str, change: Object, namespace: str = "default") -> Object:
        """Merge a change into an object."""
        written = await self.registry.patch(kind, namespace, name, Patch("merge", change), WriteOptions())
        return dict(msgspec.json.decode(written.object))

    def get(self, kind: Kind, name: str, namespace: str = "default") -> Object:
        """Return an object as this replica shows it."""
        return dict(msgspec.json.decode(self.registry.get(kind, namespace, name)))

    def names(self, kind: Kind) -> list[str]:
        """Return the names of all objects of a kind."""
        return [item["metadata"]["name"] for item in self.objects(kind)]

    def objects(self, kind: Kind) -> list[Object]:
        """Return all objects of a kind."""
        return [dict(msgspec.json.decode(item)) for item in self.registry.page(kind, "", Selection()).items]

    def everything(self) -> dict[str, list[Object]]:
        """Return all objects of all kinds."""
        return {kind.name: self.objects(kind) for kind in STORED}

    def rows(self) -> Rows:
        """Return all rows of answers."""
        return rows_of(self.registry.store)

    def rows_but_apexes(self) -> Rows:
        """Return all rows but those with the SOA: its serial is that of the last change that was seen."""
        settings = self.registry.settings
        apexes = {settings.names.apex, *(key for _, key in settings.reverse_zones)}
        return {key: row for key, row in self.rows().items() if key not in apexes}

    @property
    def revision(self) -> int:
        """The resourceVersion of lists."""
        return self.registry.page(by_manifest("v1", "Namespace") or STORED[0], "", Selection()).revision

    async def shows_what(self, other: "Replica") -> None:
        """Wait until this replica has come as far as another one."""
        goal = other.revision
        await until(lambda: self.revision >= goal, "a replica to catch up")


class Replicas:
    """A registry of its own in an etcd, whose replicas live in folders below a path."""

    def __init__(self, etcd: RunningEtcd, folder: Path) -> None:
        self.etcd = etcd
        self.folder = folder
        self.prefix = f"/test-{next(_prefixes)}-{folder.name}/"

    @asynccontextmanager
    async def replica(
        self, name: str, config: Config | None = None, client: Etcd | None = None
    ) -> AsyncIterator[Replica]:
        """Give a replica that has started on its folder, which stays for the next time."""
        store = open_store(self.folder / name, "writer", is_map=True)
        try:
            engine = Engine(client or Etcd(self.etcd.endpoints), self.prefix)
            registry = Registry(store, config or Config(), engine=engine)
            await registry.start()
            try:
                await registry.set_loaded()
                yield Replica(registry)
            finally:
                await registry.stop()
        finally:
            store.close()


async def assert_alike(a: Replica, b: Replica) -> None:
    """Both show the same: objects with their resourceVersions, and every row that answers.

    Serials are those of the last change that was seen, so zones that never changed may have others.
    """
    await a.shows_what(b)
    await b.shows_what(a)
    assert a.everything() == b.everything()
    assert a.rows_but_apexes() == b.rows_but_apexes()
    assert a.revision == b.revision


def rows_of(store: Store) -> Rows:
    """Return all rows of answers in a store."""
    with store.read() as txn:
        serving = read_serving(txn, store.tables)
        assert serving is not None
        table = store.tables.answers_b if serving.table == "b" else store.tables.answers_a
        with txn.cursor(db=table) as cursor:
            return {bytes(key): bytes(row) for key, row in cursor}


def kind_of(obj: Object) -> Kind:
    """Return the kind of an object as a user writes it."""
    found = by_manifest(obj.get("apiVersion", "v1"), obj["kind"])
    assert found is not None
    return found


def comparable(everything: dict[str, list[Object]]) -> dict[str, list[Object]]:
    """Return all objects without what a replica counts by itself: of slices that svcdns makes.

    Endpoints that are shown from slices have the resourceVersion of one of these.
    """
    return {kind: [_comparable(obj) for obj in objects] for kind, objects in everything.items()}


def _comparable(obj: Object) -> Object:
    labels = obj["metadata"].get("labels") or {}
    if obj["kind"] != "Endpoints" and "endpointslice.kubernetes.io/managed-by" not in labels:
        return obj
    own = ("resourceVersion", "generation")
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key not in own}}
