"""One answer of several members: the next is asked while the one before says nothing, and may still answer.

Only for what changes nothing, however many members it reaches.  All of it takes no longer than one member has
for an answer: so members that hang cost SILENT_SECONDS each, and not the whole time each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from .messages import Failed

SILENT_SECONDS = 0.3
"""So long a member may say nothing until the next one is asked too."""
_LEAST_SECONDS = 0.05
T = TypeVar("T")


class Passed(Exception):
    """A member does not answer the request, and another one may."""

    def __init__(self, failed: Failed, *, waits: bool = False) -> None:
        """`waits`: members choose a leader, so it is worth to ask all again in a moment."""
        super().__init__(failed.message)
        self.failed, self.waits = failed, waits


async def first_answer(
    members: Sequence[str],
    attempt: Callable[[str, float], Awaitable[T]],
    seconds: float,
    silent: Callable[[str], None],
    discard: Callable[[T], None] = lambda answer: None,
) -> T:
    """Return the first answer.  Raises the last Passed where all have passed, and whatever else one raises.

    `attempt` is given a member and the seconds that are left.  `silent` is called with each member that had
    said nothing when a later one answered; `discard` is given answers that came too late.
    """
    loop = asyncio.get_running_loop()
    until, patience = loop.time() + seconds, min(SILENT_SECONDS, seconds / (len(members) + 1))
    left, waiting = list(members), dict[asyncio.Future[T], str]()
    passed = Passed(Failed("no member is named"))
    answered = ""
    try:
        while left or waiting:
            if left:
                member = left.pop(0)
                waiting[asyncio.ensure_future(attempt(member, max(until - loop.time(), _LEAST_SECONDS)))] = (
                    member
                )
            done, _ = await asyncio.wait(
                waiting, timeout=patience if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for one in done:
                member = waiting.pop(one)
                try:
                    answer = one.result()
                except Passed as wrong:
                    passed = Passed(wrong.failed, waits=passed.waits or wrong.waits)
                else:
                    answered = member
                    return answer
        raise passed
    finally:
        earlier = members[: members.index(answered)] if answered else ()
        for one, member in waiting.items():
            if one.done() and not one.cancelled() and one.exception() is None:
                discard(one.result())
            one.cancel()
            if member in earlier:
                silent(member)
