"""Slices of a Service's Pods: an empty one where there is no Pod, and the Service's labels on each."""

from __future__ import annotations

import asyncio
import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from toolbox.builders import endpoint_slice, pod, service
from toolbox.registry_harness import RegistryHarness, started

from svcdns.config.sections import Config, ServicesConfig
from svcdns.objects.kinds import ENDPOINTSLICE, POD, SERVICE, Kind
from svcdns.registry import stored_objects
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions
from svcdns.registry.transaction import encode, object_key
from svcdns.store.environment import open_store

OPTIONS = WriteOptions()
DUAL = Config(
    services=ServicesConfig(cluster_ip_ranges=(ip_network("10.96.0.0/24"), ip_network("fd00:96::/120")))
)
OURS = {
    "kubernetes.io/service-name": "web",
    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
}


async def create(running: RegistryHarness, kind: Kind, body: Any) -> None:
    await running.registry.create(kind, "default", body, OPTIONS)


async def merge(running: RegistryHarness, body: Any) -> None:
    await running.registry.patch(SERVICE, "default", "web", Patch("merge", body), OPTIONS)


def slices(running: RegistryHarness) -> list[dict[str, Any]]:
    page = running.registry.page(ENDPOINTSLICE, "default", Selection())
    return [json.loads(octets) for octets in page.items]


def sizes(running: RegistryHarness) -> set[tuple[str, int]]:
    return {(o["addressType"], len(o["endpoints"])) for o in slices(running)}


def test_a_service_without_pods_has_an_empty_slice(run: Any) -> None:
    """The first Pod takes it, the last one leaves it: one object all the time."""

    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, service())
        (empty,) = slices(running)
        assert (empty["addressType"], empty["endpoints"], empty["ports"]) == ("IPv4", [], [])
        assert empty["metadata"]["labels"] == OURS
        assert empty["metadata"]["ownerReferences"][0]["kind"] == "Service"
        await create(running, POD, pod("p", "10.1.0.1"))
        (one,) = slices(running)
        assert [e["addresses"] for e in one["endpoints"]] == [["10.1.0.1"]]
        assert one["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        await running.registry.delete(POD, "default", "p", DeleteOptions())
        (last,) = slices(running)
        assert (last["endpoints"], last["ports"]) == ([], [])
        assert {o["metadata"]["uid"] for o in (empty, one, last)} == {empty["metadata"]["uid"]}
        assert [o["metadata"]["generation"] for o in (empty, one, last)] == [1, 2, 3]

    run(work)


def test_each_family_has_one(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, service(ipFamilyPolicy="RequireDualStack"))
        assert sizes(running) == {("IPv4", 0), ("IPv6", 0)}
        await create(running, POD, pod("p", "10.1.0.1"))
        assert sizes(running) == {("IPv4", 1), ("IPv6", 0)}
        await running.registry.delete(POD, "default", "p", DeleteOptions())
        assert sizes(running) == {("IPv4", 0), ("IPv6", 0)}
        await merge(running, {"spec": {"ipFamilyPolicy": "SingleStack"}})
        assert [o["addressType"] for o in slices(running)] == ["IPv4"]

    run(work, DUAL)


def test_who_selects_nothing_by_itself_has_none(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, service())
        await create(running, ENDPOINTSLICE, endpoint_slice("own", "web", "10.9.0.1"))
        await merge(running, {"spec": {"selector": None}})
        assert [o["metadata"]["name"] for o in slices(running)] == ["own"]
        await merge(running, {"spec": {"selector": {"app": "web"}}})
        assert len(slices(running)) == 2
        await merge(running, {"spec": {"type": "ExternalName", "externalName": "a.example"}})
        assert [o["metadata"]["name"] for o in slices(running)] == ["own"]

    run(work)


def test_several_slices_leave_one(run: Any) -> None:
    """Pods with other numbers for one port name have slices of their own; empty ones go but for the last."""

    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, service(ports=[{"port": 80, "targetPort": "http"}]))
        for number in (1, 2):
            containers = [{"name": "c", "ports": [{"name": "http", "containerPort": number}]}]
            await create(running, POD, pod(f"p{number}", f"10.1.0.{number}", containers=containers))
        assert sorted(o["ports"][0]["port"] for o in slices(running)) == [1, 2]
        await running.registry.delete(POD, "default", "p1", DeleteOptions())
        assert [o["ports"][0]["port"] for o in slices(running)] == [2]
        await running.registry.delete(POD, "default", "p2", DeleteOptions())
        assert [o["ports"] for o in slices(running)] == [[]]

    run(work)


