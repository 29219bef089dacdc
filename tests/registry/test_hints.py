"""Hints: what is written and has no answer yet is said at once, and as an Event where it stays so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from registry.recorded_events import WRITE, told, told_of, until
from toolbox import builders
from toolbox.builders import endpoint_slice, external, service, without_selector
from toolbox.registry_harness import RegistryHarness

from svcdns.config.sections import ApiConfig, Config
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, POD, SERVICE, Kind
from svcdns.registry import events, hints
from svcdns.registry.registry import Registry
from svcdns.registry.requests import DeleteOptions, Patch, WriteOptions
from svcdns.store import service_backing
from svcdns.store.environment import open_store

pytestmark = pytest.mark.usefixtures("at_once")
HINTS = {"NoPodMatches", "NoEndpoints", "NoAddress", "NoService"}


@pytest.fixture(autouse=True)
def held_until_that_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are held for as long as a test says (`end_the_hold`); every look is allowed."""
    monkeypatch.setattr(events, "HOLD_SECONDS", 3600.0)
    monkeypatch.setattr(hints, "PER_SECOND", 1000)


def end_the_hold(running: RegistryHarness) -> None:
    """Have the time be over of all Events that are held, or will be: what still lasts is told."""
    events.HOLD_SECONDS = 0.0  # the fixture has noted what it was
    recorder = running.registry._recorder
    for at, held in recorder._held.items():
        recorder._held[at] = held._replace(until=0.0)
    if recorder._holder is not None:
        recorder._holder.cancel()
        recorder._holder = None
    recorder._hold_on()


def pod(name: str, **labels: str) -> dict[str, Any]:
    made = builders.pod(name)
    return {**made, "metadata": {**made["metadata"], "labels": labels}}


def without_address(name: str, **labels: str) -> dict[str, Any]:
    return {**pod(name, **labels), "status": {}}


def selecting(name: str = "web", **selector: str) -> dict[str, Any]:
    return service(name, selector=selector)


async def create(running: RegistryHarness, kind: Kind, body: dict[str, Any]) -> tuple[str, ...]:
    return (await running.registry.create(kind, "default", body, WRITE)).warnings


async def merge(
    running: RegistryHarness, kind: Kind, name: str, change: dict[str, Any], subresource: str = ""
) -> tuple[str, ...]:
    patch = Patch("merge", change)
    return (await running.registry.patch(kind, "default", name, patch, WRITE, subresource)).warnings


def hinted(running: RegistryHarness) -> set[tuple[str, str, int]]:
    return {one for one in told(running) if one[0] in HINTS}


async def after_the_hold(running: RegistryHarness) -> set[tuple[str, str, int]]:
    """Return the hints that are Events once a later one is, which is held as long as they were."""
    await create(running, POD, without_address("last", last="one"))
    end_the_hold(running)
    await told_of(running, "involvedObject.name=last", "NoAddress")
    return {one for one in hinted(running) if "Pod last " not in one[1]}


def test_a_selector_that_matches_no_pod_is_said_at_once_and_as_an_event(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, POD, pod("y2-1", app="y3"))
        [warning] = await create(running, SERVICE, selecting("y2", app="y2"))
        assert warning == "Service y2: selector app=y2 matches no Pod yet; Pod y2-1 has app=y3"
        end_the_hold(running)
        found = await told_of(running, "involvedObject.name=y2", "NoPodMatches")
        assert ("NoPodMatches", "selector app=y2 matches no Pod; Pod y2-1 has app=y3", 1) in found

    run(work)


@pytest.mark.parametrize("labels", [{"app": "web"}, {"app": "web", "tier": "front"}])
def test_a_service_before_its_pods_is_no_event(run: Any, labels: dict[str, str]) -> None:
    async def work(running: RegistryHarness) -> None:
        assert await create(running, SERVICE, selecting(**labels))
        assert not await create(running, POD, pod("web-1", **labels))
        assert not await after_the_hold(running)

    run(work)


def test_a_pod_that_matches_half_a_selector_is_none(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, POD, pod("web-1", app="web"))
        await create(running, POD, pod("web-2", tier="front"))
        assert await create(running, SERVICE, selecting("half", app="web", tier="front"))
        await create(running, POD, without_address("web-3", app="web", tier="front"))
        assert not await create(running, SERVICE, selecting("whole", app="web", tier="front"))

    run(work)


