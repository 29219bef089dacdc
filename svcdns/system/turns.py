"""Turns: much work in small steps, so that whoever has little to do waits for one step and not for all.

    while there_is_more:
        await turns.next()
        ...  # one step

What all who work under the same `Turns` do between two looks of the event loop at its sockets is at most
WHOLE: one large step, or some small ones.  They come in the order in which they asked.
"""

from __future__ import annotations

import asyncio
from collections import deque

WHOLE = 32
"""A step that fills a turn of the loop.  A small one takes a share of it."""


class Turns:
    """Gives turns; belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._is_working = False
        """Whether somebody has a step to do in this turn of the loop, or had one in the last."""
        self._gave = False
        """Whether that is so because the last turn of the loop gave turns to some who waited."""

    async def next(self, share: int = WHOLE) -> None:
        """Wait until a step that takes `share` of WHOLE may be done; at once where nobody works."""
        if not self._is_working:
            self._is_working = True
            asyncio.get_running_loop().call_soon(self._give)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((share, future))
        await future

    def _give(self) -> None:
        """Let those go on for whom the next turn of the loop has room."""
        room = WHOLE
        while self._waiting and self._waiting[0][0] <= room:
            share, future = self._waiting.popleft()
            if not future.done():  # cancelled: it has left
                future.set_result(None)
                room -= share
        gave, self._gave = self._gave, room < WHOLE
        self._is_working = gave or self._gave
        if self._is_working:
            asyncio.get_running_loop().call_soon(self._give)
