"""Whatever is written in whatever order: the answers kept in step equal those made from nothing.

The strongest check of the write path.  Random writes go through a real registry; then all answers are
built anew from the objects alone, as after a change of settings, and both tables must be the same.
"""

from __future__ import annotations

import asyncio
import json
import random
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from toolbox.random_objects import NAMESPACES, PODS, SERVICES, any_endpoints, any_pod, any_service, any_slice
from toolbox.registry_harness import RegistryHarness, started

from svcdns.cluster.endpoints import is_generated, is_mirrored, selector_of
from svcdns.cluster.mirroring import SKIP_LABEL, mirrored
from svcdns.config.sections import Config, DnsConfig, ServicesConfig
from svcdns.names import row_parts
from svcdns.names.packed import APEX
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, NAMESPACE, POD, SERVICE
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions
from svcdns.registry.transaction import joined
from svcdns.store.environment import open_store
from svcdns.store.snapshot import Snapshots

WRITE = WriteOptions()


async def one_write(registry: Any, rng: random.Random) -> None:
    namespace = rng.choice(NAMESPACES)
    kind, names, make = rng.choice(
        [
            (SERVICE, SERVICES, any_service),
            (POD, PODS, any_pod),
            (POD, PODS, any_pod),
            (ENDPOINTSLICE, ["s0", "s1"], any_slice),
            (ENDPOINTS, SERVICES, any_endpoints),
        ]
    )
    name = rng.choice(names)
    dice = rng.random()
    if dice < 0.05:
        labels = {"metadata": {"name": namespace, "labels": {"dns": rng.choice(["yes", "no"])}}}
        try:
            await registry.create(NAMESPACE, "", labels, WRITE)
        except StatusError:
            await registry.patch(NAMESPACE, "", namespace, Patch("merge", labels), WRITE)
    elif dice < 0.08 and namespace != "default":
        await registry.delete(NAMESPACE, "", namespace, DeleteOptions())
    elif dice < 0.2:
        grace = rng.choice([None, 3600]) if kind is POD else None
        await registry.delete(kind, namespace, name, DeleteOptions(grace_period_seconds=grace))
    elif dice < 0.35 and kind is POD:
        status = {"status": {"conditions": [{"type": "Ready", "status": rng.choice(["True", "False"])}]}}
        await registry.patch(POD, namespace, name, Patch("merge", status), WRITE, "status")
    else:
        body = make(rng, name)
        try:
            await registry.create(kind, namespace, body, WRITE)
        except StatusError:
            await registry.replace(kind, namespace, name, body, WRITE)


def answers(folder: Path) -> tuple[str, dict[bytes, bytes]]:
    store = open_store(folder, "reader")
    try:
        snapshot = Snapshots(store).begin()
        with snapshot.txn as txn:
            rows = {bytes(k): bytes(v) for k, v in txn.cursor(db=snapshot.answers) if not v[0] & APEX}
        assert snapshot.serving is not None
        return snapshot.serving.table, rows
    finally:
        store.close()


CONFIGS = {
    "plain": DnsConfig(),
    "empty hidden": DnsConfig(ignore_empty_service=True),
    "aliases": DnsConfig(alias_zones=("home.arpa",), namespace_labels="dns!=no"),
    "pod names": DnsConfig(endpoint_pod_names=True, namespace_labels="dns!=no"),
}


