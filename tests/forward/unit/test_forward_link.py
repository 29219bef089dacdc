"""Handing over: what is refused at once, who is told what, and that nobody waits or is told twice."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from svcdns.dns import forward_link
from svcdns.dns.forward_link import (
    GIVEN_UP_SECONDS,
    LIFELESS_SECONDS,
    ForwardLink,
    ForwardReply,
    ForwardRequest,
    receive_requests,
    send,
)

CLIENT = ("192.0.2.1", 40_000)
QUESTION = b"\x11\x22\1\0\0\1\0\0\0\0\0\0\3www\7example\3com\0\0\1\0\1"
GUARD_SECONDS = 30

Ends = tuple[socket.socket, socket.socket]
"""The worker's and the forwarder's."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Set what time it is."""
    time = [1000.0]
    monkeypatch.setattr(forward_link, "monotonic", lambda: time[0])
    return time


async def given_all(condition: Callable[[], object]) -> None:
    """Let the loop turn until something has come."""
    async with asyncio.timeout(GUARD_SECONDS):
        while not condition():
            await asyncio.sleep(0)


# Refusing


async def test_without_a_link_nothing_is_handed_over() -> None:
    lone = ForwardLink(None)
    assert not lone.forward_udp([(QUESTION, CLIENT, [])], 0)
    assert not lone.forward_tcp(QUESTION, CLIENT, lambda _: pytest.fail("refused is refused"))
    lone.start()
    lone.stop()


@pytest.mark.parametrize("octets", [40, 4000, 65535])
def test_a_full_link_refuses_at_once_and_takes_more_once_there_is_room(ends: Ends, octets: int) -> None:
    worker, forwarder = ends
    busy = ForwardLink(worker)
    taken = 0
    while send(worker, ForwardRequest(bytes(octets), 1.0, CLIENT)):
        taken += 1
        assert taken < 1_000_000
    assert taken >= 3
    while busy.forward_udp([(QUESTION, CLIENT, [])], 0):  # there may be room for less
        taken += 1
    assert not busy.forward_tcp(QUESTION, CLIENT, lambda _: pytest.fail("refused is refused"))
    assert len(receive_requests(forwarder, 1_000_000)) == taken
    assert busy.forward_udp([(QUESTION, CLIENT, [])], 0)


def test_a_link_whose_other_end_is_closed_refuses(ends: Ends) -> None:
    worker, forwarder = ends
    assert ForwardLink(worker).forward_udp([(QUESTION, CLIENT, [])], 0)
    forwarder.close()
    assert not ForwardLink(worker).forward_udp([(QUESTION, CLIENT, [])], 0)


async def test_a_forwarder_without_life_gets_nothing(ends: Ends, clock: list[float]) -> None:
    worker, forwarder = ends
    beat = [clock[0]]
    handing = ForwardLink(worker, lambda: beat[0])
    for age, taken in [
        (0.0, True),
        (LIFELESS_SECONDS, True),
        (LIFELESS_SECONDS + 0.01, False),
        (60.0, False),
    ]:
        clock[0] = beat[0] + age
        assert handing.forward_udp([(QUESTION, CLIENT, [])], 0) is taken
        assert handing.forward_tcp(QUESTION, CLIENT, lambda _: None) is taken
    beat[0] = clock[0]
    assert handing.forward_udp([(QUESTION, CLIENT, [])], 0)
    assert len(receive_requests(forwarder, 100)) == 5


def test_a_forwarder_that_has_never_shown_life_is_given_some_time(ends: Ends, clock: list[float]) -> None:
    handing = ForwardLink(ends[0], lambda: 0.0)
    assert handing.forward_udp([(QUESTION, CLIENT, [])], 0)
    clock[0] += LIFELESS_SECONDS + 0.01
    assert not handing.forward_udp([(QUESTION, CLIENT, [])], 0)


# Tickets


async def test_each_reply_goes_to_who_asked(ends: Ends) -> None:
    worker, forwarder = ends
    got: dict[int, bytes | None] = {}
    handing = ForwardLink(worker)
    handing.start()
    for number in range(200):
        assert handing.forward_tcp(
            b"%d" % number, CLIENT, lambda reply, number=number: got.update({number: reply})
        )
    for errand in reversed(receive_requests(forwarder, 1000)):
        assert errand.request_id
        assert send(forwarder, ForwardReply(errand.request_id, b"re " + errand.packet))
    await given_all(lambda: len(got) == 200)
    handing.stop()
    assert got == {number: b"re %d" % number for number in range(200)}


