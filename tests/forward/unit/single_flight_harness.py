"""What the tests of flights share: upstreams that answer when the test says so, and a clock that it sets."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dns.rdatatype
import pytest
from toolbox.cached_replies import SOA, Records, received

from svcdns.cache.store import Cache
from svcdns.config.sections import CacheConfig
from svcdns.forward import single_flight as flights_module
from svcdns.forward.pool import Unresolved
from svcdns.forward.single_flight import Flights
from svcdns.wire import codes
from svcdns.wire.key import key_of, wire_of
from svcdns.wire.query import Query
from svcdns.wire.response import Response

GUARD_SECONDS = 30
CONFIG = CacheConfig(octets=1 << 20, max_ttl=1000, max_negative_ttl=100, stale=500)


def ask_for(name: str, rrtype: str = "A", *, do: bool = False, cd: bool = False) -> Query:
    return Query(key_of(name), int(dns.rdatatype.from_text(rrtype)), do, cd, wire_of(name))


def name_of(ask: Query) -> str:
    labels, at = [], 0
    while size := ask.name[at]:
        labels.append(ask.name[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels) or "."


def address(ask: Query, last: int = 1, ttl: int = 300) -> Response:
    """Return what an upstream says about a name: 192.0.2.LAST."""
    return says(ask, [f"{name_of(ask)}. {ttl} IN A 192.0.2.{last}"])


def nxdomain(ask: Query) -> Response:
    return says(ask, (), [SOA], codes.NXDOMAIN)


def says(ask: Query, answer: Records = (), authority: Records = (), rcode: int = 0) -> Response:
    rrtype = dns.rdatatype.to_text(dns.rdatatype.RdataType(ask.rrtype))
    return received(rrtype, answer, authority, rcode=rcode, name=name_of(ask))


def truncated(ask: Query) -> Response:
    return replace(address(ask), truncated=True)


NO_REPLY = Unresolved(codes.EDE_NO_REACHABLE_UPSTREAM, "no upstream answered")


class Upstreams:
    """A pool: what it is asked waits until the test answers."""

    def __init__(self) -> None:
        self.is_down = False
        self.asked: list[Query] = []
        self._waiting: deque[tuple[Query, asyncio.Future[Response]]] = deque()

    def __len__(self) -> int:
        """Return how many questions wait."""
        return len(self._waiting)

    async def resolve(self, ask: Query) -> Response:
        self.asked.append(ask)
        reply: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, reply))
        return await reply

    async def answer(self, with_: object = address) -> None:
        """Answer the question that has waited longest, once it comes.

        `with_` is a function of the Query, or an exception.
        """
        await until(lambda: self._waiting)
        ask, reply = self._waiting.popleft()
        if isinstance(with_, Exception):
            reply.set_exception(with_)
        else:
            assert callable(with_)
            reply.set_result(with_(ask))


async def until(condition: object) -> None:
    """Let the loop turn until something holds."""
    assert callable(condition)
    async with asyncio.timeout(GUARD_SECONDS):
        while not condition():
            await asyncio.sleep(0)


class Sky:
    """Flights over upstreams of the test, with a real cache; `time` is what they take the time for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, config: CacheConfig = CONFIG) -> None:
        self.time = 10_000
        self.folder = folder
        self.upstreams = Upstreams()
        self.cache = Cache(folder, config.octets)
        self.pool: Upstreams | None = self.upstreams
        self.flights = Flights(lambda _: self.pool, self.cache, config)
        monkeypatch.setattr(flights_module, "now", lambda: self.time)

    def join(self, ask: Query) -> asyncio.Future[bytes]:
        """Ask; the future is what lands, and fails where something lands twice."""
        landed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.flights.join(ask, landed.set_result)
        return landed

    async def asking(self, ask: Query, with_: object = address) -> bytes:
        """Ask, have upstreams answer, return what lands."""
        landed = self.join(ask)
        await self.upstreams.answer(with_)
        return await asyncio.wait_for(landed, GUARD_SECONDS)


@contextmanager
def sky_over(folder: Path, monkeypatch: pytest.MonkeyPatch, config: CacheConfig = CONFIG) -> Iterator[Sky]:
    sky = Sky(folder, monkeypatch, config)
    try:
        yield sky
    finally:
        sky.cache.close()
