"""Objects of an older svcdns are read, at the first start, as today's rules would have taken them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from toolbox.registry_harness import started

from svcdns.config.sections import Config
from svcdns.objects.kinds import ENDPOINTS, POD, SERVICE, Kind
from svcdns.registry import stored_objects
from svcdns.registry.requests import Selection, WriteOptions
from svcdns.registry.transaction import decode, encode, object_key
from svcdns.store.environment import open_store

META = {
    "namespace": "default",
    "uid": "u",
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "resourceVersion": "7",
}


def pod(name: str, spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **META},
        "spec": spec,
        "status": status,
    }


def put(folder: Path, kind: Kind, obj: dict[str, Any]) -> None:
    """Store an object as an older version did: no questions asked, no mark of who made it."""
    store = open_store(folder, "writer")
    with store.env.begin(write=True) as txn:
        metadata = obj["metadata"]
        txn.put(
            object_key(kind, metadata["namespace"], metadata["name"]), encode(obj), db=store.tables.objects
        )
        txn.delete(stored_objects._MADE_BY, db=store.tables.meta)
    store.close()


def read(folder: Path, kind: Kind, name: str) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        async with started(folder, Config()) as running:
            return decode(running.registry.get(kind, "default", name))  # type: ignore[no-any-return]

    return asyncio.run(main())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    async def main() -> None:
        async with started(tmp_path / "data", Config()):
            pass

    asyncio.run(main())
    return tmp_path / "data"


@pytest.mark.embedded("an older store")
def test_unreadable_values_go_and_defaults_come(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = {"containers": [{"name": "a", "resources": {"requests": {"cpu": "abc", "memory": 1024}}}]}
    put(folder, POD, pod("web", spec, {"phase": "Running", "startTime": "2026-06-30T23:59:60Z"}))
    with caplog.at_level(logging.WARNING):
        found = read(folder, POD, "web")
    assert found["spec"]["containers"][0]["resources"] == {"requests": {"memory": "1024"}}
    assert found["spec"]["schedulerName"] == "default-scheduler"
    assert "startTime" not in found["status"]
    assert int(found["metadata"]["resourceVersion"]) > 0 and found["metadata"]["uid"] == "u"
    [line] = [record.getMessage() for record in caplog.records if "older svcdns" in record.getMessage()]
    assert "Pod default/web" in line
    assert '"abc"' in line and "23:59:60" in line


@pytest.mark.embedded("an older store")
def test_what_is_wrong_and_readable_is_named_and_kept(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(folder, POD, pod("web", {"hostAliases": [{"ip": "x"}], "containers": [{"name": "a"}]}, {}))
    with caplog.at_level(logging.WARNING):
        found = read(folder, POD, "web")
    assert found["spec"]["hostAliases"] == [{"ip": "x"}]
    assert "spec.hostAliases[0].ip" in caplog.text


def test_it_is_done_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(folder, POD, pod("web", {"containers": [{"name": "a"}]}, {}))
    first = read(folder, POD, "web")
    assert read(folder, POD, "web") == first


@pytest.mark.embedded("an older store")
def test_more_than_a_step_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_objects, "CHUNK", 2)
    for i in range(5):
        put(folder, POD, pod(f"web-{i}", {}, {"podIP": f"10.1.0.{i}", "podIPs": [{"ip": f"10.1.0.{i}"}]}))

    async def main() -> list[dict[str, Any]]:
        async with started(folder, Config()) as running:
            return [decode(octets) for octets in running.registry.page(POD, "", Selection()).items]

    found = asyncio.run(main())
    assert [obj["spec"]["containers"][0]["name"] for obj in found] == ["registered"] * 5


def test_a_service_without_anything_wrong_keeps_its_revision(folder: Path) -> None:
    async def main() -> bytes:
        async with started(folder, Config()) as running:
            body = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
            written = await running.registry.create(SERVICE, "default", body, WriteOptions())
            return written.object

    stored = decode(asyncio.run(main()))
    put(folder, SERVICE, stored)
    assert read(folder, SERVICE, "web") == stored


@pytest.mark.embedded("an older store")
def test_pods_stay_as_ready_as_they_were(folder: Path) -> None:
    """A Ready that a client gave becomes its report; what was assumed stays so; answers are the same."""
    since = "2026-01-01T00:00:00Z"

    def old(name: str, number: int, gates: bool = False, **ready: str) -> dict[str, Any]:
        conditions = [{"type": "Ready", "lastTransitionTime": since, **ready}] if ready else []
        ip = f"10.1.0.{number}"
        status = {"podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}
        spec = {"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "lb"}] if gates else []}
        made = pod(name, spec, status)
        return {**made, "metadata": {**made["metadata"], "uid": name, "labels": {"app": "web"}}}

    async def service() -> None:
        async with started(folder, Config()) as running:
            body = {"metadata": {"name": "web"}, "spec": {"clusterIP": "None", "selector": {"app": "web"}}}
            await running.registry.create(SERVICE, "default", body, WriteOptions())

    asyncio.run(service())
    for made in (
        old("said", 1, status="True", reason="Kubelet"),
        old("not", 2, status="False"),
        old("gated", 3, gates=True, status="True"),
        old("waiting", 4, gates=True, status="False", reason="ReadinessGatesNotReady"),
        old("assumed", 5, status="True", reason="AssumedReady"),
    ):
        put(folder, POD, made)

    async def found() -> tuple[dict[str, Any], list[str]]:
        async with started(folder, Config()) as running:
            pods = [decode(octets) for octets in running.registry.page(POD, "", Selection()).items]
            shown = {one["metadata"]["name"]: one["status"]["conditions"] for one in pods}
            return shown, running.rrs("web.default.svc.cluster.local", "A")

    shown, answers = asyncio.run(found())
    kept = {name: [c["type"] for c in conditions] for name, conditions in shown.items()}
    reported = ["Ready", "ContainersReady", "svcdns.io/Reported"]
    assert kept == {
        "said": reported,
        "not": reported,
        "gated": ["Ready", "ContainersReady", "lb", "svcdns.io/Reported"],
        "waiting": ["Ready", "ContainersReady"],
        "assumed": ["Ready", "ContainersReady"],
    }
    assert {name: conditions[0]["status"] for name, conditions in shown.items()} == {
        "said": "True",
        "not": "False",
        "gated": "True",
        "waiting": "False",
        "assumed": "True",
    }
    assert {conditions[0]["lastTransitionTime"] for conditions in shown.values()} == {since}
    assert shown["said"][0]["reason"] == "Kubelet"
    assert answers == ["10.1.0.1", "10.1.0.3", "10.1.0.5"]
    assert asyncio.run(found())[0] == shown, "once is enough"


@pytest.mark.embedded("an older store")
def test_endpoints_that_no_slice_mirrors_are_mirrored(folder: Path) -> None:
    metadata = {"name": "db", **META}
    ports = {"ports": [{"port": 5432, "protocol": "TCP", "targetPort": 5432}]}
    spec = {**ports, "clusterIP": "None", "clusterIPs": ["None"], "ipFamilies": ["IPv4"]}
    subsets = [{"addresses": [{"ip": "10.9.0.1"}], "ports": [{"port": 5432, "protocol": "TCP"}]}]
    put(folder, SERVICE, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    put(
        folder, ENDPOINTS, {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}
    )

    async def main() -> list[str]:
        async with started(folder, Config()) as running:
            return running.rrs("db.default.svc.cluster.local", "A")

    assert asyncio.run(main()) == ["10.9.0.1"]
