"""Zones that have become ours: what the cache says about names in them is forgotten.

A name of ours is never looked for in the cache, so only an answer for another name can speak of it: one
whose CNAMEs lead there. Those that come in are never kept (`border`); this finds those that were kept
while the zone was still somebody else's, by another run of the server perhaps.
"""

from __future__ import annotations

import asyncio
import logging

from svcdns.names.key import text_of_key, wire_of_key
from svcdns.store.cache import Cache

from .. import cached
from .ask import Ask
from .border import Border

log = logging.getLogger(__name__)

_AT_ONCE = 100
"""Entries that are looked at before questions have their turn."""


class GainedZones:
    """Watches which zones are ours."""

    def __init__(self, border: Border, cache: Cache) -> None:
        self._border = border
        self._cache = cache
        self._known: frozenset[bytes] = frozenset()

    async def look(self) -> None:
        """To be called again and again: if there is a new zone, forget what leads into it."""
        origins = self._border.origins()
        if gained := origins - self._known:
            forgotten = await self._forget()
            if forgotten and self._known:
                names = ", ".join(sorted(map(text_of_key, gained)))
                log.info("%d forwarded answers led into a new zone (%s) and are forgotten", forgotten, names)
        self._known = origins

    async def _forget(self) -> int:
        forgotten, key = 0, b""
        while some := self._cache.some_from(key, _AT_ONCE):
            for key, stored in some:
                if self._leads_back(key, stored):
                    self._cache.remove(key)
                    forgotten += 1
            self._cache.commit()
            key += b"\0"  # the least key that comes after it
            await asyncio.sleep(0)
        return forgotten

    def _leads_back(self, key: bytes, stored: bytes) -> bool:
        if not cached.has_alias(stored):
            return False
        name, rrtype = cached.name_and_type(key)
        return bool(self._border.leads_back(Ask(name, rrtype, name=wire_of_key(name)), stored))
