"""A Pod that is deleted with a grace period leaves the answers at once, and goes when that is over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toolbox.builders import headless, namespace, pod
from toolbox.registry_harness import RegistryHarness, started
from toolbox.waiting import until

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, NAMESPACE, POD, SERVICE, Kind
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions

WRITE = WriteOptions()
NAME = "web.default.svc.cluster.local"


def grace(seconds: int) -> DeleteOptions:
    return DeleteOptions(grace_period_seconds=seconds)


def read(running: RegistryHarness, kind: Kind, name: str, place: str = "default") -> dict[str, Any] | None:
    try:
        return dict(json.loads(running.registry.get(kind, place, name)))
    except StatusError:
        return None


def endpoint_conditions(running: RegistryHarness) -> list[dict[str, Any]]:
    slices = running.registry.page(ENDPOINTSLICE, "default", Selection()).items
    return [endpoint["conditions"] for one in slices for endpoint in json.loads(one)["endpoints"]]


def ready(running: RegistryHarness) -> dict[str, Any]:
    found = read(running, POD, "web-1")
    assert found is not None
    return next(c for c in found["status"]["conditions"] if c["type"] == "Ready")


async def test_it_leaves_every_name_at_once_and_goes_after_its_grace_period(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        await registry.create(SERVICE, "default", headless("web"), WRITE)
        await registry.create(POD, "default", pod("web-1", "10.1.0.1", hostname="a", subdomain="web"), WRITE)
        assert running.rrs(f"_http._tcp.{NAME}", "SRV") and running.rrs("1.0.1.10.in-addr.arpa", "PTR")
        await registry.delete(POD, "default", "web-1", grace(2))
        for name in (NAME, f"a.{NAME}", f"_http._tcp.{NAME}", "1.0.1.10.in-addr.arpa"):
            assert running.row(name) is None, name
        assert endpoint_conditions(running) == [{"ready": False, "serving": True, "terminating": True}]
        assert (ready(running)["status"], ready(running)["reason"]) == ("False", "NotReadyByDeletion")
        why = registry.explain("web-1", "default")
        assert any(said.startswith("leaving: not ready") for said in why.sources)
        await until(lambda: read(running, POD, "web-1") is None)
        assert endpoint_conditions(running) == []


async def test_serving_follows_what_is_said_of_it_meanwhile(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        await registry.create(SERVICE, "default", headless("web"), WRITE)
        await registry.create(POD, "default", pod("web-1", "10.1.0.1"), WRITE)
        await registry.delete(POD, "default", "web-1", grace(3600))
        said = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        await registry.patch(POD, "default", "web-1", Patch("strategic", said), WRITE, "status")
        assert endpoint_conditions(running) == [{"ready": False, "serving": False, "terminating": True}]
        await registry.delete(POD, "default", "web-1", grace(0))
        assert read(running, POD, "web-1") is None, "without a grace period it goes at once"


async def test_a_restart_goes_on_with_it(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        await running.registry.create(POD, "default", pod("web-1", "10.1.0.1"), WRITE)
        await running.registry.create(POD, "default", pod("later", "10.1.0.2"), WRITE)
        await running.registry.delete(POD, "default", "web-1", grace(1))
        await running.registry.delete(POD, "default", "later", grace(3600))
    async with started(tmp_path / "data") as running:
        await until(lambda: read(running, POD, "web-1") is None)
        assert read(running, POD, "later") is not None


async def test_a_namespace_gives_its_pods_the_same_grace_period(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        await registry.create(NAMESPACE, "", namespace("shop"), WRITE)
        await registry.create(SERVICE, "shop", headless("web"), WRITE)
        for n in (1, 2):
            await registry.create(POD, "shop", pod(f"web-{n}", f"10.1.0.{n}"), WRITE)
        await registry.delete(NAMESPACE, "", "shop", grace(3600))
        assert running.row("web.shop.svc.cluster.local") is None
        found = read(running, POD, "web-1", "shop")
        assert found is not None and found["metadata"]["deletionGracePeriodSeconds"] == 3600
    async with started(tmp_path / "data") as running:
        await running.registry.delete(POD, "shop", "web-1", grace(0))
        assert read(running, NAMESPACE, "shop", "") is not None, "it waits for the other Pod"
        await running.registry.delete(POD, "shop", "web-2", grace(1))
        await until(lambda: read(running, NAMESPACE, "shop", "") is None)
        assert read(running, POD, "web-2", "shop") is None


async def test_a_namespace_goes_with_the_last_of_its_pods(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        await registry.create(NAMESPACE, "", namespace("shop"), WRITE)
        await registry.create(POD, "shop", pod("web-1", "10.1.0.1"), WRITE)
        await registry.delete(NAMESPACE, "", "shop", grace(1))
        assert read(running, POD, "web-1", "shop") is not None
        await until(lambda: read(running, NAMESPACE, "shop", "") is None)


async def test_a_namespace_that_is_deleted_again_without_one_goes_at_once(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        registry = running.registry
        await registry.create(NAMESPACE, "", namespace("shop"), WRITE)
        await registry.create(POD, "shop", pod("web-1", "10.1.0.1"), WRITE)
        await registry.delete(NAMESPACE, "", "shop", grace(3600))
        await registry.delete(NAMESPACE, "", "shop", DeleteOptions())
        await registry.delete(NAMESPACE, "", "shop", grace(7200))
        found = read(running, NAMESPACE, "shop", "")
        assert found is not None and found["metadata"]["deletionGracePeriodSeconds"] == 3600
        assert [c["type"] for c in found["status"]["conditions"]] == ["NamespaceContentRemaining"]
        await registry.delete(NAMESPACE, "", "shop", grace(0))
        await until(lambda: read(running, NAMESPACE, "shop", "") is None)
