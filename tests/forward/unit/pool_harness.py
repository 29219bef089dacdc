"""A pool of upstreams, and a question that none of them answers."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from forward.unit.routes_harness import ask_for
from toolbox.misbehaving import Misbehaving
from toolbox.upstreams import Knot, Unbound

from svcdns.config.upstream_spec import parse
from svcdns.forward.health import Health
from svcdns.forward.pool import Pool, Unresolved
from svcdns.forward.upstreams.factory import make

ROOM = 0.7
"""Seconds that a busy machine may take beside what is promised."""


@asynccontextmanager
async def pool_of(
    *servers: Unbound | Knot | Misbehaving | str,
    policy: str = "sequential",
    interval: float = 1.0,
    down: bool = False,
) -> AsyncIterator[Pool]:
    """Give a pool over these; `interval` is between probes, in seconds; with `down` all are known to be."""
    texts = [one if isinstance(one, str) else one.address for one in servers]
    healths = [Health(make(parse(text)), interval=interval) for text in texts]
    for health in healths if down else ():
        for _ in range(2):
            health._missed(time.monotonic())
    try:
        yield Pool(".", healths, policy)
    finally:
        for health in healths:
            await health.close()


async def failed(pool: Pool, name: str = "www.example.org") -> tuple[Unresolved, float]:
    """Return why there is no answer, and after how many seconds."""
    begun = time.monotonic()
    with pytest.raises(Unresolved) as caught:
        await pool.resolve(ask_for(name))
    return caught.value, time.monotonic() - begun
