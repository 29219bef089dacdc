"""A registry moves into etcd and back: the same objects, addresses and answers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from replicas.replicas_harness import Object, Replica, Replicas, comparable
from toolbox.builders import endpoint_slice, endpoints, headless, namespace, pod, service, without_selector
from toolbox.waiting import until

from svcdns.config.sections import Config
from svcdns.etcd.client import Etcd, Unavailable
from svcdns.etcd.messages import Compare, Delete, Get, Outcome, Put
from svcdns.objects.kinds import POD, SERVICE
from svcdns.registry.dns_rows import SERIAL
from svcdns.registry.migration import MigrationError, into_etcd, into_folder
from svcdns.registry.registry import Registry
from svcdns.registry.replicated import Disagreement, Engine
from svcdns.registry.requests import DeleteOptions
from svcdns.store.environment import Store, open_store
from svcdns.store.rows import scan


@asynccontextmanager
async def alone(folder: Path) -> AsyncIterator[Replica]:
    """Give a registry of its own on a folder."""
    store = open_store(folder, "writer")
    try:
        registry = Registry(store, Config())
        await registry.start()
        await registry.set_loaded()
        yield Replica(registry)
        await registry.stop()
    finally:
        store.close()


async def filled(folder: Path) -> tuple[dict[str, list[Object]], dict[bytes, bytes]]:
    """Have a registry of many kinds of things on a folder; return its objects and rows."""
    async with alone(folder) as it:
        await it.create(namespace("shop"))
        await it.create(headless("web"))
        await asyncio.gather(*(it.create(service(f"s{n}", type="NodePort")) for n in range(60)))
        await asyncio.gather(
            *(it.create(pod(f"web-{n}", f"10.1.0.{n}", ready=bool(n % 3))) for n in range(1, 150))
        )
        await it.create(without_selector("db"))
        await it.create(endpoints("db", "10.9.0.1"))
        await it.create(endpoint_slice("own", "s1", "10.9.0.2"))
        return without_versions(it), it.rows_but_apexes()


def serial_of(folder: Path) -> int:
    """Return the serial of the cluster's zone."""
    store = open_store(folder, "reader")
    try:
        with store.read() as txn:
            return max(int.from_bytes(serial) for _, serial in scan(txn, store.tables.meta, SERIAL))
    finally:
        store.close()


def without_versions(replica: Replica) -> dict[str, list[Object]]:
    """Return all objects but Events, without what a move changes, or a replica counts."""
    shown = comparable(replica.everything())
    for objects in shown.values():
        for one in objects:
            one["metadata"].pop("resourceVersion", None)
    del shown["Event"]
    return shown


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Store]:
    store = open_store(folder, "writer")
    try:
        yield store
    finally:
        store.close()


async def move(replicas: Replicas, folder: Path, client: Etcd | None = None) -> int:
    engine = Engine(client or Etcd(replicas.etcd.endpoints), replicas.prefix)
    async with opened(folder) as store:
        return await into_etcd(store, Config(), engine, lambda done, of: None)


async def test_a_registry_moves_into_etcd_and_back(replicas: Replicas, tmp_path: Path) -> None:
    objects, rows = await filled(tmp_path / "alone")
    serial = serial_of(tmp_path / "alone")
    assert await move(replicas, tmp_path / "alone") > 210
    async with replicas.replica("a") as a:
        assert without_versions(a) == objects
        assert a.rows_but_apexes() == rows
        taken = a.get(SERVICE, "s1")["spec"]["clusterIP"]
        with pytest.raises(Exception, match="already allocated"):
            await a.create(service("taken", clusterIP=taken))
        made = await a.create(service("later"))
        assert made["spec"]["clusterIP"] not in [one["spec"].get("clusterIP") for one in objects["Service"]]
        await a.registry.delete(SERVICE, "default", "later", DeleteOptions())
    assert serial_of(replicas.folder / "a") > serial, "secondaries follow"
    async with opened(tmp_path / "back") as store:
        engine = Engine(Etcd(replicas.etcd.endpoints), replicas.prefix)
        assert await into_folder(store, Config(), engine) > 210
    async with alone(tmp_path / "back") as back:
        assert without_versions(back) == objects
        assert back.rows_but_apexes() == rows
        await back.create(service("at-home"))
    async with alone(tmp_path / "alone") as still:
        assert without_versions(still) == objects


async def test_only_a_prefix_that_is_empty_is_filled(replicas: Replicas, tmp_path: Path) -> None:
    await filled(tmp_path / "alone")
    replicas.etcd.ctl("put", f"{replicas.prefix}mine", "x")
    with pytest.raises(MigrationError, match="already"):
        await move(replicas, tmp_path / "alone")
    assert replicas.etcd.ctl("get", "--prefix", replicas.prefix) == f"{replicas.prefix}mine\nx\n"
    replicas.etcd.ctl("del", f"{replicas.prefix}mine")
    async with replicas.replica("a") as a:
        await until(lambda: a.registry.work.living(), "the replica to be known")
        with pytest.raises(MigrationError, match="replicas live"):
            await move(replicas, tmp_path / "alone")
    with pytest.raises(MigrationError, match="already"):
        await move(replicas, tmp_path / "alone")


class CutOff(Etcd):
    """A client that loses etcd after some transactions."""

    left = 3

    async def transaction(
        self, compares: Sequence[Compare], success: Sequence[Put | Delete | Get], failure: Sequence[Get] = ()
    ) -> Outcome:
        """Carry out some."""
        self.left -= 1
        if self.left < 0:
            raise Unavailable("as the test wants it")
        return await super().transaction(compares, success, failure)


async def test_what_was_cut_off_is_used_by_nobody(replicas: Replicas, tmp_path: Path) -> None:
    await filled(tmp_path / "alone")
    with pytest.raises(MigrationError, match="as the test wants it"):
        await move(replicas, tmp_path / "alone", CutOff(replicas.etcd.endpoints))
    with pytest.raises(Disagreement, match="cut off"):
        async with replicas.replica("a"):
            pass
    with pytest.raises(MigrationError, match="cut off"):
        await move(replicas, tmp_path / "alone")
    replicas.etcd.ctl("del", "--prefix", replicas.prefix)
    await move(replicas, tmp_path / "alone")
    async with replicas.replica("a") as a:
        assert len(a.names(POD)) == 149


async def test_what_fails_is_taken_out_again(replicas: Replicas, tmp_path: Path) -> None:
    class Odd(CutOff):
        async def transaction(self, *given: object, **named: object) -> Outcome:  # type: ignore[override]
            """Fail once."""
            self.left -= 1
            if self.left == 0:
                raise Unavailable("once")
            return await Etcd.transaction(self, *given, **named)  # type: ignore[arg-type]

    await filled(tmp_path / "alone")
    with pytest.raises(MigrationError, match="once"):
        await move(replicas, tmp_path / "alone", Odd(replicas.etcd.endpoints))
    assert replicas.etcd.ctl("get", "--prefix", replicas.prefix) == ""
    await move(replicas, tmp_path / "alone")


async def test_nothing_is_made_of_a_prefix_without_a_registry(replicas: Replicas, tmp_path: Path) -> None:
    async with opened(tmp_path / "back") as store:
        with pytest.raises(MigrationError, match="no registry"):
            await into_folder(store, Config(), Engine(Etcd(replicas.etcd.endpoints), replicas.prefix))
    assert replicas.etcd.ctl("get", "--prefix", replicas.prefix) == ""
