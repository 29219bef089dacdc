"""TCP connections of a worker that leaves: whoever has connected by then is served by the next one."""

from __future__ import annotations

import asyncio
import os
import socket

import dns.message
import pytest
from toolbox.answerer_harness import AnswererHarness, Z
from toolbox.tcp_streams import framed, query
from toolbox.waiting import GUARD_SECONDS, run

from svcdns.dns.tcp import TcpListener

LEAVE_SECONDS = 5.0
Passed = list[tuple[socket.socket, bytes]]


def listening(world: AnswererHarness, sock: socket.socket) -> TcpListener:
    return TcpListener(sock, world.snapshots.begin, world.answerer, world.counters)


async def leaves_after(world: AnswererHarness, sock: socket.socket, turns: int) -> Passed:
    """Have a worker accept for so many turns of its loop, and leave; return what it has passed on."""
    passed: Passed = []

    def pass_on(descriptor: int, octets: bytes) -> bool:
        passed.append((socket.socket(fileno=os.dup(descriptor)), octets))
        return True

    worker = listening(world, sock)
    await worker.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    await worker.close(LEAVE_SECONDS, pass_on)
    return passed


async def answered_by_the_next(
    world: AnswererHarness, sock: socket.socket, passed: Passed, client: socket.socket
) -> dns.message.Message:
    worker = listening(world, sock)
    await worker.start()
    for connection, octets in passed:
        worker.adopt(connection, octets)
    reader, writer = await asyncio.open_connection(sock=client)
    size = int.from_bytes(await reader.readexactly(2))
    reply = dns.message.from_wire(await reader.readexactly(size))
    writer.close()
    await worker.close()
    return reply


@pytest.mark.parametrize("turns", range(8))
def test_who_connects_at_the_last_moment_is_answered_by_the_next(
    shared_world: AnswererHarness, turns: int
) -> None:
    """Also in the turns between the kernel's connection and asyncio's.  The loop ends as a process does."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        client = socket.create_connection(sock.getsockname(), GUARD_SECONDS)
        name = f"web.default.svc.{Z}"

        async def first() -> Passed:
            return await leaves_after(shared_world, sock, turns)

        passed = run(first())
        client.sendall(framed(query(name)))
        reply = run(answered_by_the_next(shared_world, sock, passed, client))
        assert reply.answer and str(reply.question[0].name) == f"{name}."
