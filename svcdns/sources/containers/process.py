"""The work of the process of sources: one `Source` for each engine, and what they say, published.

`publish` is given two texts of JSON: the counters, at most once in COUNTERS_SECONDS, and the rows of
containers, at most once in ROWS_SECONDS; each only where it is another than before.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from svcdns.client import ApiError, AsyncClient, Connection, NoServer, Unreachable
from svcdns.client.calls import replicas
from svcdns.config.container_engines import ContainerEngine

from .published import ALIVE_SECONDS
from .source import PODMAN, Source

COUNTERS_SECONDS, ROWS_SECONDS = 2.0, 0.5
_API_PAUSE = 1.0
_DIGITS = 8

Publish = Callable[[str | None, str | None], None]
"""Shows counters and rows, None for what has not changed; errors are its own business."""


async def serve(
    engines: Sequence[ContainerEngine],
    connection: Connection,
    stop: asyncio.Event,
    publish: Publish,
    *,
    is_shared: bool = False,
) -> None:
    """Register containers until `stop` is set.

    Where the registry `is_shared`, engines that are not configured here are other replicas': what they have
    made stays, and a Podman without a name of its own is called after this replica.
    """
    rows_changed = asyncio.Event()
    async with AsyncClient(connection) as client:
        podman = PODMAN
        if is_shared:
            engines = [replace(one, keep_orphans=True) for one in engines]
            if not all(one.name for one in engines):
                podman = f"{PODMAN}-{(await _replica(client, stop))[:_DIGITS]}"
        known = [one.name for one in engines]
        sources = [Source(one, client, known, rows_changed.set, podman) for one in engines]
        works = [one.run() for one in sources]
        works += [_publish_rows(sources, rows_changed, publish), _publish_counters(sources, publish)]
        tasks = [asyncio.create_task(work) for work in works]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for one in (*tasks, stopping):
                one.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)


async def _replica(client: AsyncClient, stop: asyncio.Event) -> str:
    """Return what this replica is called, once etcd has been reached; "" if stopped before that."""
    while not stop.is_set():
        with suppress(ApiError, Unreachable, NoServer):
            if name := (await client.run(replicas()))["name"]:
                return str(name)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _API_PAUSE)
    return ""


async def _publish_rows(sources: Sequence[Source], changed: asyncio.Event, publish: Publish) -> None:
    while True:
        await changed.wait()
        changed.clear()
        rows = json.dumps([row for one in sources for row in one.status.containers])
        publish(_counters(sources), rows)
        await asyncio.sleep(ROWS_SECONDS)


async def _publish_counters(sources: Sequence[Source], publish: Publish) -> None:
    before, at = "", 0.0
    while True:
        text = json.dumps([one.status.metrics() for one in sources])
        now = time.monotonic()
        if text != before or now - at > ALIVE_SECONDS:
            before, at = text, now
            publish(_counters(sources), None)
        await asyncio.sleep(COUNTERS_SECONDS)


def _counters(sources: Sequence[Source]) -> str:
    return json.dumps({"at": time.monotonic(), "engines": [one.status.metrics() for one in sources]})
