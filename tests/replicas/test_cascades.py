"""An owner with more dependents than a transaction of etcd holds is deleted as in Kubernetes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from replicas.cascade_harness import (
    HELD,
    MANY,
    Steps,
    addresses,
    begun_anew,
    both,
    delete,
    has_gone,
    own,
    owned_by,
    stopped,
    web_pod,
    without_owner,
)
from replicas.replicas_harness import Object, Replica, Replicas, assert_alike, know_each_other
from toolbox.builders import lease, namespace, pod, service
from toolbox.waiting import until

from svcdns.config.sections import Config
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import LEASE, NAMESPACE, POD, SERVICE
from svcdns.registry import cascades
from svcdns.registry.registry import Registry
from svcdns.registry.replicated import committer, revisions
from svcdns.registry.requests import Selection
from svcdns.store.environment import open_store


async def test_background_takes_the_owner_at_once_and_its_dependents_after_it(replicas: Replicas) -> None:
    async with both(replicas) as (a, b, client, name):
        shown = await delete(a, name, "Background")
        assert "deletionTimestamp" not in shown["metadata"] and a.names(LEASE) == []
        assert 0 < len(a.names(POD)) < MANY, "what one transaction holds is gone"
        client.may.set()
        await ends(a)
        await assert_alike(a, b)
        assert a.names(POD) == [] and addresses(a) == addresses(b) == 0
        assert not is_noted(replicas)


async def ends(replica: Replica) -> None:
    """Wait until no deletion goes on."""
    store = replica.registry.store

    def is_over() -> bool:
        with store.read() as txn:
            return not cascades.all_uids(txn, store.tables)

    await until(is_over, "the end of all deletions")


def is_noted(replicas: Replicas) -> bool:
    """Return whether etcd has a deletion that goes on."""
    return bool(replicas.etcd.ctl("get", "--prefix", f"{replicas.prefix}owners/"))


async def test_foreground_keeps_the_owner_until_its_dependents_are_gone(replicas: Replicas) -> None:
    async with both(replicas) as (a, b, client, name):
        shown = (await delete(a, name, "Foreground"))["metadata"]
        assert shown["deletionTimestamp"] and shown["finalizers"] == ["foregroundDeletion"]
        assert a.names(LEASE) == [name] and 0 < len(a.names(POD)) < MANY
        seen = [one async for one in of_leases(a, client)]
        assert seen[-1] == ("DELETED", 0), "the owner went last"
        await b.shows_what(a)
        await assert_alike(a, b)
        assert not is_noted(replicas) and addresses(b) == 0


async def of_leases(replica: Replica, client: Steps) -> AsyncIterator[tuple[str, int]]:
    """Yield what becomes of the owner, each with how many Pods there are then, until it has gone."""
    after = replica.revision
    client.may.set()
    async for batch in replica.registry.watch(LEASE, "default", Selection(), after):
        for event in batch.events:
            yield event.type, len(replica.names(POD))
            if event.type == "DELETED":
                return


async def test_orphans_are_freed_before_their_owner_goes(replicas: Replicas) -> None:
    async with both(replicas) as (a, b, client, name):
        shown = (await delete(a, name, "Orphan"))["metadata"]
        assert 0 < len(without_owner(a)) < MANY
        assert shown["deletionTimestamp"] and shown["finalizers"] == ["orphan"]
        client.may.set()
        await ends(a)
        assert a.names(LEASE) == [] and len(a.names(POD)) == len(without_owner(a)) == MANY
        await assert_alike(a, b)
        assert not is_noted(replicas) and addresses(b) == MANY


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
async def test_what_finalizers_hold_is_marked_and_stays(replicas: Replicas, propagation: str) -> None:
    async with replicas.replica("a") as a:
        name = await own(a, 130)
        held = web_pod(130, a.get(LEASE, name), blockOwnerDeletion=True)
        held["metadata"]["finalizers"] = HELD
        await a.create(held)
        await delete(a, name, propagation)
        await ends(a)
        if propagation == "Orphan":
            assert len(a.names(POD)) == 131 and a.names(LEASE) == []
            return
        assert a.names(POD) == ["web-130"] and a.get(POD, "web-130")["metadata"]["deletionTimestamp"]
        assert a.names(LEASE) == ([name] if propagation == "Foreground" else [])
        await a.patch(POD, "web-130", {"metadata": {"finalizers": None}})
        assert a.names(POD) == a.names(LEASE) == []


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
async def test_what_a_killed_replica_has_begun_another_one_ends(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, propagation: str
) -> None:
    monkeypatch.setattr(committer, "STOP_SECONDS", 0.0)
    async with replicas.replica("b") as b:
        async with stopped(replicas, "a") as (a, client):
            await know_each_other(a, b)
            name = await begun_anew(client, own(a))
            await delete(a, name, propagation)
            await until(lambda: client.begun > 1, "the second step to begin")
            await b.shows_what(a)
            assert not is_done(b, propagation)
        await until(lambda: is_done(b, propagation), "the other one to end it")
        await ends(b)
        assert not is_noted(replicas) and name not in b.names(LEASE)


def is_done(replica: Replica, propagation: str) -> bool:
    if propagation == "Orphan":
        return len(without_owner(replica)) == MANY
    return not replica.names(POD)


@pytest.mark.parametrize("again", ["a", "empty", "behind"])
async def test_a_replica_that_starts_ends_what_has_begun(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    monkeypatch.setattr(committer, "STOP_SECONDS", 0.0)
    async with replicas.replica("behind"):
        pass
    async with stopped(replicas, "a") as (a, client):
        await delete(a, await begun_anew(client, own(a)))
        await until(lambda: client.begun > 1, "the second step to begin")
        seen = revisions.revision_of(a.revision)
    assert is_noted(replicas)
    replicas.etcd.ctl("compact", str(seen))  # who is behind has to list
    async with replicas.replica(again) as one:
        await until(lambda: one.revision >= revisions.of(seen, 0), "the map to show what had begun")
        await ends(one)
        assert one.names(POD) == [] and addresses(one) == 0 and not is_noted(replicas)


async def test_a_folder_that_leaves_etcd_ends_what_has_begun_there(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "STOP_SECONDS", 0.0)
    async with stopped(replicas, "a") as (a, client):
        await delete(a, await begun_anew(client, own(a)))
        await until(lambda: client.begun > 1, "the second step to begin")
    store = open_store(replicas.folder / "a", "writer")
    alone = Replica(Registry(store, Config()))
    await alone.registry.start()
    assert alone.names(POD) == [] and addresses(alone) == 0
    await alone.registry.stop()
    store.close()


async def test_a_dependent_that_is_made_meanwhile_goes_too(replicas: Replicas) -> None:
    async with both(replicas) as (a, b, client, name):
        late = owned_by(a.get(LEASE, name), pod("a-before-all-others", "10.1.9.1"))
        await delete(a, name)
        await until(lambda: client.begun > 1, "the second step to begin")
        await b.create(late)
        client.may.set()
        await ends(a)
        await b.shows_what(a)
        assert b.names(POD) == []


async def test_an_owner_of_the_same_name_is_another_one(replicas: Replicas) -> None:
    async with both(replicas) as (a, b, client, name):
        await delete(a, name)
        await b.shows_what(a)
        new = await b.create(lease(name))
        await b.create(owned_by(new, pod("of-the-new-one", "10.1.9.1")))
        client.may.set()
        await ends(a)
        assert a.names(POD) == ["of-the-new-one"]
        assert a.get(LEASE, name)["metadata"]["uid"] == new["metadata"]["uid"]


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
async def test_a_deletion_whose_conditions_dont_hold_changes_nothing(
    replicas: Replicas, propagation: str
) -> None:
    async with replicas.replica("a") as a:
        name = await own(a, 150)
        owner = a.get(LEASE, name)
        before = a.everything()
        for more in ({"uid": "another"}, {"resource_version": "1"}):
            with pytest.raises(StatusError, match="Precondition failed") as refused:
                await delete(a, name, propagation, **more)
            assert refused.value.code == 409
        shown = await delete(a, name, propagation, dry_run=True)
        assert shown["metadata"]["resourceVersion"] == owner["metadata"]["resourceVersion"]
        assert {**a.everything(), "Event": []} == {**before, "Event": []}
        assert not is_noted(replicas)
        metadata = owner["metadata"]
        await delete(a, name, propagation, uid=metadata["uid"], resource_version=metadata["resourceVersion"])
        await has_gone(a, LEASE)


async def test_it_goes_on_when_etcd_is_there_again(replicas: Replicas) -> None:
    client = Steps(replicas.etcd.endpoints)
    async with replicas.replica("a", client=client) as a:
        name = await own(a)
        client.begun, client.away = 0, 1
        await delete(a, name)
        await has_gone(a)
        assert not client.away


async def chain(a: Replica) -> None:
    owner = await a.create(lease("owner"))
    for number in range(130):
        owner = await a.create(owned_by(owner, lease(f"next-{number}")))


async def tree(a: Replica) -> None:
    level = [await a.create(lease("owner"))]
    for width in (8, 5, 5):
        made = [
            owned_by(one, lease(f"{one['metadata']['name']}-{number}"))
            for one in level
            for number in range(width)
        ]
        level = list(await asyncio.gather(*map(a.create, made)))


async def services_of_many_ports(a: Replica) -> None:
    owner = await a.create(lease("owner"))
    await asyncio.gather(*(a.create(owned_by(owner, service(f"s-{number}"))) for number in range(17)))
    ports = [{"name": f"p{number}", "port": number + 1} for number in range(100)]
    await a.create(owned_by(owner, service("t-many", type="NodePort", ports=ports)))


async def large(a: Replica) -> None:
    owner = await a.create(lease("owner"))
    annotations = {"text": "x" * 20_000}
    for number in range(90):
        made = owned_by(owner, lease(f"large-{number}"))
        made["metadata"]["annotations"] = annotations
        await a.create(made)


SHAPES = [chain, tree, services_of_many_ports, large]


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
async def test_whatever_depends_on_it(
    replicas: Replicas, shape: Callable[[Replica], Any], propagation: str
) -> None:
    async with replicas.replica("a") as a, replicas.replica("b") as b:
        await shape(a)
        await delete(a, "owner", propagation)
        await ends(a)
        assert "owner" not in a.names(LEASE)
        if propagation != "Orphan":
            assert a.names(LEASE) == a.names(SERVICE) == []
        await assert_alike(a, b)


@pytest.mark.parametrize("shape", [services_of_many_ports, large], ids=lambda shape: shape.__name__)
async def test_a_namespace_with_much_of_anything_goes(
    replicas: Replicas, shape: Callable[[Replica], Any]
) -> None:
    async with replicas.replica("a") as a:
        await a.create(namespace("shop"))
        inner = Replica(a.registry)
        inner.create = in_shop(a)  # type: ignore[method-assign]
        await shape(inner)
        await delete(a, "shop", kind=NAMESPACE)
        await until(lambda: "shop" not in a.names(NAMESPACE), "it to go")


def in_shop(a: Replica) -> Callable[[Object], Any]:
    def create(obj: Object) -> Any:
        return a.create({**obj, "metadata": {**obj["metadata"], "namespace": "shop"}})

    return create
