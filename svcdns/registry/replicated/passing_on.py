"""Heartbeats that reach one replica and are awaited by another: those of a second are one key of etcd.

    heartbeats/REPLICA    {"heard": ["NAMESPACE/NAME", ...]}

The other replicas watch these keys (`living`), and each takes the Pods that are its work.  A batch that could
not be put waits, and no Pod is in it twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from svcdns.etcd.client import Etcd, Rejected, Unavailable, Unknown
from svcdns.etcd.messages import Put

from .following import LOOK_SECONDS
from .keys import Keys
from .living import Living

PASS_SECONDS = 1.0
"""Between two batches."""
MOST_OCTETS = 512 << 10
"""Of a batch; etcd takes three times as much in a request."""

Heard = Callable[[list[tuple[str, str]]], None]
"""Is given Pods (NAMESPACE, NAME) that another replica has heard of."""


class PassingOn:
    """What one replica has heard for the others; belongs to one event loop."""

    def __init__(self, etcd: Etcd, keys: Keys, living: Living) -> None:
        """Nothing was heard yet."""
        self._etcd, self._living = etcd, living
        self._key = keys.heartbeats + living.name.encode()
        self._waiting: dict[str, None] = {}
        self._came = asyncio.Event()

    def add(self, pods: Sequence[tuple[str, str]]) -> None:
        """Pass on, soon, that Pods were heard of."""
        for namespace, name in pods:
            self._waiting[f"{namespace}/{name}"] = None
        if pods:
            self._came.set()

    async def run(self) -> None:
        """Put batches until cancelled."""
        while True:
            await self._came.wait()
            batch = self._next()
            try:
                put = Put(self._key, msgspec.json.encode({"heard": batch}), self._living.lease)
                await self._etcd.transaction([], [put])
            except (Unavailable, Unknown, Rejected):
                await asyncio.sleep(LOOK_SECONDS)
                continue
            for pod in batch:
                self._waiting.pop(pod, None)
            if not self._waiting:
                self._came.clear()
            await asyncio.sleep(PASS_SECONDS)

    def _next(self) -> list[str]:
        batch, octets = [], 0
        for pod in self._waiting:
            octets += len(pod) + 3
            if octets > MOST_OCTETS:
                break
            batch.append(pod)
        return batch
