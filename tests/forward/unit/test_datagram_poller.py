"""Arrivals: each socket with something to read is called for, none that has ended, and nothing stays open."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from functools import partial
from typing import Any

from svcdns.forward.upstreams.datagram_poller import Arrivals

HANG = 30.0
MANY = 600
"""More than are called for at once."""


def run(work: Coroutine[Any, Any, None]) -> None:
    async def guarded() -> None:
        await asyncio.wait_for(work, HANG)

    asyncio.run(guarded())


def pair() -> tuple[socket.socket, socket.socket]:
    """Return a socket that waits and one that writes to it."""
    waits, writes = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    waits.setblocking(False)
    return waits, writes


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_all_that_have_something_to_read_are_called_for_once_each_datagram() -> None:
    async def work() -> None:
        arrivals = Arrivals()
        found: dict[int, bytes] = {}
        every = asyncio.Event()

        def take(number: int, sock: socket.socket) -> None:
            assert number not in found
            found[number] = sock.recv(100)
            if len(found) == MANY:
                every.set()

        pairs = [pair() for _ in range(MANY)]
        for number, (waits, _) in enumerate(pairs):
            arrivals.watch(waits, partial(take, number, waits))
        for number, (_, writes) in enumerate(pairs):
            writes.send(b"%d" % number)
        await every.wait()
        assert found == {number: b"%d" % number for number in range(MANY)}
        for waits, writes in pairs:
            arrivals.end(waits)
            writes.close()
        arrivals.close()

    run(work())


def test_one_that_does_not_read_is_called_again_and_keeps_no_other_waiting() -> None:
    async def work() -> None:
        arrivals = Arrivals()
        lazy, to_lazy = pair()
        busy, to_busy = pair()
        calls, heard = 0, asyncio.Event()

        def ignore() -> None:
            nonlocal calls
            calls += 1
            if calls == 3:
                to_busy.send(b"x")

        arrivals.watch(lazy, ignore)
        arrivals.watch(busy, lambda: (busy.recv(100), heard.set()))
        to_lazy.send(b"x")
        await heard.wait()
        assert calls >= 3
        arrivals.end(lazy)
        arrivals.end(busy)
        arrivals.close()
        to_lazy.close()
        to_busy.close()

    run(work())


def test_who_gets_the_number_of_a_socket_that_ended_hears_nothing_of_it() -> None:
    async def work() -> None:
        arrivals = Arrivals()
        first, to_first = pair()
        number = first.fileno()
        arrivals.watch(first, lambda: called.append("first"))
        to_first.send(b"x")
        arrivals.end(first)
        second, to_second = pair()
        assert number in (second.fileno(), to_second.fileno())
        called: list[str] = []
        heard = asyncio.Event()
        arrivals.watch(second, lambda: (called.append("second"), second.recv(100), heard.set()))
        to_second.send(b"x")
        await heard.wait()
        assert called == ["second"]
        arrivals.end(second)
        arrivals.close()
        to_first.close()
        to_second.close()

    run(work())


def test_nothing_is_open_before_the_first_socket_nor_after_the_end() -> None:
    async def work() -> None:
        waits, writes = pair()
        before = descriptors()
        arrivals = Arrivals()
        assert descriptors() == before
        arrivals.watch(waits, lambda: None)
        assert descriptors() == before + 1
        arrivals.close()
        arrivals.close()
        assert descriptors() == before
        arrivals.end(waits)
        writes.close()
        assert descriptors() == before - 2

    run(work())
