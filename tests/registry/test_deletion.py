"""Finalizers hold, dependents go with their owners, and a namespace is seen to terminate."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from toolbox.builders import endpoint_slice, lease, namespace, node, pod, service
from toolbox.registry_harness import RegistryHarness
from toolbox.waiting import until

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, LEASE, NAMESPACE, NODE, POD, SERVICE, Kind
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions

WRITE = WriteOptions()
DELETE = DeleteOptions()
OF = {
    SERVICE: lambda: service("web"),
    POD: lambda: pod("web", "10.1.0.1"),
    ENDPOINTSLICE: lambda: endpoint_slice("web", "web", "192.0.2.1"),
    NAMESPACE: lambda: namespace("web"),
    NODE: lambda: node("web"),
    LEASE: lambda: lease("web"),
}
HELD = ["example.org/hold"]
each_kind = pytest.mark.parametrize("kind", list(OF), ids=lambda kind: kind.plural)


def where(kind: Kind) -> str:
    return "default" if kind.namespaced else ""


async def create(running: RegistryHarness, kind: Kind, body: dict[str, Any], place: str | None = None) -> Any:
    written = await running.registry.create(kind, where(kind) if place is None else place, body, WRITE)
    return json.loads(written.object)


def read(running: RegistryHarness, kind: Kind, name: str = "web", place: str | None = None) -> Any:
    try:
        return json.loads(running.registry.get(kind, where(kind) if place is None else place, name))
    except StatusError as missing:
        assert missing.code == 404
        return None


def with_metadata(body: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], **metadata}}


async def release(running: RegistryHarness, kind: Kind, name: str = "web", place: str | None = None) -> None:
    patch = Patch("merge", {"metadata": {"finalizers": None}})
    await running.registry.patch(kind, where(kind) if place is None else place, name, patch, WRITE)


@each_kind
def test_a_finalizer_holds_an_object(run: Any, kind: Kind) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, kind, with_metadata(OF[kind](), finalizers=HELD))
        for _ in range(2):
            deleted = await running.registry.delete(kind, where(kind), "web", DELETE)
            assert json.loads(deleted.object)["metadata"]["deletionTimestamp"]
        await asyncio.sleep(0.05)
        assert read(running, kind)["metadata"]["finalizers"] == HELD
        await release(running, kind)
        await until(lambda: read(running, kind) is None)

    run(work)


def test_no_finalizer_is_added_to_what_is_being_deleted(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, with_metadata(service("web"), finalizers=HELD))
        await running.registry.delete(SERVICE, "default", "web", DELETE)
        patch = Patch("merge", {"metadata": {"finalizers": [*HELD, "example.org/more"]}})
        with pytest.raises(StatusError, match="no new finalizers can be added") as caught:
            await running.registry.patch(SERVICE, "default", "web", patch, WRITE)
        assert caught.value.code == 422

    run(work)


@pytest.mark.parametrize("name", ["x", "a b", "", "/x", "a/b/c"])
def test_names_of_finalizers_are_checked(run: Any, name: str) -> None:
    async def work(running: RegistryHarness) -> None:
        with pytest.raises(StatusError) as caught:
            await create(running, SERVICE, with_metadata(service("web"), finalizers=[name]))
        assert caught.value.code == 422
        assert caught.value.causes[0].field == "metadata.finalizers[0]"

    run(work)


def test_a_pod_waits_for_its_grace_period_and_its_finalizers(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, POD, with_metadata(pod("web", "10.1.0.1"), finalizers=HELD))
        await running.registry.delete(POD, "default", "web", DeleteOptions(grace_period_seconds=1))
        await until(lambda: read(running, POD)["metadata"]["deletionGracePeriodSeconds"] == 0)
        assert read(running, POD) is not None
        await release(running, POD)
        assert read(running, POD) is None
        await create(running, POD, with_metadata(pod("web", "10.1.0.1"), finalizers=HELD))
        await running.registry.delete(POD, "default", "web", DeleteOptions(grace_period_seconds=3600))
        await release(running, POD)
        assert read(running, POD) is not None, "the grace period is not over"
        await running.registry.delete(POD, "default", "web", DeleteOptions(grace_period_seconds=1))
        await until(lambda: read(running, POD) is None)

    run(work)


def owned_by(owner: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = owner["metadata"]
    named = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"]}
    return {**named, "uid": metadata["uid"], **more}


def owned_slice(name: str, *references: dict[str, Any]) -> dict[str, Any]:
    return with_metadata(endpoint_slice(name, "web", "192.0.2.1"), ownerReferences=list(references))


@pytest.mark.parametrize("propagation", ["", "Background", "Foreground"])
def test_dependents_go_with_their_owner(run: Any, propagation: str) -> None:
    async def work(running: RegistryHarness) -> None:
        owner = await create(running, SERVICE, service("web"))
        first = await create(running, ENDPOINTSLICE, owned_slice("a", owned_by(owner)))
        await create(running, POD, with_metadata(pod("b", "10.1.0.1"), ownerReferences=[owned_by(first)]))
        await create(running, POD, pod("free", "10.1.0.2"))
        await running.registry.delete(SERVICE, "default", "web", DeleteOptions(propagation=propagation))
        assert [read(running, kind, name) for kind, name in ((ENDPOINTSLICE, "a"), (POD, "b"))] == [
            None,
            None,
        ]
        assert read(running, POD, "free") is not None

    run(work)


def test_leases_go_with_their_node(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        owner = await create(running, NODE, node("here"))
        await create(running, LEASE, with_metadata(lease("here"), ownerReferences=[owned_by(owner)]))
        await running.registry.delete(NODE, "", "here", DELETE)
        assert read(running, LEASE, "here") is None

    run(work)


@pytest.mark.parametrize("version", ["v1", "events.k8s.io/v1"])
def test_an_event_owns_nothing(run: Any, version: str) -> None:
    async def work(running: RegistryHarness) -> None:
        reference = {"apiVersion": version, "kind": "Event", "name": "a", "uid": "b"}
        with pytest.raises(StatusError, match="disallowed from being an owner"):
            await create(running, LEASE, with_metadata(lease("here"), ownerReferences=[reference]))

    run(work)


def test_orphans_stay(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        owner = await create(running, SERVICE, service("web"))
        await create(running, ENDPOINTSLICE, owned_slice("a", owned_by(owner)))
        await running.registry.delete(SERVICE, "default", "web", DeleteOptions(propagation="Orphan"))
        assert "ownerReferences" not in read(running, ENDPOINTSLICE, "a")["metadata"]

    run(work)


def test_a_dependent_stays_while_it_has_another_owner(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        owners = [await create(running, SERVICE, service(name)) for name in ("web", "other")]
        foreign = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "x\0" + "y" * 5000}
        await create(running, ENDPOINTSLICE, owned_slice("a", *(owned_by(owner) for owner in owners)))
        await create(running, ENDPOINTSLICE, owned_slice("b", owned_by(owners[0]), foreign))
        await running.registry.delete(SERVICE, "default", "web", DELETE)
        kept = read(running, ENDPOINTSLICE, "a")["metadata"]["ownerReferences"]
        assert [reference["name"] for reference in kept] == ["other"]
        assert read(running, ENDPOINTSLICE, "b")["metadata"]["ownerReferences"] == [foreign]
        await running.registry.delete(SERVICE, "default", "other", DELETE)
        assert read(running, ENDPOINTSLICE, "a") is None

    run(work)


def test_an_owner_deleted_in_the_foreground_waits_for_those_that_block_it(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        owner = await create(running, SERVICE, service("web"))
        body = owned_slice("a", owned_by(owner, blockOwnerDeletion=True))
        await create(running, ENDPOINTSLICE, with_metadata(body, finalizers=HELD))
        await running.registry.delete(SERVICE, "default", "web", DeleteOptions(propagation="Foreground"))
        held = read(running, SERVICE)["metadata"]
        assert held["finalizers"] == ["foregroundDeletion"] and held["deletionTimestamp"]
        await release(running, ENDPOINTSLICE, "a")
        assert read(running, ENDPOINTSLICE, "a") is None
        assert read(running, SERVICE) is None

    run(work)


def test_owner_references_are_checked(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        reference = {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": ""}
        with pytest.raises(StatusError) as caught:
            await create(running, ENDPOINTSLICE, owned_slice("a", reference))
        assert caught.value.causes[0].field == "metadata.ownerReferences[0].uid"
        both = [{**reference, "uid": word, "controller": True} for word in "ab"]
        with pytest.raises(StatusError, match="Only one reference can have Controller set to true"):
            await create(running, ENDPOINTSLICE, owned_slice("a", *both))

    run(work)


def test_a_namespace_is_seen_to_terminate(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, NAMESPACE, namespace("shop"))
        await create(running, POD, pod("a", "10.1.0.1", namespace="shop"), "shop")
        await create(running, LEASE, with_metadata(lease("a"), namespace="shop"), "shop")
        deleted = json.loads((await running.registry.delete(NAMESPACE, "", "shop", DELETE)).object)
        assert deleted["status"]["phase"] == "Terminating" and deleted["metadata"]["deletionTimestamp"]
        await until(lambda: read(running, NAMESPACE, "shop") is None)
        assert running.registry.page(POD, "shop", Selection()).items == []
        assert running.registry.page(LEASE, "shop", Selection()).items == []

    run(work)


def test_a_namespace_waits_for_what_finalizers_hold(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, NAMESPACE, namespace("shop"))
        body = with_metadata(service("held", namespace="shop"), finalizers=HELD)
        await create(running, SERVICE, body, "shop")
        await create(running, SERVICE, service("free", namespace="shop"), "shop")
        await running.registry.delete(NAMESPACE, "", "shop", DELETE)
        await until(lambda: read(running, SERVICE, "free", "shop") is None)
        await until(lambda: bool((read(running, NAMESPACE, "shop")["status"]).get("conditions")))
        conditions = {c["type"]: c for c in read(running, NAMESPACE, "shop")["status"]["conditions"]}
        assert HELD[0] in conditions["NamespaceFinalizersRemaining"]["message"]
        assert read(running, SERVICE, "held", "shop")["metadata"]["deletionTimestamp"]
        await release(running, SERVICE, "held", "shop")
        await until(lambda: read(running, NAMESPACE, "shop") is None)

    run(work)


def test_a_restart_goes_on_with_a_namespace_that_waits(run: Any) -> None:
    async def begin(running: RegistryHarness) -> None:
        await create(running, NAMESPACE, namespace("shop"))
        await create(running, SERVICE, with_metadata(service("a", namespace="shop"), finalizers=HELD), "shop")
        await running.registry.delete(NAMESPACE, "", "shop", DELETE)

    async def end(running: RegistryHarness) -> None:
        assert read(running, NAMESPACE, "shop")["status"]["phase"] == "Terminating"
        await until(lambda: "deletionTimestamp" in read(running, SERVICE, "a", "shop")["metadata"])
        await release(running, SERVICE, "a", "shop")
        await until(lambda: read(running, NAMESPACE, "shop") is None)

    run(begin)
    run(end)
