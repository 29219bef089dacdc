"""Keeping a process registered for as long as it runs: heartbeats, and registering it again.

Rules: nothing that happens to the server ends it; trouble is said once, and again when it is another or over;
attempts come after growing pauses.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .asynchronous import AsyncClient
from .connection import Connection, NoServer
from .exchange import ApiError, Mistake, Unreachable
from .own_pod import OwnPod, beat, deregister, register

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
LEAVING_SECONDS = 3.0
"""How long a deregistration may take: who ends does not wait for a server that is gone."""

Connect = Callable[[], tuple[Connection, OwnPod]]
"""Finds the server, and what is to be said to it.  Raises NoServer and Mistake."""
Say = Callable[[str], None]


async def keep(connect: Connect, say: Say, leave: asyncio.Event) -> None:
    """Register, and send heartbeats, until `leave` is set; then deregister."""
    keeper = _Keeper(say)
    pause = FIRST_PAUSE
    while not leave.is_set():
        try:
            connection, own = connect()
            async with AsyncClient(connection, seconds=max(LEAVING_SECONDS, own.heartbeat_seconds)) as client:
                await keeper.until(leave, client, own)
            return
        except (NoServer, Mistake, ApiError, Unreachable) as wrong:
            keeper.trouble(str(wrong))
        if keeper.was_registered:
            pause, keeper.was_registered = FIRST_PAUSE, False
        await _sleep_until(leave, pause)
        pause = min(pause * 2, LONGEST_PAUSE)


class _Keeper:
    """One registration through all that happens to it."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._said = ""
        self.was_registered = False

    def trouble(self, text: str) -> None:
        """Say what is wrong, unless it has been said."""
        if text != self._said:
            self._said = text
            self._say(f"not registered, tried again: {text}")

    async def until(self, leave: asyncio.Event, client: AsyncClient, own: OwnPod) -> None:
        """Register, send heartbeats, deregister in the end.  Raises ApiError and Unreachable."""
        while True:
            await client.run(register(own))
            self.was_registered = True
            if self._said != (now := f"registered as Pod {own.pod_name} of Service {own.service}"):
                self._said = now
                self._say(now)
            while not await _sleep_until(leave, own.heartbeat_seconds):
                if not await client.run(beat(own)):
                    break
            else:
                break
        with suppress(ApiError, Unreachable, TimeoutError):
            async with asyncio.timeout(LEAVING_SECONDS):
                await client.run(deregister(own))


@contextmanager
def registered(
    own: OwnPod, connection: Connection | None = None, say: Say = lambda text: None
) -> Iterator[None]:
    """Keep a process registered while a block runs, from a thread; for programs without an event loop.

    `say` is given a line when it is registered, and when it is not.  Raises NoServer where no connection is
    given and no server is found.
    """
    from .connection import find

    there = connection or find()
    leave = asyncio.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(keep(lambda: (there, own), say, leave),), daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join(2 * LEAVING_SECONDS)
        if not thread.is_alive():
            loop.close()


async def _sleep_until(leave: asyncio.Event, seconds: float) -> bool:
    """Wait for some seconds, or until one is to leave; return which."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await leave.wait()
    return leave.is_set()
