"""Names that have become ours by a zone file: what the cache says about them is forgotten.

A name of ours is never looked for in the cache, so only an answer for another name can speak of it: one
whose CNAMEs lead there.  Those that come in are never kept (`border`); this finds those that were kept
while the name was still somebody else's, by another run of the server perhaps.
"""

from __future__ import annotations

import asyncio
import logging

from svcdns.cache import entry
from svcdns.cache.store import Cache
from svcdns.wire.key import text_of_key, wire_of_key
from svcdns.wire.query import Query

from .bailiwick import Border

log = logging.getLogger(__name__)

_AT_ONCE = 100
"""Entries that are looked at before questions have their turn."""


class GainedZones:
    """Watches which zones are ours, and which version of them."""

    def __init__(self, border: Border, cache: Cache) -> None:
        self._border = border
        self._cache = cache
        self._known: frozenset[tuple[str, bytes, int]] = frozenset()

    async def look(self) -> None:
        """To be called again and again: if a zone is new or has changed, forget what leads into it."""
        zones = self._border.zones()
        if gained := zones - self._known:
            forgotten = await self._forget()
            if forgotten:
                log.info("forwarded answers that lead to what is now ours are forgotten: %d", forgotten)
            self._tell_of_hidden(gained)
        self._known = zones

    def _tell_of_hidden(self, gained: frozenset[tuple[str, bytes, int]]) -> None:
        """Warn of zone files that hide a [[forward.zone]] of the same name, when they come."""
        before = {key for _, key, _ in self._known}
        for kind, key, _ in gained:
            if kind == "file" and key not in before and self._border.has_route(key):
                name = text_of_key(key)
                log.warning("%s is served from a zone file: its [[forward.zone]] has no effect", name)

    async def _forget(self) -> int:
        forgotten, key = 0, b""
        while some := self._cache.some_from(key, _AT_ONCE):
            for key, stored in some:
                if self._crosses(key, stored):
                    self._cache.remove(key)
                    forgotten += 1
            self._cache.commit()
            key += b"\0"  # the least key that comes after it
            await asyncio.sleep(0)
        return forgotten

    def _crosses(self, key: bytes, stored: bytes) -> bool:
        found = entry.decode(stored)
        if not found.has_cname:
            return False
        name, rrtype = entry.name_and_type(key)
        return bool(self._border.crossing(Query(name, rrtype, name=wire_of_key(name)), found))
