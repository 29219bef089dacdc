"""Writes of Endpoints and their Services to a registry, and what is read of them then."""

from __future__ import annotations

import json
from typing import Any

import pytest
from toolbox.registry_harness import RegistryHarness

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, Kind
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions, Written

OPTIONS = WriteOptions(field_manager="tests")
NAME = "web.default.svc.cluster.local."
HEADLESS = {"clusterIP": "None"}
MIRRORS = "endpointslicemirroring-controller.k8s.io"


async def create(running: RegistryHarness, kind: Kind, body: Any) -> Written:
    return await running.registry.create(kind, "default", body, OPTIONS)


async def merge(running: RegistryHarness, kind: Kind, body: Any) -> Written:
    return await running.registry.patch(kind, "default", "web", Patch("merge", body), OPTIONS)


async def delete(running: RegistryHarness, kind: Kind, **options: Any) -> Written:
    return await running.registry.delete(kind, "default", "web", DeleteOptions(**options))


def slices(running: RegistryHarness) -> list[dict[str, Any]]:
    page = running.registry.page(ENDPOINTSLICE, "default", Selection())
    return [json.loads(octets) for octets in page.items]


def shown(running: RegistryHarness) -> dict[str, Any] | None:
    """The Endpoints of `web` as a client reads them."""
    try:
        found: dict[str, Any] = json.loads(running.registry.get(ENDPOINTS, "default", "web"))
    except StatusError as missing:
        assert missing.code == 404
        return None
    return found


async def refused(write: Any, code: int, *texts: str) -> None:
    with pytest.raises(StatusError) as caught:
        await write
    assert caught.value.code == code
    assert all(text in caught.value.message for text in texts), caught.value.message
