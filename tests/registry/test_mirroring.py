"""Mirrored EndpointSlices: what is not mirrored, what is left as it is, and whose they are."""

from __future__ import annotations

from typing import Any

import pytest
from registry.writing_endpoints import (
    HEADLESS,
    MIRRORS,
    NAME,
    OPTIONS,
    create,
    merge,
    refused,
    shown,
    slices,
)
from toolbox.builders import endpoint_slice, endpoints, without_selector
from toolbox.registry_harness import RegistryHarness

from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, SERVICE
from svcdns.registry.requests import DeleteOptions, Patch, WriteOptions


@pytest.mark.parametrize(
    ("metadata", "mirrored"),
    [
        ({}, True),
        ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "false"}}, True),
        ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}, False),
        ({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}, False),
    ],
)
def test_endpoints_that_are_not_to_be_mirrored(run: Any, metadata: Any, mirrored: bool) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, without_selector(**HEADLESS))
        body = endpoints("web", "192.0.2.1")
        await create(running, ENDPOINTS, {**body, "metadata": {**body["metadata"], **metadata}})
        assert bool(slices(running)) is mirrored
        assert running.rrs(NAME, "A") == (["192.0.2.1"] if mirrored else [])

    run(work)


def test_what_is_unchanged_is_not_written(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
        body = endpoints("web", "192.0.2.1", "2001:db8::1", ports=ports[:1])
        await create(running, SERVICE, without_selector(**HEADLESS))
        await create(running, ENDPOINTS, body)
        before = {o["addressType"]: o for o in slices(running)}
        written = shown(running)
        await running.registry.replace(ENDPOINTS, "default", "web", body, OPTIONS)
        assert (shown(running), slices(running)) == (written, list(before.values()))
        more = [*body["subsets"], {"addresses": [{"ip": "192.0.2.2"}], "ports": ports[1:]}]
        await merge(running, ENDPOINTS, {"subsets": more})
        after = slices(running)
        assert [o for o in after if o["ports"][0]["port"] == 1] == list(before.values())
        await merge(running, ENDPOINTS, {"metadata": {"labels": {"x": "y"}}})
        assert {o["metadata"]["labels"].get("x") for o in slices(running)} == {"y"}

    run(work)


def test_too_many_addresses_are_told_in_an_event(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, without_selector(**HEADLESS))
        ips = [f"10.{i >> 8}.{i & 255}.1" for i in range(1001)]
        messages = []
        running.registry._committer._on_messages = messages.extend
        await create(running, ENDPOINTS, endpoints("web", *ips))
        (found,) = slices(running)
        assert len(found["endpoints"]) == 1000
        labels = [ip.replace(".", "-") for ip in ips]
        assert running.row(f"{labels[999]}.{NAME}") and not running.row(f"{labels[1000]}.{NAME}")
        assert len((shown(running) or {})["subsets"][0]["addresses"]) == 1001
        told = [m for m in messages if m.reason == "TooManyAddressesToMirror"]
        assert [(m.subject.kind, "1 addresses were skipped" in m.text) for m in told] == [("Endpoints", True)]

    run(work)


def test_a_view_holds_a_thousand_addresses(run: Any) -> None:
    """Ready ones first; as in Kubernetes, an annotation says that there are more."""

    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, without_selector(**HEADLESS))
        many = [
            {"addresses": [f"10.0.{i >> 8}.{i & 255}"], "conditions": {"ready": i > 400}} for i in range(900)
        ]
        for name in ("one", "two"):
            await create(
                running, ENDPOINTSLICE, endpoint_slice(name, "web", endpoints=many, addressType="IPv4")
            )
        view = shown(running) or {}
        assert view["metadata"]["annotations"] == {"endpoints.kubernetes.io/over-capacity": "truncated"}
        assert sum(len(s.get("addresses", [])) for s in view["subsets"]) == 998
        assert sum(len(s.get("notReadyAddresses", [])) for s in view["subsets"]) == 2

    run(work)


def test_a_mirrored_slice_is_not_for_clients(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        await create(running, SERVICE, without_selector())
        await create(running, ENDPOINTS, endpoints("web", "192.0.2.1"))
        (found,) = slices(running)
        name = found["metadata"]["name"]
        patch = registry.patch(ENDPOINTSLICE, "default", name, Patch("merge", {"endpoints": []}), OPTIONS)
        await refused(patch, 403, "generated from Endpoints")
        await refused(registry.delete(ENDPOINTSLICE, "default", name, DeleteOptions()), 403, "from Endpoints")
        own = endpoint_slice("own", "web", "10.9.0.1")
        own["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = MIRRORS
        await refused(create(running, ENDPOINTSLICE, own), 403, "without the label")

    run(work)


def test_they_are_there_after_a_restart(run: Any) -> None:
    async def before(running: RegistryHarness) -> Any:
        await create(running, SERVICE, without_selector(**HEADLESS))
        await create(running, ENDPOINTS, endpoints("web", "192.0.2.1"))
        return shown(running), slices(running)

    async def after(running: RegistryHarness) -> Any:
        found = shown(running), slices(running)
        await merge(running, ENDPOINTS, {"subsets": [{"addresses": [{"ip": "192.0.2.2"}]}]})
        assert running.rrs(NAME, "A") == ["192.0.2.2"]
        return found

    assert run(before) == run(after)


def test_a_dry_run_leaves_no_slice(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, without_selector(**HEADLESS))
        dry = WriteOptions(dry_run=True)
        await running.registry.create(ENDPOINTS, "default", endpoints("web", "192.0.2.1"), dry)
        assert (shown(running), slices(running), running.row(NAME)) == (None, [], None)

    run(work)
