"""Questions and replies over TCP in one loop; each stands behind its length (RFC 1035, section 4.2.2)."""

import asyncio

import dns.message

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def query(name: str, rrtype: str = "A", number: int = 1) -> bytes:
    message = dns.message.make_query(name, rrtype)
    message.id = number
    return message.to_wire()


def framed(*packets: bytes) -> bytes:
    return b"".join(len(packet).to_bytes(2) + packet for packet in packets)


async def reply_from(reader: asyncio.StreamReader) -> dns.message.Message:
    size = int.from_bytes(await reader.readexactly(2))
    return dns.message.from_wire(await reader.readexactly(size))


async def connect(port: int) -> Streams:
    return await asyncio.open_connection("127.0.0.1", port)