async def test_replies_to_a_former_workers_questions_are_nobodys(ends: Ends) -> None:
    worker, forwarder = ends
    got: list[bytes | None] = []
    former = ForwardLink(worker)
    for _ in range(50):
        assert former.forward_tcp(QUESTION, CLIENT, lambda _: pytest.fail("that worker died"))
    next_one = ForwardLink(worker)
    next_one.start()
    assert next_one.forward_tcp(b"mine", CLIENT, got.append)
    *old, mine = receive_requests(forwarder, 100)
    for errand in old:
        assert send(forwarder, ForwardReply(errand.request_id, b"old"))
    assert send(forwarder, ForwardReply(mine.request_id, b"new"))
    assert send(forwarder, ForwardReply(mine.request_id, b"twice"))
    assert next_one.forward_tcp(b"last", CLIENT, got.append)
    (last,) = receive_requests(forwarder, 100)
    assert send(forwarder, ForwardReply(last.request_id, b"last"))
    await given_all(lambda: len(got) == 2)
    next_one.stop()
    assert got == [b"new", b"last"]


async def test_who_has_waited_for_too_long_is_told_so_once(ends: Ends, clock: list[float]) -> None:
    worker, forwarder = ends
    got: list[tuple[str, bytes | None]] = []
    handing = ForwardLink(worker)
    handing.start()
    for name in ("old", "young"):
        assert handing.forward_tcp(QUESTION, CLIENT, lambda reply, name=name: got.append((name, reply)))
        clock[0] += 1
    clock[0] += GIVEN_UP_SECONDS - 2
    await given_all(lambda: got)
    assert got == [("old", None)]
    for errand in receive_requests(forwarder, 10):
        assert send(forwarder, ForwardReply(errand.request_id, b"late"))
    await given_all(lambda: len(got) == 2)
    handing.stop()
    assert got == [("old", None), ("young", b"late")]


async def test_who_asks_again_when_given_up_is_served_as_any_other(ends: Ends, clock: list[float]) -> None:
    got: list[bytes | None] = []
    handing = ForwardLink(ends[0])

    def again(reply: bytes | None) -> None:
        got.append(reply)
        if len(got) == 1:
            assert handing.forward_tcp(QUESTION, CLIENT, got.append)
        clock[0] += GIVEN_UP_SECONDS

    assert handing.forward_tcp(QUESTION, CLIENT, again)
    clock[0] += GIVEN_UP_SECONDS
    await given_all(lambda: len(got) == 2)
    assert got == [None, None]


def test_what_waits_in_a_link_is_there_for_the_next_forwarder(ends: Ends) -> None:
    """Its end is a file of the supervisor's too: it outlives who reads it."""
    worker, forwarder = ends
    assert ForwardLink(worker).forward_udp([(QUESTION, CLIENT, [])], 0)
    dying = forwarder.dup()
    dying.close()
    assert [errand.packet for errand in receive_requests(forwarder, 10)] == [QUESTION]


# Octets that are no message

GARBAGE = [b"", b"\xc1", b"\x93\1", b"garbage", bytes(1000), b"\x90", b"\x96" + b"\xc0" * 6]


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_ends_no_worker(ends: Ends, garbage: bytes) -> None:
    worker, forwarder = ends
    got: list[bytes | None] = []
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    handing = ForwardLink(worker)
    handing.start()
    forwarder.send(garbage)
    assert handing.forward_tcp(QUESTION, CLIENT, got.append)
    (errand,) = receive_requests(forwarder, 10)
    for _ in range(20):
        await asyncio.sleep(0)
    assert send(forwarder, ForwardReply(errand.request_id, b"reply"))
    await given_all(lambda: got)
    handing.stop()
    assert got == [b"reply"]


@pytest.mark.parametrize("garbage", [octets for octets in GARBAGE if octets])
async def test_garbage_costs_the_messages_beside_it_nothing(ends: Ends, garbage: bytes) -> None:
    worker, forwarder = ends
    got: list[bytes | None] = []
    handing = ForwardLink(worker)
    for _ in range(2):
        worker.send(garbage)
        assert handing.forward_tcp(QUESTION, CLIENT, got.append)
    found = receive_requests(forwarder, 10)
    assert [errand.packet for errand in found] == [QUESTION, QUESTION]
    for number, errand in enumerate(found):
        forwarder.send(garbage)
        assert send(forwarder, ForwardReply(errand.request_id, b"reply %d" % number))
    handing.start()
    await given_all(lambda: len(got) == 2)
    handing.stop()
    assert got == [b"reply 0", b"reply 1"]
