"""svcdns, BIND and unbound in front of one scripted upstream, and what a client gets from each."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from selectors import EVENT_READ, DefaultSelector

import dns.message
from peers.asking import SILENT, said
from peers.odd_contents import Says, contents, usual
from peers.odd_transports import transports
from peers.replies import zone_of
from toolbox.resolving import NamedForwarder, UnboundForwarder
from toolbox.running_server import RunningServer
from toolbox.scripted_upstream import Query, ScriptedUpstream, Sent

CASES: Mapping[str, Says] = {**dict(contents()), **dict(transports())}
_USUAL_UPSTREAM = "127.0.9.9"
_AT_ONCE = 20
_SOON, _ENOUGH = 0.3, 15.0
"""Seconds."""
_REFUSALS = (SILENT, "SERVFAIL", "REFUSED", "FORMERR", "NOTIMP")


@dataclass(frozen=True)
class Outcome:
    """What a client gets: the rcode (or "silent"), TC, and the records of the answer without their TTLs."""

    rcode: str
    tc: bool
    answer: frozenset[str]

    @property
    def is_refused(self) -> bool:
        return self.rcode in _REFUSALS


@dataclass(frozen=True)
class Outcomes:
    """The outcome of one case with each forwarder."""

    ours: Outcome
    named: Outcome
    unbound: Outcome


def asked_as(case: str) -> str:
    """Return the name that a case is asked for."""
    return f"www.sub.{case}.odd." if case.startswith("dname") else f"www.{case}.odd."


def _script(query: Query) -> list[Sent]:
    case = str(zone_of(query.name)).partition(".")[0].lower()
    return list(CASES.get(case, usual)(query))


@contextmanager
def _running() -> Iterator[list[tuple[str, int]]]:
    zones = {f"{case}.odd": f"127.1.{number // 200}.{number % 200 + 1}" for number, case in enumerate(CASES)}
    with ExitStack() as running:
        upstream = running.enter_context(ScriptedUpstream(_script))
        own = "".join(
            f'[[forward.zone]]\nname = "{zone}"\nupstreams = ["{address}:{upstream.port}"]\n'
            for zone, address in zones.items()
        )
        config = f'[forward]\nupstreams = ["{_USUAL_UPSTREAM}:{upstream.port}"]\n{own}'
        named = running.enter_context(NamedForwarder(upstream.port, _USUAL_UPSTREAM, zones))
        unbound = running.enter_context(UnboundForwarder(upstream.port, _USUAL_UPSTREAM, zones))
        server = running.enter_context(RunningServer(workers=1, config=config))
        yield [server.dns, ("127.0.0.1", named.port), ("127.0.0.1", unbound.port)]


def outcomes() -> dict[str, Outcomes]:
    """Ask all three forwarders for every case; those that take long are waited for at the end."""
    with _running() as addresses, ExitStack() as opened:
        selector = opened.enter_context(DefaultSelector())
        replies: list[dict[int, bytes]] = []
        sockets = []
        for address in addresses:
            sock = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.connect(address)
            replies.append({})
            sockets.append(sock)
            selector.register(sock, EVENT_READ, replies[-1])

        def receive(wanted: int, seconds: float) -> None:
            deadline = time.monotonic() + seconds
            while any(len(one) < wanted for one in replies) and time.monotonic() < deadline:
                for key, _ in selector.select(0.1):
                    assert isinstance(key.fileobj, socket.socket)
                    wire = key.fileobj.recv(65535)
                    key.data[int.from_bytes(wire[:2])] = wire

        numbered = enumerate(CASES)
        sent = 0
        while batch := list(islice(numbered, _AT_ONCE)):
            for number, case in batch:
                query = dns.message.make_query(asked_as(case), "A", use_edns=0, payload=4096, id=number)
                for sock in sockets:
                    sock.send(query.to_wire())
            sent += len(batch)
            receive(sent, _SOON)
        receive(sent, _ENOUGH)
    return {
        case: Outcomes(*(_outcome(one.get(number, b"")) for one in replies))
        for number, case in enumerate(CASES)
    }


def _outcome(wire: bytes) -> Outcome:
    reply = said(wire)
    words = (rr.split(" ", 2) for rr in reply.answer)
    return Outcome(reply.rcode, reply.tc, frozenset(f"{owner} {rest}" for owner, _, rest in words))