@pytest.mark.parametrize("which", CONFIGS)
@pytest.mark.parametrize("seed", range(6))
def test_answers_kept_in_step_equal_those_made_from_nothing(
    tmp_path: Path, which: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:  # rows in parts, which else take hundreds of endpoints
        monkeypatch.setattr(row_parts, "WHOLE", 2)
        monkeypatch.setattr(row_parts, "LEAF", 1)
    ranges = (ip_network("10.96.0.0/24"), ip_network("fd00:96::/120"))
    config = Config(dns=CONFIGS[which], services=ServicesConfig(cluster_ip_ranges=ranges))
    rng = random.Random(seed)

    async def write() -> tuple[int, list[bytes]]:
        async with started(tmp_path, config) as running:
            done = 0
            for _ in range(150):
                burst = [one_write(running.registry, rng) for _ in range(rng.choice([1, 1, 5]))]
                results = await asyncio.gather(*burst, return_exceptions=True)
                unexpected = [
                    r for r in results if isinstance(r, Exception) and not isinstance(r, StatusError)
                ]
                assert not unexpected
                assert not [r for r in results if isinstance(r, StatusError) and r.code >= 500]
                done += sum(1 for r in results if r is None)
            check_slices(running)
            return done, running.registry.page(ENDPOINTSLICE, "", Selection()).items

    done, slices = asyncio.run(write())
    assert done > 100
    before, kept = answers(tmp_path)

    store = open_store(tmp_path, "writer")
    with store.env.begin(write=True) as txn:
        txn.delete(b"made by", db=store.tables.meta)
    store.close()

    async def again() -> list[bytes]:
        async with started(tmp_path, config) as running:
            return running.registry.page(ENDPOINTSLICE, "", Selection()).items

    assert asyncio.run(again()) == slices, "slices that are right are not written again"
    after, made = answers(tmp_path)
    assert after != before
    assert kept == made
    assert len(kept) >= 6


def check_slices(running: RegistryHarness) -> None:
    """The `slices` and `members` indexes say what the objects say."""
    store = running.registry.store
    objects = [json.loads(o) for o in running.registry.page(ENDPOINTSLICE, "", Selection()).items]
    expected = {
        joined(
            o["metadata"]["namespace"],
            o["metadata"]["labels"]["kubernetes.io/service-name"],
            o["metadata"]["name"],
        )
        for o in objects
    }
    members = {
        (o["metadata"]["namespace"], e["targetRef"]["name"], o["metadata"]["name"])
        for o in objects
        if is_generated(o) and not is_mirrored(o)
        for e in o["endpoints"]
    }
    check_contents(running, objects)
    with store.read() as txn:
        assert {bytes(k) for k, _ in txn.cursor(db=store.tables.slices)} == expected
        indexed = {
            (bytes(k).split(b"\0")[0].decode(), bytes(k).split(b"\0")[2].decode(), bytes(v).decode())
            for k, v in txn.cursor(db=store.tables.members)
        }
    assert indexed == members


def check_contents(running: RegistryHarness, slices: list[dict[str, Any]]) -> None:
    """Each Service with a selector has a slice of each family; others have what mirrors their Endpoints."""
    services, shown = (
        {where(o): o for o in map(json.loads, running.registry.page(kind, "", Selection()).items)}
        for kind in (SERVICE, ENDPOINTS)
    )
    views = {o["metadata"]["uid"] for o in services.values()}
    stored = {at: o for at, o in shown.items() if o["metadata"]["uid"] not in views}
    made: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for o in filter(is_generated, slices):
        at = (o["metadata"]["namespace"], o["metadata"]["labels"]["kubernetes.io/service-name"])
        made.setdefault(at, []).append(o)
    for at, service in services.items():
        found = made.pop(at, [])
        if selector_of(service) is not None:
            assert {o["addressType"] for o in found} == set(service["spec"]["ipFamilies"])
            assert all(o["endpoints"] or o["ports"] == [] for o in found)
            assert {o["metadata"]["labels"].get("team") for o in found} == {
                (service["metadata"].get("labels") or {}).get("team")
            }
        else:
            nothing: dict[str, Any] = {"metadata": {}}
            written = stored.get(at, nothing)
            skips = SKIP_LABEL in written["metadata"].get("labels", {})
            wanted = mirrored(nothing if skips else written).slices
            content = [{key: o[key] for key in ("addressType", "ports", "endpoints")} for o in found]
            assert sorted(content, key=str) == sorted(wanted, key=str)
    assert made == {}


def where(obj: dict[str, Any]) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]
