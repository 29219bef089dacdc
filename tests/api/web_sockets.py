"""A WebSocket's client that sends what it likes, octet by octet; see the fixture `raw`."""

import asyncio
import base64
import struct

from toolbox.builders import service
from toolbox.waiting import GUARD_SECONDS

from svcdns.objects.kinds import SERVICE

SERVICES = "/api/v1/namespaces/shop/services"
WATCH = f"{SERVICES}?watch=1"
KEY = base64.b64encode(bytes(16)).decode()
CLOSE, PING, PONG, TEXT = 8, 9, 10, 1


def head(path=WATCH, **changed) -> bytes:
    """The head of a handshake, octet by octet; a header of None is left out."""
    headers = {"Host": "127.0.0.1", "Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket",
               "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}  # fmt: skip
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [
        f"GET {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items() if value),
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def frame(
    opcode: int, octets: bytes = b"", *, fin: bool = True, masked: bool = True, length: int = -1
) -> bytes:
    """A frame as a client sends it; `length` is what it says of itself."""
    size = len(octets) if length < 0 else length
    extended = b"" if size < 126 else struct.pack("!H", size) if size < 65536 else struct.pack("!Q", size)
    short = size if size < 126 else 126 if size < 65536 else 127
    start = bytes([(0x80 if fin else 0) | opcode, (0x80 if masked else 0) | short])
    return start + extended + (bytes(4) if masked else b"") + octets


async def put_20_mb(registry) -> None:
    """Register more than the buffers of a connection hold: who does not read is found out at once."""
    for number in range(100):
        large = service(f"s{number}")
        large["metadata"]["annotations"] = {"x": "x" * 200_000}
        await registry.put(SERVICE, "shop", large)


class RawClient:
    """A client that sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, bytes]:
        octets = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), GUARD_SECONDS)
        return int(octets.split()[1]), octets

    async def frame(self) -> tuple[int, bytes]:
        opcode, size = await asyncio.wait_for(self.reader.readexactly(2), GUARD_SECONDS)
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        return opcode & 15, await self.reader.readexactly(size)


def protocol_of(token: str) -> str:
    """A token as a subprotocol."""
    encoded = base64.urlsafe_b64encode(token.encode("latin-1")).decode().rstrip("=")
    return f"base64url.bearer.authorization.k8s.io.{encoded}"
