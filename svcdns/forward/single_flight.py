"""Single flight: however many clients ask the same thing, upstreams are asked once.

    join(ask, land) -> fresh in the cache: land at once
                    -> under way: land with the others
                    -> else a flight: the pool resolves, the cache keeps, all land

* What lands is always a packed reply (svcdns.cache.entry): an answer, a stale one, or a SERVFAIL that
  says why.  A flight never fails to land, whatever happens in it.
* Stale answers stand in when upstreams fail (RFC 8767), at once while all of them are known to be down:
  probes, not clients, find out when they are back.
* What a flight brings is in the cache before anybody hears of it, so that nobody asks again.
* Who knows the DS of a name is who has the name above it (RFC 4035 section 3.1.4.1): its pool is asked.
* An answer that must not be kept ends what was kept before: it would come back as a stale answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from svcdns.cache import entry
from svcdns.cache.store import Cache, now
from svcdns.config.sections import CacheConfig
from svcdns.forward.pool import Unresolved
from svcdns.wire import codes
from svcdns.wire.key import above
from svcdns.wire.query import Query
from svcdns.wire.response import Response

log = logging.getLogger(__name__)

Land = Callable[[bytes], None]
"""Is given a packed reply."""


class Pool(Protocol):
    """Where flights go (svcdns.forward.pool)."""

    @property
    def is_down(self) -> bool:
        """Whether none of its upstreams shows life."""

    async def resolve(self, ask: Query) -> Response:
        """Return an upstream's answer; raises Unresolved."""


class Flights:
    """The questions that upstreams are being asked."""

    def __init__(
        self,
        pool_of: Callable[[bytes], Pool | None],
        cache: Cache,
        config: CacheConfig,
        *,
        crosses: Callable[[Query, entry.CacheEntry], object] = lambda *_: None,
    ) -> None:
        """`pool_of` gives the pool for a name's key, None where nobody is to be asked for it.

        `crosses` says of a packed reply whether it leads to a name that others speak for: these are not kept.
        """
        self._crosses = crosses
        self._pool_of = pool_of
        self._cache = cache
        self._config = config
        self._waiting: dict[Query, list[Land]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._landing: list[tuple[Query, bytes]] = []

    def __len__(self) -> int:
        """Return how many flights there are."""
        return len(self._waiting)

    def has_pool(self, key: bytes, rrtype: int) -> bool:
        """Say whether there is anybody to be asked for a name (its key) and type."""
        return self._pool_of(asked_at(key, rrtype)) is not None

    def is_under_way(self, key: bytes, rrtype: int) -> bool:
        """Say whether upstreams are being asked for a name (its key) and type, whatever DO and CD are."""
        return any(
            Query(key, rrtype, do, cd) in self._waiting for do in (False, True) for cd in (False, True)
        )

    def fresh(self, ask: Query) -> bytes | None:
        """Return what the cache holds for a question, if it hasn't run out."""
        stored = self._cache.get(_key(ask))
        return stored if stored is not None and entry.is_fresh(stored, now()) else None

    def join(self, ask: Query, land: Land) -> None:
        """Have a question answered that is not fresh in the cache; `land` is called later, once."""
        waiting = self._waiting.get(ask)
        if waiting is not None:
            waiting.append(land)
            return
        self._waiting[ask] = [land]
        task = asyncio.get_running_loop().create_task(self._fly(ask))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, seconds: float) -> None:
        """Let flights land for so long, then end those that are left."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        self._land()

    async def _fly(self, ask: Query) -> None:
        reply = entry.failure(codes.EDE_NETWORK_ERROR, now())
        try:
            reply = await self._resolve(ask)
        except Exception:
            log.exception("a question could not be forwarded: %r", ask)
        finally:
            if not self._landing:
                asyncio.get_running_loop().call_soon(self._land)
            self._landing.append((ask, reply))

    def _land(self) -> None:
        """Write what came in this turn of the loop, in one transaction, then tell all who wait for it."""
        landing, self._landing = self._landing, []
        self._cache.commit()
        for ask, reply in landing:
            for land in self._waiting.pop(ask):
                try:
                    land(reply)
                except Exception:
                    log.exception("a forwarded answer could not be given: %r", ask)

    async def _resolve(self, ask: Query) -> bytes:
        """Return what upstreams or the cache say, and keep it."""
        pool = self._pool_of(asked_at(ask.key, ask.rrtype))
        if pool is None:
            return entry.failure(codes.EDE_NOT_AUTHORITATIVE, now())
        key = _key(ask)
        if pool.is_down and (stale := self._stale(key)) is not None:
            return self._keep(key, stale)
        try:
            received = await pool.resolve(ask)
        except Unresolved as failed:
            return self._keep(key, self._stale(key) or entry.failure(failed.ede, now(), str(failed)))
        time = now()
        reply = entry.pack(received, time, self._config)
        if entry.is_fresh(reply, time) and not self._crosses(ask, entry.decode(reply)):
            return self._keep(key, reply)
        if received.rcode in (codes.NOERROR, codes.NXDOMAIN):
            self._cache.remove(key)
        return reply

    def _stale(self, key: bytes) -> bytes | None:
        stored = self._cache.get(key)
        return entry.decode(stored).stale(now()) if stored is not None else None

    def _keep(self, key: bytes, reply: bytes) -> bytes:
        self._cache.put(key, reply)
        return reply


def asked_at(key: bytes, rrtype: int) -> bytes:
    """Return the key of the name whose upstreams know what is asked for."""
    return above(key) if rrtype == codes.DS else key


def _key(ask: Query) -> bytes:
    return entry.key(ask.key, ask.rrtype, ask.do, ask.cd)