def test_only_a_write_that_changes_the_cause_is_warned_of(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        body = selecting(app="web")
        assert len(await create(running, SERVICE, body)) == 1
        assert not await merge(running, SERVICE, "web", {"metadata": {"annotations": {"a": "b"}}})
        assert not await merge(running, SERVICE, "web", {"spec": {"publishNotReadyAddresses": True}})
        applied = Patch("apply", {"apiVersion": "v1", "kind": "Service", **body})
        options = WriteOptions(field_manager="test", force=True)
        for _ in range(2):
            written = await running.registry.patch(SERVICE, "default", "web", applied, options)
            assert not written.warnings
        assert len(await merge(running, SERVICE, "web", {"spec": {"selector": {"app": "other"}}})) == 1
        end_the_hold(running)
        found = await told_of(running, "involvedObject.name=web", "NoPodMatches")
        assert [count for reason, _, count in found if reason == "NoPodMatches"] == [1]

    run(work)


def test_what_comes_again_is_counted(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, selecting(app="web"))
        end_the_hold(running)
        await told_of(running, "", "NoPodMatches")
        await create(running, POD, pod("a", app="web"))
        await merge(running, POD, "a", {"metadata": {"labels": {"app": None}}})
        await until(running, lambda: any(count == 2 for _, _, count in hinted(running)))
        assert len(hinted(running)) == 1

    run(work)


def test_a_pod_without_an_address(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        [warning] = await create(running, POD, without_address("web-1"))
        assert "Pod web-1 has no address yet" in warning
        assert "status.podIP" in warning and "kubelet" in warning and "svcdns add" in warning
        assert not await merge(running, POD, "web-1", {"metadata": {"annotations": {"a": "b"}}})
        assert not await create(running, POD, {**without_address("done"), "status": {"phase": "Succeeded"}})
        await create(running, POD, without_address("late"))
        assert not await merge(running, POD, "late", {"status": {"podIP": "10.0.0.9"}}, "status")
        found = await after_the_hold(running)
        assert {reason for reason, _, _ in found} == {"NoAddress"}
        assert {message.split()[1] for _, message, _ in found} == {"web-1"}

    run(work)


def test_an_address_taken_away_is_said(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        assert not await create(running, POD, pod("web-1"))
        taken = {"status": {"podIP": None, "podIPs": None}}
        assert len(await merge(running, POD, "web-1", taken, "status")) == 1

    run(work)


def test_labels_that_leave_a_service_alone_are_said_with_the_pod(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        for name in ("a", "b"):
            await create(running, POD, pod(name, app="web"))
        assert not await create(running, SERVICE, selecting(app="web"))
        assert not await merge(running, POD, "a", {"metadata": {"labels": {"app": "x"}}})
        [warning] = await merge(running, POD, "b", {"metadata": {"labels": {"app": "x"}}})
        assert warning.startswith("Service web: selector app=web matches no Pod now")

    run(work)


def test_a_service_without_selector_and_endpoints(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        bare = without_selector("bare")
        [warning] = await create(running, SERVICE, bare)
        assert "no selector and no EndpointSlice yet" in warning
        await create(running, ENDPOINTSLICE, endpoint_slice("s-1", "sliced"))
        assert not await create(running, SERVICE, without_selector("sliced"))
        await create(running, ENDPOINTS, {"metadata": {"name": "endpoints"}, "subsets": []})
        assert not await create(running, SERVICE, without_selector("endpoints"))
        assert not await create(running, SERVICE, external("alias", "example.com"))
        assert not await create(running, SERVICE, without_selector("kubernetes"))
        assert {message.split()[1] for _, message, _ in await after_the_hold(running)} == {"bare"}

    run(work)


def test_a_slice_that_no_service_has(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        body = endpoint_slice("s-1", "web")
        assert not await create(running, ENDPOINTSLICE, body)
        change = {"metadata": {"labels": {"kubernetes.io/service-name": None}}}
        assert len(await merge(running, ENDPOINTSLICE, "s-1", change)) == 1
        end_the_hold(running)
        await told_of(running, "involvedObject.kind=EndpointSlice", "NoService")

    run(work)


def test_what_is_deleted_meanwhile_is_forgotten(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await create(running, SERVICE, selecting(app="web"))
        await running.registry.delete(SERVICE, "default", "web", DeleteOptions())
        assert not await after_the_hold(running)

    run(work)


def test_hints_can_be_switched_off(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        assert not await create(running, SERVICE, selecting(app="web"))
        assert not await create(running, POD, without_address("web-1"))
        assert not await create(running, SERVICE, without_selector("bare"))

    run(work, Config(api=ApiConfig(hints=False)))


def test_many_pods_are_not_compared(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(running: RegistryHarness) -> None:
        for number in range(4):
            await create(running, POD, pod(f"p-{number}", app="web", tier="front", zone="x"))
        monkeypatch.setattr(service_backing, "MOST_CANDIDATES", 4)
        assert not await create(running, SERVICE, selecting("a", app="web", tier="front", zone="x"))
        monkeypatch.setattr(hints, "PER_SECOND", 0)
        [warning] = await create(running, SERVICE, selecting("b", app="wob"))
        assert warning.endswith("matches no Pod yet")

    run(work)


def test_before_all_is_loaded_nothing_is_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large folder of manifests takes longer than an Event is held."""
    monkeypatch.setattr(events, "HOLD_SECONDS", 0.0)

    async def work() -> None:
        store = open_store(tmp_path / "data", "writer")
        registry = Registry(store, Config())
        await registry.start()
        running = RegistryHarness(registry)
        await create(running, SERVICE, selecting(app="web"))
        await create(running, SERVICE, selecting("other", app="other"))
        for number in range(20):  # each a write that an Event could come before
            await create(running, POD, pod(f"x-{number}", app="x"))
        await create(running, POD, pod("web-1", app="web"))
        assert not hinted(running)
        await registry.set_loaded()
        await told_of(running, "involvedObject.name=other", "NoPodMatches")
        [(_, message, _)] = hinted(running)
        assert "app=other matches no Pod" in message
        await registry.stop()
        store.close()

    asyncio.run(work())


def test_of_a_bulk_the_newest_become_events(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST_HELD", 3)

    async def work(running: RegistryHarness) -> None:
        await asyncio.gather(*(create(running, POD, without_address(f"p-{number}")) for number in range(9)))
        end_the_hold(running)
        await until(running, lambda: len(hinted(running)) == 3)
        assert len(await after_the_hold(running)) == 3

    run(work)


def test_a_dry_run_has_none(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        dry = WriteOptions(dry_run=True)
        assert not (await running.registry.create(SERVICE, "default", selecting(app="web"), dry)).warnings
        assert not await after_the_hold(running)

    run(work)
