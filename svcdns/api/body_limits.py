"""Octets of request bodies in flight, and the work of reading large ones: bounded, for one client and in all.

Counted are the octets of a body behind its first FREE_OCTETS (those are bounded by the number of
connections), from when they arrive until the request has been answered.  Large bodies are decoded in two
threads of their own, so that neither the event loop nor what else uses threads waits for them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from svcdns.objects.errors import StatusError

FREE_OCTETS = 16 * 1024
IN_ALL = 32 * 1024 * 1024
OF_CLIENT = 12 * 1024 * 1024
THREADS = 2
MOST_WAITING = 32
"""Large bodies that wait for a thread, in all."""
SILENT_SECONDS = 10.0
"""Between two octets of a body."""
WHOLE_SECONDS = 60.0
"""For a body in all."""


class BodyLimits:
    """What bodies take now."""

    def __init__(
        self,
        *,
        in_all: int = IN_ALL,
        of_client: int = OF_CLIENT,
        silent_seconds: float = SILENT_SECONDS,
        whole_seconds: float = WHOLE_SECONDS,
    ) -> None:
        """Octets, and seconds."""
        self._in_all = in_all
        self._of_client = of_client
        self.silent_seconds = silent_seconds
        self.whole_seconds = whole_seconds
        self._held = 0
        self._of: Counter[str] = Counter()
        self._waiting = 0
        self._stopping = False
        self._unfinished: set[asyncio.Timeout] = set()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bodies")

    @property
    def held(self) -> int:
        """Octets that are counted now."""
        return self._held

    def take(self, client: str, octets: int) -> None:
        """Count octets that have arrived.  Raises StatusError 429 or 503."""
        if self._of[client] + octets > self._of_client:
            raise _too_much(429, "TooManyRequests", f"{self._of_client} octets of one client")
        if self._held + octets > self._in_all:
            raise _too_much(503, "ServiceUnavailable", f"{self._in_all} octets in all")
        self._of[client] += octets
        self._held += octets

    def give_back(self, client: str, octets: int) -> None:
        """The request they belong to has been answered."""
        self._held -= octets
        self._of[client] -= octets
        if not self._of[client]:
            del self._of[client]

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Return what the work returns, done in a thread.  Raises StatusError 503 when too much waits."""
        if self._waiting >= THREADS + MOST_WAITING:
            raise _too_much(503, "ServiceUnavailable", f"{MOST_WAITING} large ones that wait to be read")
        self._waiting += 1
        done = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        done.add_done_callback(self._ended)
        return await done

    def _ended(self, done: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not done.cancelled():
            done.exception()  # whoever waited has seen it; if nobody did, it needs no log line

    @asynccontextmanager
    async def until_stopped(self) -> AsyncIterator[None]:
        """Do the body, which waits for octets of a request.  Raises StatusError 503 when the server stops."""
        stopped = asyncio.timeout(0 if self._stopping else None)
        self._unfinished.add(stopped)
        try:
            async with stopped:
                yield
        except TimeoutError:
            if not stopped.expired():
                raise
            text = "the server is stopping, and the request was not complete; nothing was changed"
            raise StatusError(503, "ServiceUnavailable", text) from None
        finally:
            self._unfinished.discard(stopped)

    def end_unfinished(self) -> None:
        """End what waits for octets, now and later: a stop waits for no client."""
        self._stopping = True
        for stopped in self._unfinished:
            stopped.reschedule(asyncio.get_running_loop().time())

    def close(self) -> None:
        """End the threads; what waits is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)


KEY = web.AppKey("body_limits", BodyLimits)
"""Where an application carries them."""


def _too_much(code: int, reason: str, allowed: str) -> StatusError:
    return StatusError(
        code, reason, f"too many request bodies are under way: allowed are {allowed}", retry_after=1
    )
