"""Objects of an older svcdns are read, at the first start, as today's rules would have taken them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from toolbox.registry_harness import started

from svcdns.config.sections import Config
from svcdns.objects.kinds import POD, SERVICE, Kind
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
