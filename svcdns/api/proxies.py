"""Proxies that follow the registry, and waiting until the traffic does what was acknowledged.

    a proxy                                            who waits
    POST /svcdns/v1/proxies/NODE?services=12&...       PATCH ... Svcdns-Wait: proxies
      held open until somebody waits for more          GET /svcdns/v1/wait?for=proxies

Rules:

* a proxy says how far it has put Services and EndpointSlices into effect (revisions of its watches) only when
  somebody wants to know: as long as nobody waits, none of this costs anything;
* a proxy is there as long as its request is open, and for GRACE seconds between two of them;
* who waits does so for a bounded time, and is told who is behind; the write itself has succeeded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from svcdns.objects.kinds import ENDPOINTSLICE, SERVICE, Kind

FOLLOWED = (SERVICE, ENDPOINTSLICE)
"""The kinds that traffic follows from."""
GRACE = 5.0
"""Seconds that a proxy may take between being told and saying how far it is."""
MOST = 1000
"""Proxies that are known at once."""

Revisions = Mapping[str, int]
"""Of each followed kind, by its plural: the revision up to which all of its events are meant."""


class Carries(NamedTuple):
    """What a proxy says of itself beside how far it is."""

    engine: str = ""
    services: int | None = None
    """How many Services it knows."""


NOTHING_SAID = Carries()


class Known(NamedTuple):
    """A proxy that is there."""

    carries: Carries
    behind: int
    """By so many revisions what it has in effect is older than what has been acknowledged."""


class TooMany(Exception):
    """There are as many proxies as are let in."""


@dataclass(slots=True)
class _Proxy:
    """One proxy, by the name of its node."""

    held: Revisions
    seen: float
    carries: Carries = NOTHING_SAID
    asked: Revisions = field(default_factory=dict)
    """What it has been told of last; it is told of each only once."""
    open: int = 0
    """Requests of it that wait to be told."""

    def has(self, wanted: Revisions) -> bool:
        return all(self.held.get(kind, 0) >= revision for kind, revision in wanted.items())


class Proxies:
    """Knows which proxies are there and how far they are; lives in one event loop."""

    def __init__(self, last_change: Callable[[Kind], int]) -> None:
        """`last_change` returns the revision of a kind's last acknowledged event."""
        self._last_change = last_change
        self._ended = False
        self._proxies: dict[str, _Proxy] = {}
        self._wanted: Revisions = {}
        self._news = asyncio.Event()
        """Set, and replaced, whenever a proxy came, went or said more, or somebody wants more."""

    def there(self) -> list[str]:
        """Return the nodes whose proxies are there."""
        now = time.monotonic()
        self._proxies = {
            node: proxy for node, proxy in self._proxies.items() if proxy.open or now - proxy.seen < GRACE
        }
        return sorted(self._proxies)

    async def known(self, seconds: float) -> dict[str, Known]:
        """Return those that are there by node; they have so many seconds to say how far they are."""
        await self.wait(seconds)
        wanted = {kind.plural: self._last_change(kind) for kind in FOLLOWED}
        there = {node: self._proxies[node] for node in self.there()}
        return {
            node: Known(one.carries, max(0, *(wanted[kind] - one.held.get(kind, 0) for kind in wanted)))
            for node, one in there.items()
        }

    async def report(
        self, node: str, held: Revisions, seconds: float, carries: Carries = NOTHING_SAID
    ) -> Revisions:
        """Note how far a proxy is; return what somebody waits for once it is more, {} after some seconds.

        Raises TooMany.
        """
        proxy = self._known(node, held)
        proxy.carries = carries
        self._tell()
        deadline = time.monotonic() + seconds
        proxy.open += 1
        try:
            while True:
                news = self._news
                if not proxy.has(self._wanted) and proxy.asked != self._wanted:
                    proxy.asked = self._wanted
                    return self._wanted
                if self._ended or not await _set_until(news, deadline - time.monotonic()):
                    return {}
        finally:
            proxy.open -= 1
            proxy.seen = time.monotonic()
            self._tell()

    async def wait(self, seconds: float) -> list[str]:
        """Wait until all proxies that are there have put into effect what is acknowledged by now.

        Return the nodes of those that have not within so many seconds.
        """
        wanted = {kind.plural: self._last_change(kind) for kind in FOLLOWED}
        deadline = time.monotonic() + seconds
        if any(wanted[kind] > self._wanted.get(kind, 0) for kind in wanted):
            self._wanted = wanted
        self._tell()
        while True:
            news = self._news
            behind = [node for node in self.there() if not self._proxies[node].has(wanted)]
            if not behind or self._ended or not await _set_until(news, deadline - time.monotonic()):
                return behind

    def end(self) -> None:
        """Let nobody wait any longer: the server stops."""
        self._ended = True
        self._tell()

    def _known(self, node: str, held: Revisions) -> _Proxy:
        if node not in self._proxies and len(self.there()) >= MOST:
            raise TooMany
        proxy = self._proxies.setdefault(node, _Proxy(held, time.monotonic()))
        proxy.held = held
        return proxy

    def _tell(self) -> None:
        told, self._news = self._news, asyncio.Event()
        told.set()


async def _set_until(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event; return whether it came within so many seconds."""
    if seconds <= 0:
        return event.is_set()
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
