"""Questions over real TCP connections: framing, order, limits, clients that misbehave."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import pytest
from toolbox.answerer_harness import AnswererHarness, Z, rrset
from toolbox.tcp_streams import connect, framed, query, reply_from
from toolbox.waiting import run, until

from svcdns.dns import stats
from svcdns.dns.tcp import TcpListener
from svcdns.system.tcp_memory import SEND_OCTETS

SHORT = 1.0
LONG = 60.0


@asynccontextmanager
async def serving(world: AnswererHarness, **options: Any) -> AsyncIterator[tuple[TcpListener, int]]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        listener = TcpListener(sock, world.snapshots.begin, world.answerer, world.counters, **options)
        await listener.start()
        try:
            yield listener, sock.getsockname()[1]
        finally:
            await listener.close()


def test_pipelined_questions_are_answered_in_order(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world) as (_, port):
            reader, writer = await connect(port)
            names = [f"web.default.svc.{Z}", f"nothing.{Z}", f"huge.default.svc.{Z}", Z]
            names += [f"web.default.svc.{Z}", f"nothing.{Z}", f"many.default.svc.{Z}", Z] * 49
            writer.write(framed(*(query(name, number=n) for n, name in enumerate(names))))
            replies = [await reply_from(reader) for _ in names]
            assert [reply.id for reply in replies] == list(range(200))
            assert len(replies[2].answer[0]) > 4000
            writer.close()

    run(test())


def test_octet_by_octet(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world) as (_, port):
            reader, writer = await connect(port)
            for octet in framed(query(Z, "SOA"), query(Z, "NS")):
                writer.write(bytes((octet,)))
                await writer.drain()
            assert (await reply_from(reader)).answer
            assert (await reply_from(reader)).answer
            writer.close()

    run(test())


def test_a_write_between_two_questions_is_seen(world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(world) as (_, port):
            reader, writer = await connect(port)
            name = f"new.default.svc.{Z}"
            writer.write(framed(query(name)))
            assert (await reply_from(reader)).rcode() == dns.rcode.NXDOMAIN
            packet = framed(query(name))
            writer.write(packet[:-1])  # the question begins before the write and ends after it
            await writer.drain()
            world.put(name, rrset("A", "10.96.0.51"))
            writer.write(packet[-1:])
            assert (await reply_from(reader)).answer
            writer.close()

    run(test())


def test_half_closed_client_gets_its_answers(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world) as (_, port):
            reader, writer = await connect(port)
            writer.write(framed(*(query(f"huge.default.svc.{Z}", number=n) for n in range(8))))
            writer.write_eof()
            assert [(await reply_from(reader)).id for _ in range(8)] == list(range(8))
            assert await reader.read() == b""
            writer.close()

    run(test())


def test_malformed_and_silent_messages_leave_the_connection_open(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world) as (_, port):
            reader, writer = await connect(port)
            answer = query(Z)[:2] + b"\x80" + query(Z)[3:]
            writer.write(framed(b"", b"x" * 11, answer, query(Z)[:-3], query(Z, "SOA", 9)))
            assert (await reply_from(reader)).rcode() == dns.rcode.FORMERR
            assert (await reply_from(reader)).id == 9
            writer.close()

    run(test())


def test_slow_and_lying_clients_are_closed(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world, idle_seconds=SHORT) as (listener, port):
            nothing = await connect(port)
            one_octet = await connect(port)
            one_octet[1].write(b"\0")
            promise = await connect(port)
            promise[1].write(b"\xff\xff" + bytes(1000))
            silent = await connect(port)
            silent[1].write(framed(b"", b"", b"x"))
            for reader, writer in (nothing, one_octet, promise, silent):
                assert await reader.read() == b""
                writer.close()
            await until(lambda: not len(listener), "the connections to end")

    run(test())


def test_dripping_octets_dont_keep_a_connection(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world, idle_seconds=SHORT) as (_, port):
            reader, writer = await connect(port)

            async def drip() -> None:
                writer.write(b"\xff\xff")
                while True:
                    writer.write(b"x")
                    await asyncio.sleep(SHORT / 10)

            task = asyncio.create_task(drip())
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            task.cancel()
            writer.close()

    run(test())


def test_65535_octets_are_one_question(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world) as (_, port):
            reader, writer = await connect(port)
            padded = query(Z, "SOA")
            writer.write(framed(padded + bytes(65535 - len(padded))))
            assert (await reply_from(reader)).answer, "octets behind a question mean nothing"
            writer.write(framed(query(Z, "SOA")))
            assert (await reply_from(reader)).answer
            writer.close()

    run(test())


def test_a_client_that_doesnt_read_is_paused_then_closed(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world, idle_seconds=1.0) as (listener, port):
            _, writer = await connect(port)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            before = sum(shared_world.counters.slots[: stats.BATCHES])
            questions = framed(*(query(f"huge.default.svc.{Z}") for _ in range(2000)))
            writer.write(questions)
            await until(lambda: len(listener), "the connection")
            most = 0
            while len(listener):
                waiting = [c._transport.get_write_buffer_size() for c in listener._connections]
                most = max(most, *waiting)
                await asyncio.sleep(0.01)
            assert 0 < most < 256 << 10
            # 2,000 answers would be 130 MB; only what fits into the kernel's buffers was made.
            assert sum(shared_world.counters.slots[: stats.BATCHES]) - before < 500
            writer.close()

    run(test())


def test_oldest_idle_connection_makes_room(world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(world, limit=3, idle_seconds=LONG) as (listener, port):
            clients = []
            for _ in range(3):
                clients.append(await connect(port))
                clients[-1][1].write(framed(query(Z, "SOA")))
                await reply_from(clients[-1][0])
            clients[0][1].write(framed(query(Z, "SOA")))  # now the second is the oldest
            await reply_from(clients[0][0])
            clients.append(await connect(port))
            clients[3][1].write(framed(query(Z, "SOA")))
            assert (await reply_from(clients[3][0])).answer
            with suppress(ConnectionResetError):
                assert await clients[1][0].read() == b""
            clients[0][1].write(framed(query(Z, "SOA")))
            assert (await reply_from(clients[0][0])).answer
            assert len(listener) == 3
            for _, writer in clients:
                writer.close()
        assert world.counters.slots[stats.TCP_CONNECTIONS] == 4
        assert world.counters.slots[stats.TCP_REFUSED] == 1

    run(test())


def test_reset_by_the_client_leaves_nothing(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world) as (listener, port):
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(framed(query(f"huge.default.svc.{Z}")) * 5)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            reader, writer = await connect(port)
            writer.write(framed(query(Z, "SOA")))
            assert (await reply_from(reader)).answer
            writer.close()
            await until(lambda: not len(listener), "the connections to end")

    run(test())


def test_transfers_are_refused_without_configuration(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world) as (_, port):
            reader, writer = await connect(port)
            writer.write(framed(query(Z, "AXFR")))
            assert (await reply_from(reader)).rcode() == dns.rcode.REFUSED
            writer.close()

    run(test())


def test_listening_socket_stays_the_callers(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            for _ in range(2):  # as a worker that is started again on the same socket
                counters, answerer = shared_world.counters, shared_world.answerer
                listener = TcpListener(sock, shared_world.snapshots.begin, answerer, counters)
                await listener.start()
                reader, writer = await connect(sock.getsockname()[1])
                writer.write(framed(query(Z, "SOA")))
                assert (await reply_from(reader)).answer
                writer.close()
                await listener.close()

    run(test())


# Clients that ask and don't read: what they pin is bounded

DEAF = 12
"""Clients."""
MOST = 2 * SEND_OCTETS
"""Octets that the kernel may hold for one of them."""


def held(port: int) -> list[int]:
    """Return the octets that the kernel holds for each connection of a local port, nobody's ones too."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return [
        int(row[4].partition(":")[0], 16)
        for row in rows
        if row[1].endswith(f":{port:04X}") and row[3] not in ("0A", "06")  # LISTEN, TIME_WAIT
    ]


