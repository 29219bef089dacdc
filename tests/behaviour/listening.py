"""The real UDP and TCP listeners in this process, on sockets of the loopback, and a TCP client for them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.message
import dns.rdatatype
from behaviour.cluster_harness import Reply, reply_to

from svcdns.config.sections import AclConfig
from svcdns.dns.access import Access, Rights
from svcdns.dns.answer import Answerer
from svcdns.dns.stats import Stats
from svcdns.dns.tcp import TcpListener
from svcdns.dns.transfer import Transfers
from svcdns.dns.udp import UdpListener
from svcdns.store.snapshot import Snapshot

HOST = "127.0.0.1"
HANG = 30.0
"""Seconds after which a test is sure that no reply comes."""


@asynccontextmanager
async def listening(
    answerer: Answerer,
    counters: Stats,
    begin: Callable[[], Snapshot],
    folder: Path,
    transfer_to: Sequence[Any],
) -> AsyncIterator[tuple[str, int]]:
    """Listen; yield (host, port)."""
    udp, tcp = sockets()
    transfers = Transfers(
        Rights(Access(AclConfig(), forwards=False, transfer_to=transfer_to)), folder, begin, counters
    )
    on_udp = UdpListener(udp, begin, answerer, counters)
    on_tcp = TcpListener(tcp, begin, answerer, counters, transfers=transfers)
    on_udp.start()
    await on_tcp.start()
    try:
        yield tcp.getsockname()
    finally:
        on_udp.close()
        await on_tcp.close()
        udp.close()
        tcp.close()


def sockets() -> tuple[socket.socket, socket.socket]:
    """Bind UDP and TCP to one port that the kernel chooses."""
    while True:
        tcp = socket.create_server((HOST, 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:  # taken over UDP
            udp.close()
            tcp.close()
        else:
            return udp, tcp


async def ask_udp(place: tuple[str, int], query: dns.message.Message, source: str | None = None) -> Reply:
    """Ask; `source` is the address of the client."""
    reply = await dns.asyncquery.udp(query, place[0], HANG, place[1], source, ignore_unexpected=True)
    return reply_to(query, reply.wire)


async def ask_tcp(place: tuple[str, int], *queries: dns.message.Message) -> list[Reply]:
    """Ask several questions at once on one connection; the replies in the order they came."""
    async with asyncio.timeout(HANG):
        reader, writer = await asyncio.open_connection(*place)
        try:
            wires = [query.to_wire() for query in queries]
            writer.write(b"".join(len(wire).to_bytes(2) + wire for wire in wires))
            return [reply_to(query, await _message(reader)) for query in queries]
        finally:
            writer.close()


async def transfer(place: tuple[str, int], query: dns.message.Message) -> list[Reply]:
    """Ask for a transfer; the messages up to the SOA that ends it, or the one that refuses it."""
    async with asyncio.timeout(HANG):
        reader, writer = await asyncio.open_connection(*place)
        try:
            wire = query.to_wire()
            writer.write(len(wire).to_bytes(2) + wire)
            replies = [_read(await _message(reader))]
            while not _is_over(replies):
                replies.append(_read(await _message(reader)))
            writer.write_eof()
            assert await reader.read() == b"", "octets behind the end of the transfer"
            return replies
        finally:
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))


def _read(wire: bytes) -> Reply:
    return Reply(wire, dns.message.from_wire(wire, one_rr_per_rrset=True))


def _is_over(replies: list[Reply]) -> bool:
    if replies[0].rcode != "NOERROR" or not replies[0].answer:
        return True
    soas = sum(rr.rdtype == dns.rdatatype.SOA for reply in replies for rr in reply.message.answer)
    alone = len(replies) == 1 and len(replies[0].answer) == 1
    is_ixfr = replies[0].message.question[0].rdtype == dns.rdatatype.IXFR
    return soas == 2 or (alone and is_ixfr)
