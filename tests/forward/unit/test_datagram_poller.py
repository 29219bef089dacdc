"""DatagramPoller: each socket that can be read is called for, none that has ended, and nothing stays open."""

import asyncio
import os
import socket
from functools import partial

from svcdns.forward.upstreams.datagram_poller import DatagramPoller

HANG = 30.0
MANY = 600
"""More than are called for at once."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return a socket that waits and one that writes to it."""
    waits, writes = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    waits.setblocking(False)
    return waits, writes


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_all_that_have_something_to_read_are_called_for_once_each_datagram() -> None:
    poller = DatagramPoller()
    found: dict[int, bytes] = {}
    every = asyncio.Event()

    def take(number: int, sock: socket.socket) -> None:
        assert number not in found
        found[number] = sock.recv(100)
        if len(found) == MANY:
            every.set()

    pairs = [pair() for _ in range(MANY)]
    for number, (waits, _) in enumerate(pairs):
        poller.watch(waits, partial(take, number, waits))
    for number, (_, writes) in enumerate(pairs):
        writes.send(b"%d" % number)
    await every.wait()
    assert found == {number: b"%d" % number for number in range(MANY)}
    for waits, writes in pairs:
        poller.close_socket(waits)
        writes.close()
    poller.close()


async def test_one_that_does_not_read_is_called_again_and_keeps_no_other_waiting() -> None:
    poller = DatagramPoller()
    lazy, to_lazy = pair()
    busy, to_busy = pair()
    calls, heard = 0, asyncio.Event()

    def ignore() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            to_busy.send(b"x")

    poller.watch(lazy, ignore)
    poller.watch(busy, lambda: (busy.recv(100), heard.set()))
    to_lazy.send(b"x")
    await heard.wait()
    assert calls >= 3
    poller.close_socket(lazy)
    poller.close_socket(busy)
    poller.close()
    to_lazy.close()
    to_busy.close()


async def test_who_gets_the_number_of_a_socket_that_ended_hears_nothing_of_it() -> None:
    poller = DatagramPoller()
    first, to_first = pair()
    number = first.fileno()
    poller.watch(first, lambda: called.append("first"))
    to_first.send(b"x")
    poller.close_socket(first)
    second, to_second = pair()
    assert number in (second.fileno(), to_second.fileno())
    called: list[str] = []
    heard = asyncio.Event()
    poller.watch(second, lambda: (called.append("second"), second.recv(100), heard.set()))
    to_second.send(b"x")
    await heard.wait()
    assert called == ["second"]
    poller.close_socket(second)
    poller.close()
    to_first.close()
    to_second.close()


async def test_nothing_is_open_before_the_first_socket_nor_after_the_end() -> None:
    waits, writes = pair()
    before = descriptors()
    poller = DatagramPoller()
    assert descriptors() == before
    poller.watch(waits, lambda: None)
    assert descriptors() == before + 1
    poller.close()
    poller.close()
    assert descriptors() == before
    poller.close_socket(waits)
    writes.close()
    assert descriptors() == before - 2
