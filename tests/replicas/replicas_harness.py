"""Replicas of one registry on a real etcd, in one process, each with a map of its own and no sockets."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from toolbox.on_etcd import PATIENCE_SECONDS
from toolbox.running_etcd import RunningEtcd
from toolbox.waiting import until

from svcdns.config.sections import Config
from svcdns.dns.answer import Answerer
from svcdns.dns.stats import Stats
from svcdns.etcd.client import Etcd
from svcdns.etcd.messages import Changes
from svcdns.objects.kinds import STORED, Kind, by_manifest
from svcdns.registry.registry import Registry
from svcdns.registry.replicated.engine import Engine
from svcdns.registry.requests import Patch, Selection, WriteOptions
from svcdns.store.environment import Store, open_store
from svcdns.store.snapshot import Snapshots, read_serving
from svcdns.wire.key import wire_of_key

Object = dict[str, Any]
Rows = dict[bytes, bytes]

T = TypeVar("T")

_prefixes = itertools.count(1)

DERIVED = (
    "allocations",
    "slices",
    "members",
    "selectors",
    "labels",
    "endpoints",
    "addresses",
    "pod_ips",
    "zones",
)
"""Tables of which each row follows from objects, beside those of answers."""
_ASKED = (1, 28, 33, 12)
"""A, AAAA, SRV, PTR."""
_SERIAL = slice(-20, -16)
"""Where the serial stands in a reply that ends in an SOA record."""


class Patient(Etcd):
    """A client for which an etcd on a busy machine is late, and not away."""

    def __init__(self, endpoints: Sequence[str], **named: Any) -> None:
        super().__init__(endpoints, **{"timeout": PATIENCE_SECONDS, **named})


def be_patient(client: Etcd, seconds: float = PATIENCE_SECONDS) -> None:
    """Have a client wait for so long for an answer from now on."""
    client._timeout = client._connections._seconds = seconds


class Held(Patient):
    """A client whose watch of objects can be held up."""

    def __init__(self, endpoints: Sequence[str], **named: Any) -> None:
        super().__init__(endpoints, **named)
        self.may = asyncio.Event()
        self.may.set()
        self.compacted: list[int] = []

    async def watch(self, key: bytes, end: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """Yield what happens, when it may."""
        async for changes in super().watch(key, end, from_revision):
            if b"objects/" in key:
                await self.may.wait()
            yield changes

    async def compact(self, revision: int) -> None:
        """Note it."""
        self.compacted.append(revision)
        await super().compact(revision)


class Killed(Patient):
    """A client of a replica that ends without a word."""

    async def lease_revoke(self, lease: int) -> None:
        """Say nothing."""


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

    def tables(self) -> dict[str, Rows]:
        """Return the rows of all tables that follow from objects."""
        store = self.registry.store
        with store.read() as txn:
            found = {}
            for name in DERIVED:
                with txn.cursor(db=getattr(store.tables, name)) as cursor:
                    found[name] = {bytes(key): bytes(row) for key, row in cursor}
            return found

    def replies(self) -> dict[bytes, bytes]:
        """Return what DNS says to each question for a name that has a row, but for serials (see above)."""
        found = {}
        answerer = Answerer(Stats(), identity="replica")
        with Snapshots(self.registry.store).begin() as snapshot:
            for key in self.rows_but_apexes():
                for rrtype in _ASKED:
                    question = b"\0\7\0\0\0\1" + bytes(6) + wire_of_key(key) + rrtype.to_bytes(2) + b"\0\1"
                    random.seed(question)  # where answers are rotated
                    reply = answerer.answer(question, snapshot)
                    assert isinstance(reply, bytes)
                    is_negative = reply[8:10] == b"\0\1"
                    found[question] = reply[: _SERIAL.start] + reply[_SERIAL.stop :] if is_negative else reply
        return found

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
            engine = Engine(client or Patient(self.etcd.endpoints), self.prefix)
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
    of_a, of_b = await at_one_revision(a, b, lambda one: (one.everything(), one.rows_but_apexes()))
    assert of_a[0] == of_b[0]
    assert of_a[1] == of_b[1]


async def at_one_revision(a: Replica, b: Replica, look: Callable[[Replica], T]) -> tuple[T, T]:
    """Return what both show at one revision, whatever is written in the background meanwhile: Events."""
    while True:
        await until(lambda: a.revision == b.revision, "both to have come as far")
        before, seen = a.revision, (look(a), look(b))
        if before == a.revision == b.revision:
            return seen


async def assert_same_objects(a: Replica, b: Replica) -> None:
    """Both come to show the same objects, but for what a replica counts by itself."""
    for_guard = "both to show the same objects"
    await until(lambda: comparable(a.everything()) == comparable(b.everything()), for_guard)


async def know_each_other(*replicas: Replica) -> None:
    """Wait until all of some replicas know of all."""
    for one in replicas:
        await until(lambda one=one: len(living(one)) == len(replicas), "the replicas to know each other")


def living(replica: Replica) -> list[str]:
    """Return the names of those of which a replica knows that they live."""
    sharing = replica.registry.sharing
    assert sharing is not None
    return sorted(sharing.living)


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
