"""Looking a question up: in the cache, else upstream, once for all clients who ask the same.

    Lookups.look_up -> fresh in the cache: respond at once
                    -> too many wait:      respond with SERVFAIL (EDE 23)
                    -> else SingleFlight.resolve: join those who wait for the same query, or ask the pool

* What comes back is always a stored entry (svcdns.cache.entry): an answer, a stale one, or a SERVFAIL that
  says why.  Every client is answered, whatever happens on the way.
* Whether its CNAMEs lead out of bailiwick is found out once, and goes to all who wait.  Such an entry is not
  cached.
* Stale answers stand in when upstreams fail (RFC 8767), at once while all of them are known to be down:
  probes, not clients, find out when they are back.
* An entry is in the cache before anybody is answered, so that nobody asks again.
* The DS of a name is known to those who know the name above it (RFC 4035 section 3.1.4.1): its pool is asked.
* An answer that must not be kept ends what was kept before: it would come back as a stale answer.
* Questions that wait for upstreams are counted, for each client and in all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from svcdns.cache import entry
from svcdns.cache.entry import CacheEntry, decode
from svcdns.cache.store import Cache, now
from svcdns.config.sections import CacheConfig
from svcdns.dns import stats
from svcdns.wire import codes
from svcdns.wire.garbage import Garbage
from svcdns.wire.key import above
from svcdns.wire.query import Query
from svcdns.wire.response import Response

from .clients import Clients, ForwardedQuestion
from .pool import Attempt, Pool, Unresolved

log = logging.getLogger(__name__)


class Resolution(NamedTuple):
    """What the cache or upstreams say to a query."""

    entry: CacheEntry
    departure: Sequence[bytes] = ()
    """Where its CNAMEs lead out of bailiwick (`Bailiwick.departure`); empty where they don't."""


