"""A list of etcd on its way into the map: the next page is fetched while one is taken, and how far it is.

Never more than two pages are in memory, however many objects there are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Protocol

from svcdns.etcd.client import Etcd
from svcdns.objects.kinds import Kind

from .keys import Keys, after
from .relisting import Found

logger = logging.getLogger(__name__)

PAGE = 1000
"""Objects that are listed at a time."""
LOG_SECONDS = 5.0
"""Between two lines on how far it is."""


class Taking(Protocol):
    """What a list is taken into, all in one thread."""

    ORDER: tuple[Kind, ...]
    """Kinds in the order in which they are to be taken."""

    def take(self, found: Iterable[Found]) -> None:
        """Take a page."""

    def take_cascades(self, found: Iterable[tuple[str, bytes]]) -> None:
        """Take all cascades."""

    def step(self) -> bool:
        """Do a part of what is left to be made of all; return whether more is."""


class Progress:
    """How far a list is; belongs to one event loop."""

    def __init__(self) -> None:
        """Nothing is listed."""
        self.text = ""
        """In words; "" while nothing is listed."""
        self._taken = self._total = self._parts = 0
        self._logged_at = 0.0

    def begin(self, total: int) -> None:
        """Note that a list begins, and how many objects it has."""
        self._taken, self._total, self._parts, self._logged_at = 0, total, 0, time.monotonic()
        self.took(0)

    def took(self, objects: int) -> None:
        """Note that more objects are taken."""
        self._taken += objects
        self._say(f"the registry is listed from etcd: {self._taken:,} of {self._total:,} objects so far")

    def made_more(self) -> None:
        """Note that more was made of all objects."""
        self._parts += 1
        self._say(f"all {self._total:,} objects are listed, {self._parts:,} parts of their answers are made")

    def end(self) -> None:
        """Note that the list has come to its end, whatever that was."""
        self.text = ""

    def _say(self, text: str) -> None:
        self.text = text
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = time.monotonic()
            logger.info("%s", text)


async def list_into(
    taking: Taking,
    etcd: Etcd,
    keys: Keys,
    revision: int,
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
    progress: Progress,
) -> None:
    """Have all objects taken as they stood at a revision.  Raises as the client does, and as taking does."""
    objects = await etcd.range(keys.objects, after(keys.objects), revision=revision, limit=1, keys_only=True)
    progress.begin(objects.count)
    under_way: asyncio.Future[None] | None = None
    try:
        async for page in _pages(taking.ORDER, etcd, keys, revision):
            if under_way is not None:
                await under_way
            under_way = asyncio.ensure_future(in_thread(partial(taking.take, page)))
            progress.took(len(page))
        if under_way is not None:
            await under_way
    finally:
        if under_way is not None:
            await asyncio.wait([under_way])
            under_way.exception()  # what came first is raised, and this one is known
    cascades = (await etcd.range(keys.owners, after(keys.owners), revision=revision)).kvs
    found = [(keys.owner_of(kv.key) or "", kv.value) for kv in cascades]
    await in_thread(partial(taking.take_cascades, found))
    while await in_thread(taking.step):
        progress.made_more()


async def _pages(order: Iterable[Kind], etcd: Etcd, keys: Keys, revision: int) -> AsyncIterator[list[Found]]:
    for kind in order:
        begin = keys.of_kind(kind)
        end, more = after(begin), True
        while more:
            found = await etcd.range(begin, end, revision=revision, limit=PAGE)
            more = found.more
            if found.kvs:
                yield [(keys.named(kv.key), kv.value, kv.mod_revision) for kv in found.kvs]
                begin = found.kvs[-1].key + b"\0"