def deaf(port: int) -> socket.socket:
    """Return a connection that asks for far more than anybody keeps for it, and reads nothing."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    made.connect(("127.0.0.1", port))
    made.sendall(framed(*[query(f"huge.default.svc.{Z}")] * 200))
    return made


def test_what_clients_that_do_not_read_pin_is_bounded(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world, idle_seconds=LONG) as (_, port):
            clients = [deaf(port) for _ in range(DEAF)]
            await until(lambda: sum(map(bool, held(port))) == DEAF)
            most = same = 0
            while same < 20:  # until it grows no more
                await asyncio.sleep(0.05)
                before, most = most, max(most, *held(port))
                assert most <= MOST
                same = same + 1 if before == most else 0
            for client in clients:
                client.close()

    run(test())


@pytest.mark.parametrize("half_closed", [False, True])
def test_at_the_idle_limit_nothing_is_left_in_the_kernel(
    shared_world: AnswererHarness, half_closed: bool
) -> None:
    """One that is closed with octets in it would be nobody's, and stay for minutes."""

    async def test() -> None:
        async with serving(shared_world, idle_seconds=SHORT) as (listener, port):
            clients = [deaf(port) for _ in range(DEAF)]
            small = socket.create_connection(("127.0.0.1", port))
            small.sendall(framed(query(f"huge.default.svc.{Z}")))  # all of it is in the kernel at once
            for client in (*clients, small):
                if half_closed:
                    client.shutdown(socket.SHUT_WR)
            await until(lambda: any(held(port)))
            await until(lambda: not len(listener))
            await until(lambda: not any(held(port)))
            for client in clients:
                with pytest.raises(ConnectionError):
                    while client.recv(1 << 16):
                        pass
                client.close()
            small.close()

    run(test())


def test_a_half_closed_client_that_reads_late_gets_all(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world, idle_seconds=LONG) as (listener, port):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", port))
            client.sendall(framed(query(f"huge.default.svc.{Z}")))
            client.shutdown(socket.SHUT_WR)
            await until(lambda: any(held(port)))
            await asyncio.sleep(SHORT)
            assert len(listener) == 1, "it is still counted"
            client.setblocking(False)
            got = b""
            while part := await asyncio.get_running_loop().sock_recv(client, 1 << 16):
                got += part
            assert len(got) == 2 + int.from_bytes(got[:2]) > 60_000
            client.close()
            await until(lambda: not len(listener))

    run(test())


def test_connections_of_one_client_make_room_for_each_other_only(shared_world: AnswererHarness) -> None:
    async def test() -> None:
        async with serving(shared_world, idle_seconds=LONG, per_client=3) as (listener, port):
            loop = asyncio.get_running_loop()
            other = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
            await until(lambda: len(listener) == 1)
            many = []
            for number in range(6):
                many.append(socket.create_connection(("127.0.0.1", port)))
                await until(lambda number=number: len(listener) == 1 + min(number + 1, 3))
            for one in (*many, other):
                one.setblocking(False)
            for one in many[:3]:
                assert await loop.sock_recv(one, 1) == b""
            for one in (*many[3:], other):
                one.send(framed(query(Z, "SOA")))
                assert await loop.sock_recv(one, 1 << 16)
            for one in (*many, other):
                one.close()
            await until(lambda: not len(listener))
            assert not listener._clients

    run(test())