def test_labels_of_the_service(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        given = {"tier": "front", "service.kubernetes.io/service-proxy-name": "mine"}
        reserved = {"kubernetes.io/service-name": "x", "service.kubernetes.io/headless": "x"}
        await create(running, SERVICE, service(labels={**given, **reserved}))
        for number in range(101):
            await create(running, POD, pod(f"p{number}", f"10.1.1.{number}"))
        before = slices(running)
        assert len(before) == 2
        assert [o["metadata"]["labels"] for o in before] == [{**given, **OURS}] * 2
        await merge(running, {"metadata": {"labels": {"tier": "back"}}})
        after = slices(running)
        assert [o["metadata"]["labels"] for o in after] == [{**given, "tier": "back", **OURS}] * 2
        assert [o["endpoints"] for o in after] == [o["endpoints"] for o in before]
        assert [o["metadata"]["generation"] for o in after] == [o["metadata"]["generation"] for o in before]
        await merge(running, {"metadata": {"annotations": {"a": "b"}}})
        assert slices(running) == after, "nothing of the slices changed, so none is written"

    run(work)


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {}])
def test_headless_ones_say_so(run: Any, spec: dict[str, Any]) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, service(**spec))
        (found,) = slices(running)
        assert ("service.kubernetes.io/headless" in found["metadata"]["labels"]) is bool(spec)

    run(work)


@pytest.mark.embedded("an older store")
def test_a_store_of_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """Slices without labels, Services without slices, a user's slice with the mark that is ours now."""
    mirrors = "endpointslicemirroring-controller.k8s.io"

    async def before() -> list[dict[str, Any]]:
        async with started(tmp_path) as running:
            await create(running, SERVICE, service(labels={"tier": "front"}))
            await create(running, SERVICE, service("db", labels={"tier": "back"}))
            await create(running, POD, pod("p", "10.1.0.1"))
            await create(running, ENDPOINTSLICE, endpoint_slice("own", "web", "10.9.0.1"))
            return slices(running)

    found = {o["metadata"]["name"]: o for o in asyncio.run(before())}
    store = open_store(tmp_path, "writer")
    with store.env.begin(write=True) as txn:
        for name, obj in found.items():
            key = object_key(ENDPOINTSLICE, "default", name)
            labels = obj["metadata"]["labels"]
            if labels["kubernetes.io/service-name"] == "db":
                txn.delete(key, db=store.tables.objects)
                txn.delete(f"default\0db\0{name}\0".encode(), db=store.tables.slices)
                continue
            labels.pop("tier", None)
            if name == "own":
                labels["endpointslice.kubernetes.io/managed-by"] = mirrors
            txn.put(key, encode(obj), db=store.tables.objects)
        txn.put(stored_objects._MADE_BY, (1).to_bytes(4), db=store.tables.meta)
    store.close()

    async def after() -> None:
        async with started(tmp_path) as running:
            labels = [(o["metadata"]["labels"], o["metadata"]["creationTimestamp"]) for o in slices(running)]
            assert sorted(found["kubernetes.io/service-name"] for found, _ in labels) == ["db", "web", "web"]
            assert sorted(found.get("tier", "") for found, _ in labels) == ["", "back", "front"]
            assert all(created for _, created in labels)
            assert mirrors not in [value for found, _ in labels for value in found.values()]
            await running.registry.delete(ENDPOINTSLICE, "default", "own", DeleteOptions())

    asyncio.run(after())
