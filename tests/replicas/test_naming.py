"""No two replicas that live are called the same, wherever their data folders come from."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence

import pytest
from replicas.replicas_harness import Killed, Patient, Replica, Replicas, assert_alike
from toolbox.builders import service
from toolbox.waiting import GUARD_SECONDS, until

from svcdns.etcd.client import Etcd, Full, Unavailable, Unknown
from svcdns.etcd.messages import Changes, Compare, Delete, Found, Get, Outcome, Put
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import SERVICE
from svcdns.registry.replicated import beginning, living, naming

pytestmark = pytest.mark.usefixtures("no_events")  # a map is copied as it is, so nothing may be written


def name_of(replica: Replica) -> str:
    sharing = replica.registry.sharing
    assert sharing is not None
    return sharing.name


def end_this_replica_alone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have a replica that has lost its name end nothing but what it is at; return what it has ended with."""
    ended: list[int] = []

    def end(status: int) -> None:
        ended.append(status)
        raise Unavailable("the process has ended")

    monkeypatch.setattr(living.os, "_exit", end)
    return ended


async def test_a_copy_of_a_data_folder_takes_another_name(replicas: Replicas) -> None:
    async with replicas.replica("a") as a:
        await a.create(service("web"))
        shutil.copytree(replicas.folder / "a", replicas.folder / "b")
        async with replicas.replica("b") as b:
            assert name_of(b) != name_of(a)
            for one in (a, b):
                await until(lambda one=one: len(one.registry.sharing.living) == 2, "both to be seen")
            await b.create(service("db"))
            await a.create(service("more"))
            await assert_alike(a, b)
            taken = name_of(b)
        async with replicas.replica("b") as b:
            assert name_of(b) == taken, "it stays so"


async def test_the_original_takes_another_name_where_the_copy_was_first(replicas: Replicas) -> None:
    async with replicas.replica("a") as a:
        name = name_of(a)
        await a.create(service("web"))
    shutil.copytree(replicas.folder / "a", replicas.folder / "b")
    async with replicas.replica("b") as b:
        assert name_of(b) == name, "nobody else lives who has it"
        async with replicas.replica("a") as a:
            assert name_of(a) != name


async def test_who_was_killed_goes_on_under_its_name_before_its_lease_has_ended(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "LEASE_SECONDS", int(GUARD_SECONDS))
    client = Killed(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        name = name_of(a)
    assert f"live/{name}" in replicas.etcd.ctl("get", "--prefix", "--keys-only", f"{replicas.prefix}live/")
    async with replicas.replica("a") as a:
        assert name_of(a) == name
        await a.create(service("web"))
        assert a.names(SERVICE) == ["web"]


async def test_who_has_lost_its_name_ends(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    async with replicas.replica("a") as a:
        ended = end_this_replica_alone(monkeypatch)
        key = f"{replicas.prefix}live/{name_of(a)}"
        await until(lambda: a.registry.sharing.living, "it to live")
        replicas.etcd.ctl("put", key, '{"host": "b", "revision": 1, "incarnation": "another"}')
        await until(lambda: ended, "the end")
        replicas.etcd.ctl("del", key)


class Watched(Patient):
    """A client that grants a lease only once objects are watched, and fails the first of them."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        super().__init__(endpoints)
        self._is_watched, self.begun, self.ended = asyncio.Event(), 0, 0

    async def watch(self, key: bytes, end: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """Note that it is watched."""
        if not key.endswith(b"objects/"):
            async for changes in super().watch(key, end, from_revision):
                yield changes
            return
        self.begun += 1
        self._is_watched.set()
        try:
            async for changes in super().watch(key, end, from_revision):
                yield changes
        finally:
            self.ended += 1

    async def lease_grant(self, seconds: int) -> int:
        """Wait until it is watched."""
        await asyncio.wait_for(self._is_watched.wait(), GUARD_SECONDS)
        self._is_watched.clear()
        if self.begun == 1:
            raise Unavailable("as the test wants it")
        self._is_watched.set()
        return await super().lease_grant(seconds)


async def test_a_start_watches_before_it_writes_and_no_more_where_it_fails(replicas: Replicas) -> None:
    """A watch that is opened behind a write is told what comes up to 100 ms later."""
    async with replicas.replica("a"):
        pass
    client = Watched(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        assert "as the test wants it" in a.registry.trouble
        await until(lambda: client.ended == 1, "the end of the watch")
        await a.registry.try_to_write()
        assert a.registry.trouble == "" and client.begun == 2
        await a.create(service("web"))
        assert (client.begun, client.ended) == (2, 1)


class Frozen(Patient):
    """A client of a replica that is frozen when a Service `lost` is carried out; the answer is lost."""

    def __init__(self, endpoints: Sequence[str], lost: Exception) -> None:
        super().__init__(endpoints)
        self.goes, self._lost = asyncio.Event(), lost
        self.goes.set()

    async def transaction(
        self, compares: Sequence[Compare], success: Sequence[Put | Delete | Get], failure: Sequence[Get] = ()
    ) -> Outcome:
        """Carry it out."""
        await self.goes.wait()
        outcome = await super().transaction(compares, success, failure)
        if any(one.key.endswith(b"/lost") for one in success):
            self.goes.clear()
            await self.goes.wait()
            raise self._lost
        return outcome

    async def range(self, *given: object, **named: object) -> Found:
        """Read."""
        await self.goes.wait()
        return await super().range(*given, **named)  # type: ignore[arg-type]

    async def lease_keep_alive(self, lease: int) -> int:
        """Say that it lives."""
        await self.goes.wait()
        return await super().lease_keep_alive(lease)

    async def watch(self, key: bytes, end: bytes, from_revision: int) -> AsyncIterator[Changes]:
        """Yield what happens."""
        async for changes in super().watch(key, end, from_revision):
            await self.goes.wait()
            yield changes


@pytest.mark.parametrize("lost", [Unknown("as the test wants it"), Full("as the test wants it")])
async def test_what_became_of_a_write_is_not_told_by_a_key_that_a_copy_has_put_since(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, lost: Exception
) -> None:
    monkeypatch.setattr(beginning, "LANES", 1)
    client, other = Frozen(replicas.etcd.endpoints, lost), Etcd(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        shutil.copytree(replicas.folder / "a", replicas.folder / "b")
        writing = asyncio.ensure_future(a.create(service("lost")))
        await until(lambda: not client.goes.is_set(), "the write to be carried out")
        [lived] = (await other.range(f"{replicas.prefix}live/{name_of(a)}".encode())).kvs
        await other.lease_revoke(lived.lease)
        ended = end_this_replica_alone(monkeypatch)
        async with replicas.replica("b") as b:
            assert name_of(b) == name_of(a), "nobody lives any more who has it"
            await b.create(service("another"))
            client.goes.set()
            with pytest.raises(StatusError) as unknown:
                await writing
            assert unknown.value.code == 504, "it was carried out, and that it was can't be seen any more"
            assert sorted(b.names(SERVICE)) == ["another", "lost"]
            await until(lambda: ended, "the end of who has lost its name")
            assert ended[0] == os.EX_SOFTWARE
    await other.close()
