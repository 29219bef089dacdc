"""No two replicas that live are called the same, wherever their data folders come from."""

import shutil

import pytest
from replicas.replicas_harness import Killed, Replica, Replicas, assert_alike
from toolbox.builders import service
from toolbox.waiting import until

from svcdns.etcd.client import Unavailable
from svcdns.objects.kinds import SERVICE
from svcdns.registry.replicated import living


def name_of(replica: Replica) -> str:
    sharing = replica.registry.sharing
    assert sharing is not None
    return sharing.name


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


async def test_who_was_killed_goes_on_under_its_name_before_its_lease_has_ended(replicas: Replicas) -> None:
    client = Killed(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        name = name_of(a)
    assert f"live/{name}" in replicas.etcd.ctl("get", "--prefix", "--keys-only", f"{replicas.prefix}live/")
    async with replicas.replica("a") as a:
        assert name_of(a) == name
        await a.create(service("web"))
        assert a.names(SERVICE) == ["web"]


async def test_who_has_lost_its_name_ends(replicas: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []

    def end(status: int) -> None:
        ended.append(status)
        raise Unavailable("the process has ended")

    async with replicas.replica("a") as a:
        monkeypatch.setattr(living.os, "_exit", end)
        key = f"{replicas.prefix}live/{name_of(a)}"
        await until(lambda: a.registry.sharing.living, "it to live")
        replicas.etcd.ctl("put", key, '{"host": "b", "revision": 1, "incarnation": "another"}')
        await until(lambda: ended, "the end")
        replicas.etcd.ctl("del", key)
