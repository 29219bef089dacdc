"""From where upstreams are asked over UDP when many are: ports and IDs, and what ends with a socket."""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from forward.unit.test_local_faults import no_descriptors
from forward.unit.transports_harness import HANG, WWW, ask_for, data_of, left_over, upstream
from toolbox.misbehaving import Misbehaving
from toolbox.waiting import until

from svcdns.forward.upstreams import datagram_sockets
from svcdns.forward.upstreams.datagram_poller import DatagramPoller
from svcdns.forward.upstreams.datagram_sockets import (
    ENOUGH,
    KEPT,
    QUERIES,
    DatagramSockets,
    Exchange,
    KeptSocket,
)
from svcdns.forward.upstreams.upstream import NoReply, Outcome, Silence
from svcdns.wire.response import Response

MANY = 3 * KEPT


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """Yield a socket that nobody answers from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        yield made


class Asking:
    """The sockets to one peer, and where each of the questions so far came from."""

    def __init__(self, peer: socket.socket) -> None:
        self.poller = DatagramPoller()
        self.sockets = DatagramSockets(*peer.getsockname(), self.poller, lambda _: None)
        self.ports: list[int] = []
        self.idents: list[int] = []

    def begin(self) -> Exchange:
        exchange = Exchange(WWW, lambda _: None, 0.0, edns=True)
        kept = self.sockets.begin(exchange)
        self.ports.append(kept.sock.getsockname()[1])
        self.idents.append(exchange.ident)
        return exchange

    def ask(self, questions: int, *, replied: bool = True) -> list[int]:
        """Ask one after the other; return the ports."""
        for _ in range(questions):
            self.sockets.end(self.begin(), replied=replied)
        return self.ports[-questions:]

    def close(self) -> None:
        self.sockets.close()
        self.poller.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# Ports and IDs


async def test_whoever_asks_little_has_a_new_port_each_time(peer: socket.socket) -> None:
    asking = Asking(peer)
    assert len(set(asking.ask(KEPT))) == KEPT
    asking.close()


async def test_of_many_questions_nobody_can_tell_the_next_port_or_id(peer: socket.socket) -> None:
    asking = Asking(peer)
    asking.ask(KEPT)
    ports = asking.ask(MANY)
    assert len(set(ports)) > KEPT // 2, "drawn from all that are kept"
    steps = Counter(pairwise(ports))
    assert max(steps.values()) < 8, "none follows upon another"
    assert max(Counter(ports).values()) <= QUERIES
    assert len(set(asking.idents)) > len(asking.idents) * 0.95
    asking.close()


async def test_no_port_asks_more_than_its_share(peer: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagram_sockets, "KEPT", 4)
    asking = Asking(peer)
    ports = asking.ask(40 * QUERIES)
    # The kernel may give the number of a port that was closed again.
    assert max(Counter(ports).values()) <= 3 * QUERIES and len(set(ports)) > 20
    asking.close()


async def test_no_two_under_way_on_one_socket_share_an_id(
    peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram_sockets, "KEPT", 1)
    numbers = iter(number // 3 for number in range(1000))  # each comes three times
    monkeypatch.setattr(DatagramSockets, "_random", lambda _: next(numbers))
    monkeypatch.setattr(DatagramSockets, "_drawn", lambda self: self._open[0])
    asking = Asking(peer)
    begun = [asking.begin() for _ in range(QUERIES)]
    assert len(set(asking.ports)) == 1
    assert len({exchange.ident for exchange in begun}) == QUERIES
    for exchange in begun:
        asking.sockets.end(exchange, replied=True)
    asking.close()


async def test_a_port_on_which_a_reply_is_owed_asks_nothing_more(
    peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram_sockets, "KEPT", 8)
    asking = Asking(peer)
    asking.ask(8)
    kept = asking.begin()
    others = [other for other in (asking.begin() for _ in range(200)) if other.kept is kept.kept]
    asking.sockets.end(kept, replied=False)
    assert kept.kept.sock.fileno() >= 0 or not others, "it is open as long as others wait on it"
    again = [asking.begin() for _ in range(200)]
    assert kept.kept not in [exchange.kept for exchange in again]
    for exchange in others:
        asking.sockets.end(exchange, replied=True)
    assert kept.kept.sock.fileno() < 0
    for exchange in asking.sockets.under_way():
        asking.sockets.end(exchange, replied=True)
    asking.close()


# What is open


async def test_ports_are_closed_soon_after_the_last_question(
    peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagram_sockets, "KEEP_SECONDS", 0.05)
    monkeypatch.setattr(datagram_sockets, "_SWEEP_SECONDS", 0.01)
    before = descriptors()
    asking = Asking(peer)
    asking.ask(20)
    waits = asking.begin()
    await until(lambda: descriptors() == before + 2, "all but the one on which a reply is owed")
    assert waits.kept.sock.fileno() >= 0
    asking.sockets.end(waits, replied=True)
    assert descriptors() == before + 1
    asking.close()
    assert descriptors() == before
    assert not left_over()


async def test_at_the_end_nothing_is_open(peer: socket.socket) -> None:
    before = descriptors()
    asking = Asking(peer)
    asking.ask(MANY)
    asking.ask(10, replied=False)
    asking.close()
    assert descriptors() == before


async def test_without_descriptors_those_that_are_open_are_used_if_they_are_enough(
    peer: socket.socket,
) -> None:
    asking = Asking(peer)
    asking.ask(ENOUGH - 1)
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        asking.begin()
    asking.ask(1)
    with no_descriptors():
        ports = asking.ask(200)
    assert len(set(ports)) > ENOUGH // 2
    asking.close()


# Asked without a task


async def begun(text: str, seconds: float = HANG) -> tuple[Outcome, int]:
    """Return what comes of a query that is begun, and how many messages were garbage."""
    async with upstream(text) as made:
        outcomes: list[Outcome] = []
        made.begin(ask_for("www.example.org.", "TXT"), seconds, outcomes.append)  # type: ignore[attr-defined]
        await until(lambda: outcomes)
        return outcomes[0], made.garbage


@pytest.mark.parametrize(
    "behaviour",
    ["answers", "servfail", "nxdomain", "truncated", "huge", "formerr_on_edns", "notimp_on_edns", "spoofed"],
)
async def test_what_is_begun_comes_to_the_same_as_an_exchange(behaviour: str) -> None:
    with Misbehaving(behaviour) as server:
        async with upstream(server.address) as made:
            expected = await made.exchange(ask_for("www.example.org.", "TXT"), HANG)
        asked = len(server.asked)
        outcome, garbage = await begun(server.address)
        assert len(server.asked) == 2 * asked
    assert isinstance(outcome, Response)
    assert (outcome.rcode, data_of(outcome)) == (expected.rcode, data_of(expected))
    assert garbage == (3 if behaviour == "spoofed" else 0)


@pytest.mark.parametrize("behaviour", ["silent", "garbage", "wrong_id", "wrong_question"])
async def test_what_is_begun_ends_with_its_time(behaviour: str) -> None:
    with Misbehaving(behaviour) as server:
        outcome, _ = await begun(server.address, 0.2)
    assert isinstance(outcome, Silence)


async def test_each_that_is_begun_hears_of_its_end_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However it ends, and whatever ends beside it on the same socket."""
    monkeypatch.setattr(datagram_sockets, "KEPT", 4)
    heard: list[tuple[int, Outcome]] = []
    with Misbehaving() as server:
        async with upstream(server.address) as made:
            begin = made.begin  # type: ignore[attr-defined]
            for number in range(200):
                server.behaviour = "silent" if number % 50 > 47 else "answers"
                begin(WWW, 0.2, lambda outcome, number=number: heard.append((number, outcome)))
                if number % 10 == 0:
                    await until(lambda number=number: len(heard) >= number // 2)
            await until(lambda: len(heard) == 200)
            server.behaviour = "silent"
            begin(WWW, HANG, lambda outcome: heard.append((200, outcome)))
    assert sorted(number for number, _ in heard) == list(range(201))
    *_, (last, outcome) = heard
    assert last == 200 and isinstance(outcome, NoReply) and "closed" in str(outcome)


async def test_an_upstream_that_comes_back_is_not_held_to_what_the_kernel_says_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A socket that is kept has the error of a query that found nobody there."""
    monkeypatch.setattr(datagram_sockets, "KEPT", 4)
    with Misbehaving() as server:
        async with upstream(server.address) as made:
            for _ in range(12):
                assert data_of(await made.exchange(WWW, HANG)) == ["192.0.2.7"]
            kept: list[KeptSocket] = list(made._sockets._open)  # type: ignore[attr-defined]
            await asyncio.to_thread(server.stop)
            for one in kept:
                one.sock.send(b"x")  # the kernel hears that nobody is there
            server.start()  # and nobody else does before the next question: the loop has no turn
            for _ in range(12):
                assert data_of(await made.exchange(WWW, HANG)) == ["192.0.2.7"]
