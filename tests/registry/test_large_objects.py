"""Large objects cost what their size says: eight times as many elements take about eight times as long."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from toolbox.builders import endpoint_slice, pod, service
from toolbox.registry_harness import RegistryHarness

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import ENDPOINTSLICE, POD, SERVICE, Kind
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions

Object = dict[str, Any]
SMALL, TIMES = 300, 8
ALL = Selection()
WRITE = WriteOptions(dry_run=True)


def of_container(**fields: Any) -> Object:
    return pod("big", containers=[{"name": "main", "image": "none", **fields}])


def with_metadata(**fields: Any) -> Object:
    made = pod("big")
    return made | {"metadata": made["metadata"] | fields}


def with_status(**fields: Any) -> Object:
    made = pod("big")
    return made | {"status": made["status"] | fields}


def ports(count: int) -> list[Object]:
    return [{"name": f"p{number}", "port": number + 1} for number in range(count)]


def addresses(count: int) -> list[str]:
    return [f"10.1.{number >> 8}.{number & 255}" for number in range(count)]


CASES: dict[str, tuple[Kind, Callable[[int], Object]]] = {
    "ports": (SERVICE, lambda count: service("big", ports=ports(count))),
    "node ports": (SERVICE, lambda count: service("big", ports=ports(count), type="NodePort")),
    "external addresses": (SERVICE, lambda count: service("big", externalIPs=addresses(count))),
    "selector": (SERVICE, lambda count: service("big", selector={f"k{n}": "v" for n in range(count)})),
    "labels": (POD, lambda count: with_metadata(labels={f"k{n}": "v" for n in range(count)})),
    "finalizers": (POD, lambda count: with_metadata(finalizers=[f"a.b/f{n}" for n in range(count)])),
    "owners": (
        POD,
        lambda count: with_metadata(
            ownerReferences=[
                {"apiVersion": "v1", "kind": "Pod", "name": f"o{n}", "uid": f"u{n}"} for n in range(count)
            ]
        ),
    ),
    "containers": (
        POD,
        lambda count: pod("big", containers=[{"name": f"c{n}", "image": "none"} for n in range(count)]),
    ),
    "container ports": (
        POD,
        lambda count: of_container(ports=[{"name": f"p{n}", "containerPort": n + 1} for n in range(count)]),
    ),
    "environment": (POD, lambda count: of_container(env=[{"name": f"E{n}"} for n in range(count)])),
    "volumes": (POD, lambda count: pod("big", volumes=[{"name": f"v{n}"} for n in range(count)])),
    "conditions": (
        POD,
        lambda count: with_status(conditions=[{"type": f"C{n}", "status": "True"} for n in range(count)]),
    ),
    "slice ports": (
        ENDPOINTSLICE,
        lambda count: endpoint_slice("big", "web", "10.0.0.1") | {"ports": ports(count)},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.embedded("a transaction has 128 operations")
def test_time_grows_with_the_number_of_elements(run: Any, case: str) -> None:
    kind, make = CASES[case]

    async def seconds(running: RegistryHarness, count: int) -> list[float]:
        """Return the CPU time of a create, a replace and an apply."""
        registry, body = running.registry, make(count)
        applied = Patch("apply", body | {"apiVersion": kind.api_version, "kind": kind.name})
        forced = WriteOptions(dry_run=True, field_manager="other", force=True)
        took = [await cpu(lambda: registry.create(kind, "default", deepcopy(body), WRITE))]
        await registry.create(kind, "default", deepcopy(body), WriteOptions())
        took.append(await cpu(lambda: registry.replace(kind, "default", "big", deepcopy(body), WRITE)))
        took.append(await cpu(lambda: registry.patch(kind, "default", "big", deepcopy(applied), forced)))
        gone = Patch("json", [{"op": "remove", "path": "/metadata/finalizers"}])
        if "finalizers" in body["metadata"]:
            await registry.patch(kind, "default", "big", gone, WriteOptions())
        await registry.delete_collection(kind, "default", ALL, DeleteOptions())
        return took

    async def work(running: RegistryHarness) -> None:
        small = await seconds(running, SMALL)
        large = await seconds(running, TIMES * SMALL)
        for word, few, many in zip(("create", "replace", "apply"), small, large, strict=True):
            assert many < 4 * TIMES * few + 0.01, (word, few, many)

    run(work)


async def cpu(write: Callable[[], Any]) -> float:
    """Return the CPU seconds of a write, the best of four."""
    took = []
    for _ in range(4):
        begun = time.process_time()
        await write()
        took.append(time.process_time() - begun)
    return min(took)


def test_a_service_has_as_many_ports_as_a_slice_may_have(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        with pytest.raises(StatusError) as refused:
            await running.registry.create(SERVICE, "default", service(ports=ports(20_001)), WRITE)
        [cause] = refused.value.causes
        assert (refused.value.code, cause.field, cause.reason) == (422, "spec.ports", "FieldValueTooMany")

    run(work)
