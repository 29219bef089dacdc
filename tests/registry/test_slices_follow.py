"""Generated slices follow from the Service and its Pods, whatever happened before; few Pods move."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from registry.writing_endpoints import create as create_in_default
from registry.writing_endpoints import slices
from toolbox.builders import endpoints, pod, service, without_selector
from toolbox.registry_harness import RegistryHarness, started

from svcdns.cluster import slice_tree
from svcdns.objects.kinds import ENDPOINTS, ENDPOINTSLICE, POD, SERVICE, Kind
from svcdns.registry import accept
from svcdns.registry.requests import DeleteOptions, Patch, WriteOptions

OPTIONS = WriteOptions()
NAMED = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "dns", "port": 53, "protocol": "UDP"}]


@pytest.fixture(autouse=True)
def _uids_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name has one uid, so that two stores may have the same objects."""
    create = accept.create

    def with_uid(write: Any, kind: Kind, namespace: str, body: Any, author: Any) -> Any:
        uid = f"{kind.name}/{body['metadata']['name']}"
        monkeypatch.setattr(accept, "random_uid", lambda: uid)
        return create(write, kind, namespace, body, author)

    monkeypatch.setattr(accept, "create", with_uid)


def content(running: RegistryHarness) -> list[Any]:
    """Return what of the slices follows: all but revisions, counts of changes and times."""
    counted = ("resourceVersion", "generation", "creationTimestamp")
    return sorted(
        (
            {**one, "metadata": {k: v for k, v in one["metadata"].items() if k not in counted}}
            for one in slices(running)
        ),
        key=lambda one: str(one["metadata"]["name"]),
    )


def homes(running: RegistryHarness) -> dict[str, str]:
    return {e["targetRef"]["name"]: s["metadata"]["name"] for s in slices(running) for e in s["endpoints"]}


def a_pod(number: int, port: int) -> Any:
    containers = [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]
    addresses = {"podIPs": [{"ip": f"10.1.{number >> 8}.{number & 255}"}, {"ip": f"fd00:1::{number:x}"}]}
    body = pod(f"p{number:03}", f"10.1.{number >> 8}.{number & 255}", containers=containers)
    return {**body, "status": {**body["status"], **addresses}}


async def put(running: RegistryHarness, number: int, port: int = 8080) -> None:
    await create_in_default(running, POD, a_pod(number, port))


async def remove(running: RegistryHarness, number: int) -> None:
    await running.registry.delete(POD, "default", f"p{number:03}", DeleteOptions())


async def plainly(running: RegistryHarness, numbers: list[int], spec: dict[str, Any]) -> None:
    """The Pods, then their Service."""
    await asyncio.gather(*(put(running, n, 8080 + n % 3) for n in numbers))
    await create_in_default(running, SERVICE, service(**spec))


async def with_a_history(running: RegistryHarness, numbers: list[int], spec: dict[str, Any]) -> None:
    """The Service first, another way; Pods come in any order, others come and go, some leave and return."""
    rng = random.Random(len(numbers))
    await create_in_default(running, SERVICE, service(**{**spec, "ports": [{"port": 1}]}))
    others = list(range(400, 400 + rng.randrange(150)))
    order = [*numbers, *others]
    rng.shuffle(order)
    while order:  # those of a burst share a commit
        burst = [order.pop() for _ in range(min(len(order), rng.randrange(1, 30)))]
        await asyncio.gather(*(put(running, number, 8080 + number % 3) for number in burst))
    again = [n for n in numbers if n % 5 == 0]
    leaving = rng.sample([*others, *again], len(others) + len(again))
    await asyncio.gather(*(remove(running, number) for number in leaving))
    merge = Patch("merge", {"spec": {"ports": spec["ports"]}})
    await running.registry.patch(SERVICE, "default", "web", merge, OPTIONS)
    for number in again:
        await put(running, number, 8080 + number % 3)
    for labels in ({"app": "elsewhere"}, {"app": "web"}):
        for number in numbers[::9]:
            patch = Patch("merge", {"metadata": {"labels": labels}})
            await running.registry.patch(POD, "default", f"p{number:03}", patch, OPTIONS)


