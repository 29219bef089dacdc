"""A watch of Endpoints, stored ones and views: one object a name, and events that fit what was shown."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from toolbox.builders import endpoint_slice, endpoints, pod, service, without_selector
from toolbox.registry_harness import RegistryHarness, each_event
from toolbox.waiting import GUARD_SECONDS

from svcdns.objects.errors import StatusError
from svcdns.objects.field_selectors import FieldSelector
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, NAMESPACE, POD, SERVICE
from svcdns.objects.selectors import LabelSelector
from svcdns.registry.endpoints_watch import MOST_NAMES
from svcdns.registry.registry import Registry
from svcdns.registry.requests import DeleteOptions, Event, Patch, Selection, WriteOptions
from svcdns.registry.transaction import decode

OPTIONS = WriteOptions()


async def take(events: AsyncIterator[Event], count: int) -> list[tuple[str, str, list[str]]]:
    """Return the next events as (type, name, addresses)."""
    found = []
    for _ in range(count):
        event = await asyncio.wait_for(anext(events), GUARD_SECONDS)
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
            event = await asyncio.wait_for(anext(events), GUARD_SECONDS)
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
        told = [await asyncio.wait_for(anext(events), GUARD_SECONDS) for _ in range(2)]
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
    """More than are made in one go."""

    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        start = registry.page(ENDPOINTS, "", Selection()).revision
        count = 3 * MOST_NAMES + 1
        for number in range(count):
            await registry.create(SERVICE, "default", service(f"s{number:02}"), OPTIONS)
        events = each_event(registry.watch(ENDPOINTS, "default", Selection(), start))
        seen = await take(events, count)
        assert [(type_, name) for type_, name, _ in seen] == [("ADDED", f"s{n:02}") for n in range(count)]

    run(work)


async def change(registry: Registry, *selector: str) -> None:
    patch = Patch("merge", {"spec": {"selector": {"app": selector[0]} if selector else None}})
    await registry.patch(SERVICE, "default", "web", patch, OPTIONS)


def test_the_life_of_endpoints_that_are_stored(run: Any) -> None:
    async def work(running: RegistryHarness) -> list[tuple[str, str, list[str]]]:
        registry = running.registry
        events = following(registry)
        seen = []
        await registry.create(SERVICE, "default", without_selector(), OPTIONS)
        await registry.create(ENDPOINTS, "default", endpoints("web", "192.0.2.1"), OPTIONS)
        seen += await take(events, 1)
        await registry.replace(ENDPOINTS, "default", "web", endpoints("web", "192.0.2.2"), OPTIONS)
        seen += await take(events, 1)
        await label(registry, tier="front")  # of the Service: nothing of the Endpoints changes
        await registry.create(ENDPOINTS, "default", endpoints("zz", "192.0.2.3"), OPTIONS)
        seen += await take(events, 1)
        await registry.delete(ENDPOINTS, "default", "web", DeleteOptions())
        return seen + await take(events, 1)

    assert run(work) == [
        ("ADDED", "web", ["192.0.2.1"]),
        ("MODIFIED", "web", ["192.0.2.2"]),
        ("ADDED", "zz", ["192.0.2.3"]),
        ("DELETED", "web", ["192.0.2.2"]),
    ]


def test_a_view_gives_way_and_comes_back(run: Any) -> None:
    """By a selector, by slices of the user's own: each time another object, so DELETED and ADDED."""

    async def work(running: RegistryHarness) -> list[list[tuple[str, str, list[str]]]]:
        registry = running.registry
        await registry.create(SERVICE, "default", service(), OPTIONS)
        await registry.create(POD, "default", pod("p1", "10.1.0.1"), OPTIONS)
        events = following(registry)
        seen = []
        await change(registry)
        seen.append(await take(events, 1))
        await registry.create(ENDPOINTS, "default", endpoints("web", "192.0.2.1"), OPTIONS)
        seen.append(await take(events, 1))
        await change(registry, "web")
        seen.append(await take(events, 2))
        await change(registry)
        seen.append(await take(events, 2))
        await registry.create(
            ENDPOINTSLICE, "default", endpoint_slice("own", "web", "10.9.0.1"), OPTIONS
        )  # nothing of what is shown
        await registry.delete(ENDPOINTS, "default", "web", DeleteOptions())
        seen.append(await take(events, 2))
        await registry.delete(ENDPOINTSLICE, "default", "own", DeleteOptions())
        seen.append(await take(events, 1))
        return seen

    assert run(work) == [
        [("DELETED", "web", [])],
        [("ADDED", "web", ["192.0.2.1"])],
        [("DELETED", "web", ["192.0.2.1"]), ("ADDED", "web", ["10.1.0.1"])],
        [("DELETED", "web", []), ("ADDED", "web", ["192.0.2.1"])],
        [("DELETED", "web", ["192.0.2.1"]), ("ADDED", "web", ["10.9.0.1"])],
        [("DELETED", "web", [])],
    ]


