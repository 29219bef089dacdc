"""An upstream server for tests that misbehaves on demand.

with Misbehaving("silent") as upstream:
    upstream.behaviour = "answers"     # recovers, in mid-flight
    upstream.stop(); upstream.start()  # gone and back, on the same port
"""

import asyncio
import contextlib
import functools
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Self, cast

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from toolbox.upstreams import HANG_SECONDS, HOST, Certificates, free_port

BEHAVIOURS = (
    "answers",  # A 192.0.2.7, AAAA 2001:db8::7, TXT "upstream", TTL 60; NODATA for other types
    "silent",  # nothing, ever
    "garbage",  # random octets
    "wrong_id",
    "wrong_question",
    "spoofed",  # garbage, a wrong ID and a wrong question first, then the answer
    "truncated",  # TC=1 over UDP, the answer over TCP
    "truncated_only",  # TC=1 over UDP, TCP connections are closed
    "huge",  # TC=1 over UDP, 60 KB over TCP
    "dribble",  # TC=1 over UDP, one octet a second over TCP
    "slow",  # the answer after `seconds`
    "nxdomain",  # with an SOA
    "servfail",
    "refused",
    "formerr_on_edns",  # and the answer without OPT
    "notimp_on_edns",
    "closes",  # TCP: closes on the question; UDP: silent
    "once",  # TCP: one answer a connection, then closes; UDP: answers
)


class Misbehaving:
    """A tiny UDP and TCP server in a thread that does what no real one does.

    `behaviour` (one of BEHAVIOURS) can be changed at any time; `count` says how many queries came,
    `asked` which (as dnspython messages), `connections` how many TCP connections were made, `ports` from
    which ports UDP queries came.
    With `certificates` its TCP port speaks TLS.
    """

    def __init__(
        self, behaviour: str = "answers", *, seconds: float = 5.0, certificates: Certificates | None = None
    ) -> None:
        """`seconds` is the delay of "slow"."""
        assert behaviour in BEHAVIOURS, behaviour
        self.behaviour = behaviour
        self.seconds = seconds
        self.asked: list[dns.message.Message] = []
        self.connections = 0
        self.ports: list[int] = []
        self.port = 0
        self._tls = certificates.context() if certificates else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """Queries so far, over UDP and TCP."""
        return len(self.asked)

    @property
    def address(self) -> str:
        """Where it is, as an upstream is written."""
        return f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; after a `stop` on the same port again."""
        up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(up)), daemon=True)
        self._thread.start()
        assert up.wait(HANG_SECONDS), "the misbehaving server doesn't start"

    def stop(self) -> None:
        """Close everything: UDP gets ECONNREFUSED, TCP connections end."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(HANG_SECONDS)
            self._thread = None

    async def _serve(self, up: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        server, datagrams = await self._listen()
        up.set()
        await self._stopped.wait()
        datagrams.close()
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> tuple[asyncio.Server, asyncio.DatagramTransport]:
        assert self._loop is not None
        again = self.port
        while True:
            self.port = again or free_port()
            server = None
            try:
                server = await asyncio.start_server(self._accept, HOST, self.port, ssl=self._tls)
                datagrams, _ = await self._loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=(HOST, self.port)
                )
            except OSError:
                if server is not None:
                    server.close()
                await asyncio.sleep(0.01)
            else:
                return server, datagrams

    def run(self, work: asyncio.Task[None]) -> None:
        """Keep a task until it is done."""
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.run(asyncio.ensure_future(self._connection(reader, writer)))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way: set[asyncio.Task[None]] = set()
        try:
            with contextlib.suppress(OSError, EOFError):
                while self.behaviour != "truncated_only":
                    wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
                    task = asyncio.ensure_future(self._tcp_reply(wire, writer))
                    under_way.add(task)
                    if self.behaviour in ("closes", "once"):
                        await task
                        break
        finally:
            for task in under_way:
                task.cancel()
            writer.close()

    async def _tcp_reply(self, wire: bytes, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            async for reply in self.replies(wire, over_tcp=True):
                framed = len(reply).to_bytes(2) + reply
                step = 1 if self.behaviour == "dribble" else len(framed)
                for at in range(0, len(framed), step):
                    writer.write(framed[at : at + step])
                    await writer.drain()
                    if step == 1:
                        await asyncio.sleep(1)

    async def replies(self, wire: bytes, *, over_tcp: bool) -> AsyncIterator[bytes]:
        """Yield the messages that are sent for one query."""
        query = dns.message.from_wire(wire)
        self.asked.append(query)
        how = self.behaviour
        if how == "slow":
            await asyncio.sleep(self.seconds)
        for reply in _replies(how, query, over_tcp):
            yield reply


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Misbehaving) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.ports.append(addr[1])
        self._server.run(asyncio.ensure_future(self._reply(data, addr)))

    async def _reply(self, data: bytes, addr: tuple[str, int]) -> None:
        async for reply in self._server.replies(data, over_tcp=False):
            self._transport.sendto(reply, addr)


