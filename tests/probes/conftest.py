"""A clock that stands still while there is something to do, then goes on to the next timer."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest


class InstantLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time; `time` is in seconds since its beginning."""

    def __init__(self) -> None:
        super().__init__()
        self._passed = 0.0

    def time(self) -> float:
        return self._passed

    def _run_once(self) -> None:
        timers: Any = [one for one in self._scheduled if not one._cancelled]  # type: ignore[attr-defined]
        if not self._ready and timers:  # type: ignore[attr-defined]
            self._passed = max(self._passed, min(timers)._when)
        super()._run_once()  # type: ignore[misc]


@pytest.fixture
def instant() -> Iterator[InstantLoop]:
    loop = InstantLoop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()
    asyncio.set_event_loop(None)
