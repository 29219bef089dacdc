"""What the writer takes in when it starts, manifests and zone files, and when the disk takes writes again.

A disk that is full or read-only is no reason not to answer: where there are answers already, they are what is
served, writes get 507, and all is made up for when there is room.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence

import lmdb

from svcdns.manifests.manifests import Manifest, ManifestError, apply_manifests
from svcdns.objects.errors import StatusError
from svcdns.registry.registry import Registry
from svcdns.zonefiles.folder import ZoneFolder

from .counters import WRITER, Counters
from .process import Fatal, NotNow

RETRY_SECONDS = 2.0

log = logging.getLogger(__name__)


class Loading:
    """Brings manifests and zone files into the registry, now or later."""

    def __init__(
        self, registry: Registry, manifests: Sequence[Manifest], zones: ZoneFolder, counters: Counters
    ) -> None:
        """Nothing is loaded yet."""
        self._registry = registry
        self._manifests = manifests
        self._zones = zones
        self._counters = counters
        self._loaded = False

    async def load(self) -> None:
        """Load all, unless nothing can be written but there are answers.  Raises Fatal, NotNow."""
        is_first = not self._counters.get(WRITER, "restarts") and not self._counters.get(WRITER, "ready")
        if self._registry.trouble:
            return
        try:
            with mistakes_in_manifests(is_first=is_first):
                await apply_manifests(self._registry, self._manifests)
            await self._zones.start()
            await self._registry.set_loaded()
        except (lmdb.Error, StatusError) as refused:
            if not self._registry.trouble or not self._registry.has_answers():
                folder = self._registry.store.env.path()
                raise NotNow(f"the data in {folder} can't be written: {refused}") from None
        else:
            self._loaded = True

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


@contextlib.contextmanager
def mistakes_in_manifests(*, is_first: bool) -> Iterator[None]:
    """At the first start they end the server; later, DNS is worth more than a manifest changed since."""
    try:
        yield
    except ManifestError as wrong:
        if is_first:
            raise Fatal(str(wrong)) from None
        log.error("manifests are not applied again: %s", wrong)