def _replies(how: str, query: dns.message.Message, over_tcp: bool) -> Iterator[bytes]:
    good = _answer(query)
    by_tcp = ("truncated", "truncated_only", "huge", "dribble")
    rcodes: dict[str, dns.rcode.Rcode] = {
        "servfail": dns.rcode.SERVFAIL,
        "refused": dns.rcode.REFUSED,
        "nxdomain": dns.rcode.NXDOMAIN,
    }
    if how == "silent" or how == "closes":
        return
    elif how in by_tcp and not over_tcp:
        yield _of(query, truncated=True)
    elif how == "huge":
        yield _of(query, text_octets=60_000)
    elif how in rcodes:
        yield _of(query, rcodes[how])
    elif how in ("formerr_on_edns", "notimp_on_edns") and query.edns >= 0:
        yield _of(query, dns.rcode.FORMERR if how[0] == "f" else dns.rcode.NOTIMP)
    elif how in _SPOILT:
        yield from (spoil(good) for spoil in _SPOILT[how])
    else:
        yield good


def _garbage(reply: bytes) -> bytes:
    return random.randbytes(random.randrange(1, 600))


def _with_wrong_id(reply: bytes) -> bytes:
    return bytes((reply[0] ^ 0x55, reply[1] ^ 0xAA)) + reply[2:]


def _with_wrong_question(reply: bytes) -> bytes:
    return reply[:13] + bytes((reply[13] ^ 1,)) + reply[14:]


_SPOILT: dict[str, tuple[Callable[[bytes], bytes], ...]] = {
    "garbage": (_garbage,),
    "wrong_id": (_with_wrong_id,),
    "wrong_question": (_with_wrong_question,),
    "spoofed": (_garbage, _with_wrong_id, _with_wrong_question, bytes),
}

_DATA = {"A": "192.0.2.7", "AAAA": "2001:db8::7", "TXT": '"upstream"'}


@functools.cache
def _soa() -> dns.rrset.RRset:
    return dns.rrset.from_text(".", 300, "IN", "SOA", "ns.root. hostmaster.root. 1 7200 1800 86400 60")


def _answer(query: dns.message.Message) -> bytes:
    reply = dns.message.make_response(query, recursion_available=True)
    asked = query.question[0]
    data = _DATA.get(dns.rdatatype.to_text(asked.rdtype))
    if data is None:
        reply.authority.append(_soa())
    else:
        reply.answer.append(dns.rrset.from_text(asked.name, 60, "IN", asked.rdtype, data))
    return reply.to_wire(max_size=65535)


def _of(
    query: dns.message.Message,
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
    *,
    truncated: bool = False,
    text_octets: int = 0,
) -> bytes:
    reply = dns.message.make_response(query, recursion_available=True)
    if rcode in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
        reply.use_edns(False)  # as a server that knows no OPT
    reply.set_rcode(rcode)
    if rcode == dns.rcode.NXDOMAIN:
        reply.authority.append(_soa())
    if truncated:
        reply.flags |= dns.flags.TC
    if text_octets:
        texts = [f'"{number:04} {"x" * 245}"' for number in range(text_octets // 264)]
        name = query.question[0].name
        reply.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *texts))
    return reply.to_wire(max_size=65535)
