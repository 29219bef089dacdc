"""How tests wait: for a condition, with a generous guard against hanging; never for a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

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


async def until(
    condition: Callable[[], T],
    what: str = "condition",
    *,
    seconds: float = GUARD_SECONDS,
    pause: float = 0.001,
) -> T:
    """Do the same while the event loop goes on, looking every `pause` seconds; 0: at each of its turns."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        await asyncio.sleep(pause)
    return value
