"""A forwarder at work in this process: real sockets, links, store and cache, upstreams of the test."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest
from forward.unit.single_flight_harness import SingleFlightHarness, single_flight_over
from toolbox.answerer_harness import AnswererHarness, Z, fill
from toolbox.cached_replies import ede_of
from toolbox.waiting import until

from svcdns.dns import stats
from svcdns.dns.forward_link import ForwardRequest, receive_replies, send
from svcdns.forward import respond as respond_module
from svcdns.forward.bailiwick import Bailiwick
from svcdns.forward.clients import Clients
from svcdns.forward.intake import Forwarder, Loops
from svcdns.forward.partial_loops import PartialLoopDetector
from svcdns.forward.single_flight import Limits, Lookups
from svcdns.server.sockets import link
from svcdns.wire.key import key_of

CLIENT = ("192.0.2.77", 4000)
ALIAS = f"away.default.svc.{Z}"
"""Of www.elsewhere.info, which is not ours."""
TICKET = 1 << 40
PROBE = "0123456789abcdef.example.com"


class ForwarderHarness:
    """A forwarder at work: two UDP listeners, two workers' links, upstreams of the test, a real cache."""

    def __init__(
        self, world: AnswererHarness, single_flight: SingleFlightHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.world = world
        self.single_flight = single_flight
        self.counters = stats.Stats()
        self.udp = [bound("127.0.0.1"), bound("127.0.0.1")]
        self.workers, self.ends = zip(*(link() for _ in range(2)), strict=True)
        self.forwarder = self.another()
        self._tickets = TICKET
        monkeypatch.setattr(respond_module, "now", lambda: single_flight.time)

    def another(
        self,
        limits: Limits | None = None,
        begin: Any = None,
        partial_loops: PartialLoopDetector | None = None,
    ) -> Forwarder:
        clients = Clients(self.udp, self.counters)
        self.lookups = Lookups(self.single_flight.flights, clients, limits or Limits(100, 50))
        loops = Loops(lambda key: key == key_of(PROBE), partial_loops or self._no_partial_loops())
        bailiwick = Bailiwick(begin or self.world.snapshots.begin)
        return Forwarder(self.ends, clients, bailiwick, self.lookups, loops)

    def _no_partial_loops(self) -> PartialLoopDetector:
        return PartialLoopDetector(lambda key: (), self.single_flight.flights.is_under_way)

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
        assert self.lookups.outstanding == 0
        assert not self.lookups._waiting
        assert len(self.single_flight.flights) == 0


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
async def working(harness: ForwarderHarness, **changed: Any) -> AsyncIterator[None]:
    """Let the forwarder take errands; at the end nothing waits any more."""
    harness.forwarder = harness.another(**changed)
    harness.forwarder.start()
    try:
        yield
    finally:
        harness.forwarder.stop()
        await harness.single_flight.flights.stop(0)
    harness.assert_idle()


def errors(reply: dns.message.Message) -> tuple[str, list[int]]:
    return dns.rcode.to_text(reply.rcode()), ede_of(reply)


@contextmanager
def forwarder_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForwarderHarness]:
    world = AnswererHarness(folder / "data")
    with world.writing():
        fill(world)
        world.registry_zone("192.in-addr.arpa", "reverse", fallthrough=True)
    with single_flight_over(folder, monkeypatch) as single_flight:
        made = ForwarderHarness(world, single_flight, monkeypatch)
        yield made
        made.close()
    world.store.close()
