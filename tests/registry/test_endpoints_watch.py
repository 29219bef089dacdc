"""A watch of Endpoints, which nobody stores: its events follow from Services and EndpointSlices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from toolbox.builders import pod, service
from toolbox.registry_harness import RegistryHarness, each_event

from svcdns.objects.field_selectors import FieldSelector
from svcdns.objects.kinds import ENDPOINTS, NAMESPACE, POD, SERVICE
from svcdns.objects.selectors import LabelSelector
from svcdns.registry.endpoints_watch import MOST_SERVICES
from svcdns.registry.registry import Registry
from svcdns.registry.requests import DeleteOptions, Event, Patch, Selection, WriteOptions
from svcdns.registry.transaction import decode

OPTIONS = WriteOptions()


async def take(events: AsyncIterator[Event], count: int) -> list[tuple[str, str, list[str]]]:
    """Return the next events as (type, name, addresses)."""
    found = []
    for _ in range(count):
        event = await asyncio.wait_for(anext(events), 30)
        obj = decode(event.object or b'{"metadata":{}}')  # a bookmark has none
        ips = [a["ip"] for subset in obj.get("subsets", []) for a in subset.get("addresses", [])]
        found.append((event.type, obj["metadata"].get("name", ""), ips))
    return found


def following(registry: Registry, selection: Selection | None = None, **more: Any) -> AsyncIterator[Event]:
    after = registry.page(ENDPOINTS, "", Selection()).revision if not more else None
    return each_event(registry.watch(ENDPOINTS, "default", selection or Selection(), after, **more))


async def label(registry: Registry, **labels: str | None) -> None:
    patch = Patch("merge", {"metadata": {"labels": labels}})
    await registry.patch(SERVICE, "default", "web", patch, OPTIONS)


def test_the_life_of_endpoints(run: Any) -> None:
    async def work(running: RegistryHarness) -> list[list[tuple[str, str, list[str]]]]:
        registry = running.registry
        events = following(registry)
        seen = []
        await registry.create(SERVICE, "default", service(), OPTIONS)
        seen.append(await take(events, 1))
        await registry.create(POD, "default", pod("p1", "10.1.0.1"), OPTIONS)
        seen.append(await take(events, 1))
        await registry.delete(POD, "default", "p1", DeleteOptions())
        seen.append(await take(events, 1))
        await registry.delete(SERVICE, "default", "web", DeleteOptions())
        seen.append(await take(events, 1))
        return seen

    assert run(work) == [
        [("ADDED", "web", [])],
        [("MODIFIED", "web", ["10.1.0.1"])],
        [("MODIFIED", "web", [])],
        [("DELETED", "web", [])],
    ]


def test_revisions_go_up_though_slices_go(run: Any) -> None:
    async def work(running: RegistryHarness) -> list[int]:
        registry = running.registry
        await registry.create(SERVICE, "default", service(), OPTIONS)
        events = following(registry)
        revisions = []
        for number in range(3):
            await registry.create(POD, "default", pod("p", f"10.1.0.{number}"), OPTIONS)
            await registry.delete(POD, "default", "p", DeleteOptions())
            event = await asyncio.wait_for(anext(events), 30)
            revisions.append(int(decode(event.object)["metadata"]["resourceVersion"]))
        return revisions

    revisions = run(work)
    assert revisions == sorted(set(revisions))


def test_a_service_that_comes_again_is_another(run: Any) -> None:
    """Deleted and created before the watcher looks: both are told, of the right uids."""

    async def work(running: RegistryHarness) -> tuple[list[str], list[str], list[str]]:
        registry = running.registry
        first = await registry.create(SERVICE, "default", service(), OPTIONS)
        events = following(registry)
        await registry.delete(SERVICE, "default", "web", DeleteOptions())
        second = await registry.create(SERVICE, "default", service(), OPTIONS)
        told = [await asyncio.wait_for(anext(events), 30) for _ in range(2)]
        uids = [decode(event.object)["metadata"]["uid"] for event in told]
        return (
            [event.type for event in told],
            uids,
            [decode(written.object)["metadata"]["uid"] for written in (first, second)],
        )

    types, uids, wanted = run(work)
    assert (types, uids) == (["DELETED", "ADDED"], wanted)


@pytest.mark.parametrize("text", ["tier=front", "tier in (front,side),kubernetes.io/service-name=web"])
def test_entering_and_leaving_a_selection(run: Any, text: str) -> None:
    async def work(running: RegistryHarness) -> list[tuple[str, str, list[str]]]:
        registry = running.registry
        await registry.create(SERVICE, "default", service(), OPTIONS)
        events = following(registry, Selection(LabelSelector.parse(text)))
        seen = []
        for tier in ("front", None):
            await label(registry, tier=tier)
            seen += await take(events, 1)
        return seen

    assert run(work) == [("ADDED", "web", []), ("DELETED", "web", [])]


def test_one_by_name(run: Any) -> None:
    async def work(running: RegistryHarness) -> list[tuple[str, str, list[str]]]:
        registry = running.registry
        events = following(registry, Selection(None, FieldSelector.parse("metadata.name=db", ENDPOINTS)))
        for name in ("web", "db"):
            await registry.create(SERVICE, "default", service(name), OPTIONS)
        return await take(events, 1)

    assert run(work) == [("ADDED", "db", [])]


def test_other_namespaces_are_not_seen(run: Any) -> None:
    async def work(running: RegistryHarness) -> list[tuple[str, str, list[str]]]:
        registry = running.registry
        await registry.create(NAMESPACE, "", {"metadata": {"name": "other"}}, OPTIONS)
        events = following(registry)
        await registry.create(SERVICE, "other", service("theirs"), OPTIONS)
        await registry.create(SERVICE, "default", service("ours"), OPTIONS)
        return await take(events, 1)

    assert run(work) == [("ADDED", "ours", [])]


def test_what_is_there_comes_first_as_a_stream(run: Any) -> None:
    async def work(running: RegistryHarness) -> list[tuple[str, str, list[str]]]:
        registry = running.registry
        await registry.create(SERVICE, "default", service(), OPTIONS)
        events = following(registry, initial_events=True)
        seen = await take(events, 2)
        await registry.create(POD, "default", pod("p1", "10.1.0.1"), OPTIONS)
        return seen + await take(events, 1)

    assert run(work) == [("ADDED", "web", []), ("BOOKMARK", "", []), ("MODIFIED", "web", ["10.1.0.1"])]


def test_changes_of_many_services_all_come(run: Any) -> None:
    """More than are looked at in one go."""

    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        start = registry.page(ENDPOINTS, "", Selection()).revision
        count = 3 * MOST_SERVICES + 1
        for number in range(count):
            await registry.create(SERVICE, "default", service(f"s{number:02}"), OPTIONS)
        events = each_event(registry.watch(ENDPOINTS, "default", Selection(), start))
        seen = await take(events, count)
        assert [(type_, name) for type_, name, _ in seen] == [("ADDED", f"s{n:02}") for n in range(count)]
        batches = registry.watch(ENDPOINTS, "default", Selection(), start)
        assert len((await anext(batches)).events) == MOST_SERVICES

    run(work)