Story = Callable[[RegistryHarness, list[int], dict[str, Any]], Awaitable[None]]


@pytest.mark.parametrize("pods", [0, 1, 100, 101, 350])
@pytest.mark.parametrize("ports", [[{"port": 80, "targetPort": 8080}], NAMED], ids=["numbers", "names"])
def test_the_same_whatever_happened_before(tmp_path: Path, pods: int, ports: list[Any]) -> None:
    async def told(story: Story) -> list[Any]:
        async with started(tmp_path / story.__name__) as running:
            await story(running, list(range(pods)), {"ports": ports})
            return content(running)

    first, second = asyncio.run(told(plainly)), asyncio.run(told(with_a_history))
    assert first == second
    assert sum(len(one["endpoints"]) for one in first) == pods
    assert all(len(one["endpoints"]) <= slice_tree.MOST for one in first)


def test_what_they_are_called_does_not_change_between_versions(run: Any) -> None:
    """Replicas of two versions have the same slices; a change of this needs a higher OBJECT_RULES."""

    async def work(running: RegistryHarness) -> None:
        await plainly(running, list(range(120)), {"ports": [{"port": 80}]})
        named = {one["metadata"]["name"]: one["metadata"]["uid"] for one in content(running)}
        assert named == {
            "web-3yuhnsm2cz": "d3dd277d-a5f4-5571-aa72-119a85e20557",
            "web-u2j4u7maw7": "8afeb4b0-77b4-5da8-8315-9c84e1c62d37",
        }

    run(work)


def test_one_pod_too_many_halves_a_slice_and_the_next_to_go_unites_it(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await plainly(running, list(range(100)), {"ports": [{"port": 80}]})
        before = homes(running)
        (only,) = {*before.values()}
        await put(running, 100)
        after = homes(running)
        assert len(after) == 101
        assert len({*after.values()}) == 2
        assert only in after.values(), "the first half goes on under its name"
        await remove(running, 100)
        assert homes(running) == before

    run(work)


def test_nobody_moves_while_others_come_and_go(run: Any) -> None:
    """But for those in slices that are halved or united on the way."""

    async def work(running: RegistryHarness) -> None:
        await plainly(running, list(range(250)), {"ports": [{"port": 80}]})
        moved = 0
        for gone, come in zip(range(0, 250, 25), range(300, 310), strict=True):
            before = homes(running)
            await remove(running, gone)
            await put(running, come)
            after = homes(running)
            moved += sum(1 for name, home in before.items() if name in after and after[name] != home)
        assert moved <= 100, "ten Pods went and ten came"

    run(work)


def test_mirrored_ones_follow_from_the_endpoints(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        ports = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
        await create_in_default(running, SERVICE, without_selector(clusterIP="None"))
        await create_in_default(running, ENDPOINTS, endpoints("web", "192.0.2.1", ports=ports))
        first = content(running)
        for subsets in (
            endpoints("web", "192.0.2.9", ports=ports[:1])["subsets"],
            endpoints("web", "192.0.2.1", ports=ports)["subsets"],
        ):
            patch = Patch("merge", {"subsets": subsets})
            await running.registry.patch(ENDPOINTS, "default", "web", patch, OPTIONS)
        assert content(running) == first

    run(work)


def test_a_name_that_somebody_has_is_left_to_them(run: Any) -> None:
    """A user's own slice of the very name: the generated one takes another."""

    async def work(running: RegistryHarness) -> None:
        await create_in_default(running, SERVICE, service())
        (mine,) = slices(running)
        await running.registry.delete(SERVICE, "default", "web", DeleteOptions())
        own = {key: mine[key] for key in ("apiVersion", "kind", "addressType")}
        own |= {"metadata": {"name": mine["metadata"]["name"], "namespace": "default"}, "endpoints": []}
        await create_in_default(running, ENDPOINTSLICE, own)
        await create_in_default(running, SERVICE, service())
        await put(running, 1)
        assert len(slices(running)) == 2
        assert homes(running)["p001"] != mine["metadata"]["name"]

    run(work)
