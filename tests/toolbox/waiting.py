"""How tests wait: for a condition, with a generous guard against hanging; never for a fixed time."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

GUARD_SECONDS = 60.0
"""Against hanging only: no test is about how long something takes."""

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str = "condition", seconds: float = GUARD_SECONDS) -> T:
    """Return the condition's first true value; raises AssertionError when it never comes."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.01)
    return value


async def until(condition: Callable[[], T], what: str = "condition", seconds: float = GUARD_SECONDS) -> T:
    """Do the same while the event loop goes on."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        await asyncio.sleep(0.001)
    return value


def run(work: Coroutine[Any, Any, T], seconds: float = GUARD_SECONDS) -> T:
    """Run it in a loop of its own."""

    async def guarded() -> T:
        return await asyncio.wait_for(work, seconds)

    return asyncio.run(guarded())