OnResolution = Callable[[Resolution], None]
Respond = Callable[[ForwardedQuestion, Resolution], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """Questions that may wait for upstreams at one time."""

    outstanding: int
    per_client: int
    """Of one address, or one network of 64 bits (IPv6)."""


class LooksUp(Protocol):
    """Says what others than our zones know of a name."""

    def has_pool(self, key: bytes, rrtype: int) -> bool:
        """Say whether there is anybody to be asked for a name (its key) and type."""

    def look_up(self, question: ForwardedQuestion, respond: Respond) -> None:
        """Call `respond` with what there is to say to the question's query, once, now or later."""


class Lookups:
    """Looks clients' questions up, within limits."""

    def __init__(self, single_flight: SingleFlight, clients: Clients, limits: Limits) -> None:
        self._single_flight = single_flight
        self._clients = clients
        self._limits = limits
        self._waiting: dict[str, int] = {}
        """By client; those alone that have any."""
        self.outstanding = 0
        """Questions that wait now."""

    def has_pool(self, key: bytes, rrtype: int) -> bool:
        """Say whether there is anybody to be asked for a name (its key) and type."""
        return self._single_flight.has_pool(key, rrtype)

    def look_up(self, question: ForwardedQuestion, respond: Respond) -> None:
        """Call `respond` with what there is to say to the question's query, once, now or later."""
        client, limits = question.counted_as, self._limits
        fresh = self._single_flight.fresh(question.query)
        if fresh is not None:
            self._clients.count(stats.CACHE_HITS)
            respond(question, fresh)
            return
        waiting = self._waiting.get(client, 0)
        if self.outstanding >= limits.outstanding or waiting >= limits.per_client:
            self._clients.count(stats.FORWARD_REFUSED)
            text = "too many questions wait for upstreams"
            respond(question, _failure(codes.EDE_NETWORK_ERROR, text))
        else:
            self._clients.count(stats.CACHE_MISSES)
            self.outstanding += 1
            self._waiting[client] = waiting + 1
            self._single_flight.resolve(question.query, partial(self._resolved, question, client, respond))

    def _resolved(
        self, question: ForwardedQuestion, client: str, respond: Respond, resolution: Resolution
    ) -> None:
        self.outstanding -= 1
        if (waiting := self._waiting[client] - 1) > 0:
            self._waiting[client] = waiting
        else:
            del self._waiting[client]
        respond(question, resolution)


class SingleFlight:
    """The queries that upstreams are being asked, each once."""

    def __init__(
        self,
        pool_of: Callable[[bytes], Pool | None],
        cache: Cache,
        config: CacheConfig,
        departure: Callable[[Query, CacheEntry], Sequence[bytes]] = lambda *_: (),
        scrubbed: Callable[[Query, Response], Response] = lambda _, response: response,
    ) -> None:
        """`pool_of` gives the pool for a name's key, None where nobody is to be asked for it.

        `departure` says where an entry leads out of bailiwick (`Bailiwick.departure`), `scrubbed` leaves out
        what others are to say (`Bailiwick.scrubbed`).
        """
        self._scrubbed = scrubbed
        self._departure = departure
        self._pool_of = pool_of
        self._cache = cache
        self._config = config
        self._waiting: dict[Query, list[OnResolution]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._resolved: list[tuple[Query, Resolution]] = []
        self._idle: asyncio.Event | None = None
        """To be set when nothing is under way any more."""

    def __len__(self) -> int:
        """Return how many queries are under way."""
        return len(self._waiting)

    def has_pool(self, key: bytes, rrtype: int) -> bool:
        """Say whether there is anybody to be asked for a name (its key) and type."""
        return self._pool_of(asked_at(key, rrtype)) is not None

    def is_under_way(self, key: bytes, rrtype: int) -> bool:
        """Say whether upstreams are being asked for a name (its key) and type, whatever DO and CD are."""
        return any(
            Query(key, rrtype, do, cd) in self._waiting for do in (False, True) for cd in (False, True)
        )

    def fresh(self, query: Query) -> Resolution | None:
        """Return what the cache holds for a query, if it hasn't run out."""
        stored = self._cache.get(key_of_query(query))
        if stored is None or not entry.is_fresh(stored, now()):
            return None
        return self._resolution(query, stored)

    def resolve(self, query: Query, on_resolution: OnResolution) -> None:
        """Have a query answered that is not fresh in the cache; calls back once, later."""
        waiting = self._waiting.setdefault(query, [])
        waiting.append(on_resolution)
        if len(waiting) > 1:
            return
        try:
            self._begin(query)
        except Exception:
            log.exception("a question could not be forwarded: %r", query)
            self._resolve(query, _failure(codes.EDE_NETWORK_ERROR))

    async def stop(self, seconds: float) -> None:
        """Wait so long for those under way, then end those that are left."""
        if self._waiting:
            self._idle = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        for query in self._waiting:
            self._resolve(query, _failure(codes.EDE_NETWORK_ERROR))
        self._call_back()

    def _begin(self, query: Query) -> None:
        """Ask upstreams, where that is to be done."""
        pool = self._pool_of(asked_at(query.key, query.rrtype))
        if pool is None:
            self._resolve(query, _failure(codes.EDE_NOT_AUTHORITATIVE))
        elif pool.is_down and (stale := self._stale(query)) is not None:
            self._resolve(query, self._keep(query, stale))
        else:
            pool.begin(query, partial(self._answered, query), partial(self._go_on, pool, query))

    def _answered(self, query: Query, response: Response) -> None:
        """Take the answer of the first upstream that was asked."""
        try:
            resolution = self._resolution_of(query, response)
        except Exception:
            log.exception("a question could not be forwarded: %r", query)
            resolution = _failure(codes.EDE_NETWORK_ERROR)
        self._resolve(query, resolution)

    def _go_on(self, pool: Pool, query: Query, attempt: Attempt) -> None:
        """Ask on in a task."""
        task = asyncio.get_running_loop().create_task(self._run(pool, query, attempt))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, pool: Pool, query: Query, attempt: Attempt) -> None:
        resolution = _failure(codes.EDE_NETWORK_ERROR)
        try:
            response = await pool.resolve(query, attempt)
            resolution = self._resolution_of(query, response)
        except Unresolved as failed:
            resolution = self._unanswered(query, failed.ede, str(failed))
        except Exception:
            log.exception("a question could not be forwarded: %r", query)
        finally:
            self._resolve(query, resolution)

    def _resolve(self, query: Query, resolution: Resolution) -> None:
        """Have those who wait called in the next turn of the loop, with all that comes in in this one."""
        if not self._resolved:
            asyncio.get_running_loop().call_soon(self._call_back)
        self._resolved.append((query, resolution))

    def _call_back(self) -> None:
        """Write what came in this turn of the loop, in one transaction, then call all who wait for it."""
        resolved, self._resolved = self._resolved, []
        self._cache.commit()
        for query, resolution in resolved:
            # Nobody waits any more for what comes in after the end.
            for on_resolution in self._waiting.pop(query, ()):
                try:
                    on_resolution(resolution)
                except Exception:
                    log.exception("a forwarded answer could not be given: %r", query)
        if self._idle is not None and not self._waiting:
            self._idle.set()

    def _resolution_of(self, query: Query, response: Response) -> Resolution:
        """Return what an upstream's answer says, and keep it."""
        try:
            response = self._scrubbed(query, response)
        except Garbage as failed:
            return self._unanswered(query, codes.EDE_NO_REACHABLE_UPSTREAM, str(failed))
        time = now()
        resolution = self._resolution(query, entry.pack(response, time, self._config))
        if entry.is_fresh(resolution.entry.stored, time) and not resolution.departure:
            self._cache.put(key_of_query(query), resolution.entry.stored)
        elif response.rcode in (codes.NOERROR, codes.NXDOMAIN):
            self._cache.remove(key_of_query(query))
        return resolution

    def _unanswered(self, query: Query, ede: int, text: str) -> Resolution:
        """Return what stands in for an answer, and keep it: a stale one, or a failure."""
        return self._keep(query, self._stale(query) or entry.failure(ede, now(), text))

    def _stale(self, query: Query) -> bytes | None:
        stored = self._cache.get(key_of_query(query))
        return decode(stored).stale(now()) if stored is not None else None

    def _keep(self, query: Query, stored: bytes) -> Resolution:
        self._cache.put(key_of_query(query), stored)
        return self._resolution(query, stored)

    def _resolution(self, query: Query, stored: bytes) -> Resolution:
        """Decode an entry, and find out where it leads: once for all who wait."""
        found = decode(stored)
        return Resolution(found, self._departure(query, found))


def _failure(ede: int, text: str = "") -> Resolution:
    return Resolution(decode(entry.failure(ede, now(), text)))


def asked_at(key: bytes, rrtype: int) -> bytes:
    """Return the key of the name whose upstreams know what is asked for."""
    return above(key) if rrtype == codes.DS else key


def key_of_query(query: Query) -> bytes:
    """Return the key under which the cache has what is said to a query."""
    return entry.key(query.key, query.rrtype, query.do, query.cd)
