"""A forwarder at work in this process: real sockets, links, store and cache, upstreams of the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest
from forward.unit.single_flight_harness import GUARD_SECONDS, Sky, sky_over, until
from toolbox.answerer_harness import World, Z, fill
from toolbox.cached_replies import ede_of

from svcdns.dns import stats
from svcdns.dns.forward_link import ForwardRequest, receive_replies, send
from svcdns.forward import forwarder as forwarder_module
from svcdns.forward.bailiwick import Border
from svcdns.forward.forwarder import Forwarder, Limits
from svcdns.forward.partial_loops import Circles
from svcdns.server.sockets import link
from svcdns.wire.key import key_of

CLIENT = ("192.0.2.77", 4000)
ALIAS = f"away.default.svc.{Z}"
"""Of www.elsewhere.test, which is not ours."""
TICKET = 1 << 40
PROBE = "0123456789abcdef.example.com"


class Office:
    """A forwarder at work: two UDP listeners, two workers' links, upstreams of the test, a real cache."""

    def __init__(self, world: World, sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.sky = sky
        self.counters = stats.Stats()
        self.udp = [bound("127.0.0.1"), bound("127.0.0.1")]
        self.workers, self.ends = zip(*(link() for _ in range(2)), strict=True)
        self.forwarder = self.another()
        self._tickets = TICKET
        monkeypatch.setattr(forwarder_module, "now", lambda: sky.time)

    def another(
        self, limits: Limits | None = None, begin: Any = None, circles: Circles | None = None
    ) -> Forwarder:
        return Forwarder(
            self.udp,
            self.ends,
            Border(begin or self.world.snapshots.begin),
            self.sky.flights,
            self.counters,
            limits=limits or Limits(100, 50),
            udp_size=1232,
            is_probe=lambda key: key == key_of(PROBE),
            circles=circles,
        )

    def close(self) -> None:
        for one in (*self.udp, *self.workers, *self.ends):
            one.close()

    # A worker's side

    def hand(
        self,
        name: str,
        rrtype: str = "A",
        *,
        client: Any = CLIENT,
        worker: int = 0,
        came: float = 0.0,
        **asked: Any,
    ) -> int:
        """Hand a TCP client's question over; return its ticket."""
        self._tickets += 1
        packet = question(name, rrtype, **asked).to_wire()
        assert send(
            self.workers[worker],
            ForwardRequest(packet, came or monotonic(), client, request_id=self._tickets),
        )
        return self._tickets

    async def reply(self, worker: int = 0) -> tuple[int, dns.message.Message]:
        """Return the next reply to a TCP client: its ticket, and the message."""
        found: list[Any] = []
        await until(lambda: found or found.extend(receive_replies(self.workers[worker], 1)))
        return found[0].request_id, dns.message.from_wire(found[0].message, one_rr_per_rrset=True)

    async def asking(self, name: str, rrtype: str = "A", **asked: Any) -> dns.message.Message:
        """Ask and return the reply; upstreams have been or will be told what to say."""
        ticket = self.hand(name, rrtype, **asked)
        back, message = await self.reply()
        assert back == ticket
        return message

    def count(self, slot: int) -> int:
        return self.counters.slots[slot]

    def assert_idle(self) -> None:
        assert self.forwarder.outstanding == 0
        assert not self.forwarder._clients
        assert len(self.sky.flights) == 0


def bound(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    made.setblocking(False)
    return made


def question(
    name: str, rrtype: str = "A", *, edns: bool = True, flags: int = dns.flags.RD
) -> dns.message.Message:
    query = dns.message.make_query(name, rrtype, use_edns=0 if edns else -1, payload=1232)
    query.flags = dns.flags.Flag(flags)
    return query


@asynccontextmanager
async def working(office: Office, **changed: Any) -> AsyncIterator[None]:
    """Let the forwarder take errands; at the end nothing waits any more."""
    office.forwarder = office.another(**changed)
    office.forwarder.start()
    try:
        yield
    finally:
        office.forwarder.stop()
        await office.sky.flights.stop(0)
    office.assert_idle()


def run(work: Coroutine[Any, Any, None]) -> None:
    async def guarded() -> None:
        await asyncio.wait_for(work, GUARD_SECONDS)

    asyncio.run(guarded())


def errors(reply: dns.message.Message) -> tuple[str, list[int]]:
    return dns.rcode.to_text(reply.rcode()), ede_of(reply)


@contextmanager
def office_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    world = World(folder / "data")
    with world.writing():
        fill(world)
        world.registry_zone("192.in-addr.arpa", "reverse", fallthrough=True)
    with sky_over(folder, monkeypatch) as sky:
        made = Office(world, sky, monkeypatch)
        yield made
        made.close()
    world.store.close()