async def any_change(registry: Registry, rng: random.Random) -> None:
    name = rng.choice(["web", "db"])
    labels = {"tier": rng.choice(["front", "back"])}
    kind, stored_as, body = rng.choice(
        [
            (SERVICE, name, service(name, labels=labels)),
            (SERVICE, name, service(name, clusterIP="None")),
            (SERVICE, name, without_selector(name, labels=labels)),
            (ENDPOINTS, name, endpoints(name, "192.0.2.1", labels=labels)),
            (ENDPOINTS, name, endpoints(name, "192.0.2.2")),
            (ENDPOINTSLICE, "own", endpoint_slice("own", name, "10.9.0.1")),
            (POD, name, pod(name, "10.1.0.1", name)),
        ]
    )
    if rng.random() < 0.4:
        await registry.delete(kind, "default", stored_as, DeleteOptions())
        return
    try:
        await registry.create(kind, "default", body, OPTIONS)
    except StatusError:
        await registry.replace(kind, "default", stored_as, body, OPTIONS)


def told(shown: dict[str, dict[str, Any]], event: Event) -> None:
    """Bring what a watcher has to what an event says, which must fit."""
    obj = decode(event.object)
    metadata = obj["metadata"]
    known = shown.get(metadata["name"])
    assert (known is None) is (event.type == "ADDED"), (event, known)
    assert known is None or known["metadata"]["uid"] == metadata["uid"]
    if event.type == "DELETED":
        del shown[metadata["name"]]
    else:
        shown[metadata["name"]] = obj


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("selector", ["", "tier=front"])
def test_a_watch_from_any_revision_ends_with_what_a_list_shows(run: Any, seed: int, selector: str) -> None:
    """Whatever was written meanwhile: every event fits, and nothing is missing or too many."""

    async def work(running: RegistryHarness) -> None:
        registry, rng = running.registry, random.Random(seed)
        selection = Selection(LabelSelector.parse(selector)) if selector else Selection()
        moments = []
        for _ in range(40):
            page = registry.page(ENDPOINTS, "default", selection)
            moments.append((page.revision, {o["metadata"]["name"]: o for o in map(decode, page.items)}))
            try:
                await any_change(registry, rng)
            except StatusError:
                continue
        last = registry.page(ENDPOINTS, "default", selection)
        await registry.create(SERVICE, "default", service("zz", labels={"tier": "front"}), OPTIONS)
        for revision, shown in moments:
            async for event in each_event(registry.watch(ENDPOINTS, "default", selection, revision)):
                if decode(event.object)["metadata"]["name"] == "zz":
                    break
                told(shown, event)
            assert without_revision(shown.values()) == without_revision(map(decode, last.items))

    run(work)


def without_revision(objects: Any) -> list[Any]:
    """Objects by name; a view's revision is that of the last change, whatever it was."""
    found = sorted(objects, key=lambda obj: str(obj["metadata"]["name"]))
    return [
        {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}
        for obj in found
    ]
