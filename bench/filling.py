"""Fills a store without a server: through the registry itself, which takes a tenth of what clients take.

What is there already stays: who was interrupted goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import measuring  # noqa: F401  # has the tests on the path
from toolbox.builders import pod, service

from svcdns.config.sections import Config
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import POD, SERVICE
from svcdns.registry.registry import Registry
from svcdns.registry.requests import WriteOptions
from svcdns.store.environment import open_store

AT_ONCE = 500
PODS_A_SERVICE = 100


def pods_and_services(pods: int, of_one: int = PODS_A_SERVICE) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield headless Services and their Pods, so many of one each."""
    for number in range(pods):
        name = f"svc-{number // of_one}"
        if number % of_one == 0:
            yield SERVICE, service(name, clusterIP="None")
        yield POD, pod(f"{name}-{number % of_one}", pod_ip(number), name)


def pod_ip(number: int) -> str:
    """Return the address of a Pod by its number."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def fill(data: Path, config: Config, objects: Iterable[tuple[Any, dict[str, Any]]]) -> None:
    """Create objects in the store of a data folder, many with each transaction."""
    asyncio.run(_fill(data, config, iter(objects)))


async def _fill(data: Path, config: Config, objects: Iterator[tuple[Any, dict[str, Any]]]) -> None:
    registry = Registry(open_store(data, "writer"), config)
    await registry.start()
    while some := list(islice(objects, AT_ONCE)):
        await asyncio.gather(*(_create(registry, kind, body) for kind, body in some))
    await registry.stop()
    registry.store.close()


async def _create(registry: Registry, kind: Any, body: dict[str, Any]) -> None:
    try:
        await registry.create(kind, "default", body, WriteOptions())
    except StatusError as refused:
        if refused.reason != "AlreadyExists":
            raise
