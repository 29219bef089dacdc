"""Endpoints in manifests: applied after their Service, and refused where its Pods are its endpoints."""

import json
from pathlib import Path

import pytest
from manifests.written import reading
from toolbox.builders import endpoint_slice, endpoints, service, without_selector
from toolbox.registry_harness import started

from svcdns.manifests.manifests import Applied, NotApplied, apply_manifests
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE
from svcdns.registry.requests import WriteOptions

NAME = "legacy.default.svc.cluster.local"


async def test_they_are_applied_and_answer(tmp_path: Path) -> None:
    legacy = without_selector("legacy", clusterIP="None")
    async with started(tmp_path / "data") as running:
        manifests = reading(tmp_path, endpoints("legacy", "192.0.2.1"), legacy)
        assert await apply_manifests(running.registry, manifests) == Applied(2, 0, 0)
        assert await apply_manifests(running.registry, manifests) == Applied(0, 0, 2)
        assert running.rrs(NAME, "A") == ["192.0.2.1"]
        changed = reading(tmp_path, endpoints("legacy", "192.0.2.2"))
        assert await apply_manifests(running.registry, changed) == Applied(0, 1, 0)
        assert running.rrs(NAME, "A") == ["192.0.2.2"]


async def test_beside_slices_of_the_users_own(tmp_path: Path) -> None:
    """What a name shows of such slices is no object that a manifest could change: one is made."""
    async with started(tmp_path / "data") as running:
        legacy = without_selector("legacy", clusterIP="None")
        await apply_manifests(running.registry, reading(tmp_path, legacy))
        own = endpoint_slice("own", "legacy", "10.9.0.1")
        await running.registry.create(ENDPOINTSLICE, "default", own, WriteOptions())
        await apply_manifests(running.registry, reading(tmp_path, endpoints("legacy", "192.0.2.1")))
        assert running.rrs(NAME, "A") == ["10.9.0.1", "192.0.2.1"]
        found = json.loads(running.registry.get(ENDPOINTS, "default", "legacy"))
        assert found["subsets"][0]["addresses"] == [{"ip": "192.0.2.1"}]


async def test_a_selector_keeps_them_out(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        both = reading(tmp_path, service("legacy"), endpoints("legacy", "192.0.2.1"))
        with pytest.raises(NotApplied, match="register Pods, or take the selector away"):
            await apply_manifests(running.registry, both, strict=True)


async def test_wrong_ones_are_named_before_anything_is_applied(tmp_path: Path) -> None:
    async with started(tmp_path / "data") as running:
        both = reading(tmp_path, without_selector("legacy"), endpoints("legacy", "1.2.3"))
        with pytest.raises(NotApplied) as refused:
            await apply_manifests(running.registry, both, strict=True)
        (one,) = refused.value.not_taken
        assert (one.place.document, one.place.prefix) == (2, "subsets[0].addresses[0].ip")
        assert running.row(NAME) is None
