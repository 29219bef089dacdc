"""Zones of ours that come, change or go: what the cache says is forgotten then.

A name of ours is never looked up in the cache, so only an answer for another name can speak of it: one whose
CNAMEs lead there.  Those that come in are never kept (`bailiwick`), but answers were kept while the name was
still somebody else's, by an earlier run of the server perhaps.  Zones change rarely: the cache is emptied
whenever they do, and says itself for which zones it was filled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from svcdns.cache.store import Cache
from svcdns.wire.key import text_of_key

from .bailiwick import Bailiwick, ZoneVersion

log = logging.getLogger(__name__)

Zones = frozenset[ZoneVersion]


class ZoneChanges:
    """Watches which zones are ours, and which version of them."""

    def __init__(self, bailiwick: Bailiwick, cache: Cache, source: Callable[[Zones], str]) -> None:
        """`source` gives what svcdns.cache.store.Cache is to remember of where answers come from."""
        self._bailiwick = bailiwick
        self._cache = cache
        self._source = source
        self._known: Zones = frozenset()

    def check(self) -> None:
        """To be called again and again: empty the cache when the zones are others than it was filled for."""
        zones = self._bailiwick.zones()
        if zones is None or zones == self._known:
            return
        if forgotten := self._cache.use_source(self._source(zones)):
            log.info("our zones have changed: %d forwarded answers are forgotten", forgotten)
        # Zone files that come hide a [[forward.zone]] of the same name.
        before = {key for _, key, _ in self._known}
        self._known = zones
        for kind, key, _ in zones:
            if kind == "file" and key not in before and self._bailiwick.has_upstreams(key):
                name = text_of_key(key)
                log.warning("%s is served from a zone file: its [[forward.zone]] has no effect", name)
