"""What the writer takes in when it starts, manifests and zone files, and when the disk takes writes again.

A disk that is full or read-only is no reason not to answer: where there are answers already, they are what is
served, writes get 507, and all is made up for when there is room.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import lmdb

from svcdns.config.sections import Config
from svcdns.manifests.files import warnings
from svcdns.manifests.manifests import NotApplied, apply_manifests
from svcdns.manifests.not_taken import most_wanted
from svcdns.manifests.reading import Reading, read_manifests
from svcdns.manifests.saying import log_applied, log_not_taken, message_of
from svcdns.objects.errors import StatusError
from svcdns.registry.registry import Registry
from svcdns.zonefiles.folder import ZoneFolder

from .child_process import Fatal, NotNow
from .counters import WRITER, Counters

RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)


class Loading:
    """Brings manifests and zone files into the registry, now or later."""

    def __init__(
        self, registry: Registry, manifests: Reading, zones: ZoneFolder, counters: Counters, *, strict: bool
    ) -> None:
        """Nothing is loaded yet; `strict` is the option strict_manifests."""
        self._registry = registry
        self._manifests = manifests
        self._strict = strict
        self._zones = zones
        self._counters = counters
        self._loaded = False

    async def load(self) -> None:
        """Load all, unless nothing can be written but there are answers.  Raises Fatal, NotNow."""
        is_first = not self._counters.get(WRITER, "restarts") and not self._counters.get(WRITER, "ready")
        if self._registry.trouble:
            return
        try:
            await self._apply(is_first=is_first)
            await self._zones.start()
            await self._registry.set_loaded()
        except (lmdb.Error, StatusError) as refused:
            if not self._registry.trouble or not self._registry.has_answers():
                folder = self._registry.store.env.path()
                raise NotNow(f"the data in {folder} can't be written: {refused}") from None
        else:
            self._loaded = True

    async def _apply(self, *, is_first: bool) -> None:
        try:
            applied = await apply_manifests(self._registry, self._manifests, strict=self._strict)
        except NotApplied as refused:
            _not_applied(refused, is_first=is_first)
            return
        log_applied(applied)
        if message := message_of(applied):
            self._registry.record([message])

    async def run(self) -> None:
        """Follow the zone files, and make up for what could not be written, until cancelled."""
        while not self._loaded:
            await self._make_up()
        following = asyncio.create_task(self._zones.run())
        try:
            while True:
                await self._make_up()
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following

    async def _make_up(self) -> None:
        await asyncio.sleep(RETRY_SECONDS)
        if not self._registry.trouble:
            if not self._loaded:
                await self.load()
            return
        await self._registry.try_to_write()
        if not self._registry.trouble and self._loaded:
            await self._zones.refresh()  # files that could not be stored


def read_at_start(config: Config, *, is_first: bool) -> Reading:
    """Return what is in the manifests.  Raises Fatal at a strict server's first start if not all is valid."""
    for line in warnings(config.manifests):
        log.warning("%s", line)
    reading = read_manifests(config.manifests)
    if config.strict_manifests and is_first and reading.not_taken:
        _not_applied(NotApplied(reading.not_taken), is_first=True)
    return reading


def _not_applied(refused: NotApplied, *, is_first: bool) -> None:
    """Say why a strict server applies none.  Raises Fatal at the first start; later, DNS is worth more."""
    if is_first:
        raise Fatal(*map(str, most_wanted(refused.not_taken))) from None
    log_not_taken(refused.not_taken)
    log.error("manifests are not applied again: not all can be taken, and strict_manifests is set")
