"""A single flight over upstreams that answer when the test says so, and a clock that the test sets."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forward.unit.upstream_replies import address
from toolbox.waiting import GUARD_SECONDS, until

from svcdns.cache.store import Cache
from svcdns.config.sections import CacheConfig
from svcdns.forward import single_flight as single_flight_module
from svcdns.forward.single_flight import SingleFlight
from svcdns.wire.query import Query
from svcdns.wire.response import Response

CONFIG = CacheConfig(octets=1 << 20, max_ttl=1000, max_negative_ttl=100, stale=500)


class Upstreams:
    """A pool: what it is asked waits until the test answers."""

    def __init__(self) -> None:
        self.is_down = False
        self.asked: list[Query] = []
        self._waiting: deque[tuple[Query, Callable[[Response], object], Callable[[Exception], object]]] = (
            deque()
        )

    def __len__(self) -> int:
        """Return how many questions wait."""
        return len(self._waiting)

    def begin(
        self, ask: Query, on_answer: Callable[[Response], object], go_on: Callable[[Exception], object]
    ) -> None:
        self.asked.append(ask)
        self._waiting.append((ask, on_answer, go_on))

    async def resolve(self, ask: Query, attempt: Exception) -> Response:
        """Go on where `begin` got no answer: none of the others has one."""
        raise attempt

    async def answer(self, with_: object = address) -> None:
        """Answer the question that has waited longest, once it comes.

        `with_` is a function of the Query, or an exception.
        """
        await until(lambda: self._waiting)
        ask, on_answer, go_on = self._waiting.popleft()
        if isinstance(with_, Exception):
            go_on(with_)
        else:
            assert callable(with_)
            on_answer(with_(ask))


class SingleFlightHarness:
    """SingleFlight over upstreams of the test, with a real cache; `time` is what they take the time for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, config: CacheConfig = CONFIG) -> None:
        self.time = 10_000
        self.folder = folder
        self.upstreams = Upstreams()
        self.cache = Cache(folder, config.octets)
        self.pool: Upstreams | None = self.upstreams
        self.flights = SingleFlight(lambda _: self.pool, self.cache, config)
        monkeypatch.setattr(single_flight_module, "now", lambda: self.time)

    def join(self, ask: Query) -> asyncio.Future[bytes]:
        """Ask; the future is what lands, and fails where something lands twice."""
        landed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.flights.resolve(ask, lambda resolution: landed.set_result(resolution.entry.stored))
        return landed

    async def asking(self, ask: Query, with_: object = address) -> bytes:
        """Ask, have upstreams answer, return what lands."""
        landed = self.join(ask)
        await self.upstreams.answer(with_)
        return await asyncio.wait_for(landed, GUARD_SECONDS)


@contextmanager
def single_flight_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, config: CacheConfig = CONFIG
) -> Iterator[SingleFlightHarness]:
    harness = SingleFlightHarness(folder, monkeypatch, config)
    try:
        yield harness
    finally:
        harness.cache.close()
