"""Questions over TCP (RFC 7766): each message behind two octets of length, several a connection.

* Own names are answered in the order of the questions.  A snapshot begins once questions are complete,
  answers those that are, and ends before anything is awaited.
* What upstreams have to be asked for is answered when they have answered: later questions don't wait
  for it (RFC 7766 section 6.2.1.1).  A client with OUTSIDE such questions is not read from.
* A connection lives `idle` seconds from its last complete question, however many octets came since:
  a client that sends one octet and waits, or that promises 65,535 and doesn't send them, is closed.
* A client that doesn't read is not read from; what it asked waits in a bounded buffer, and it is
  closed by the same rule.  What it didn't take, here and in the kernel, is bounded too (`tcp_memory`).
* Above `limit` connections the one that has been idle longest makes room for the new one; above
  `per_client` the one of that client.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from time import perf_counter_ns
from typing import cast

from svcdns.store.snapshot import Begin, never_raising
from svcdns.system import tcp_memory
from svcdns.tap.recorder import Recorder
from svcdns.wire.question import Question

from .access import EVERYBODY, counted_as
from .answer import Answerer
from .forward_link import Address, ForwardLink
from .no_reply import HAND_OVER, SILENCE
from .stats import TCP, TCP_CONNECTIONS, TCP_REFUSED, Stats
from .tcp_accepting import Accepting
from .tcp_messages import MessageBuffer
from .transfer import Stalled, Transfers, transfer_question

log = logging.getLogger(__name__)

IDLE_SECONDS = 10.0
CONNECTIONS = 1000
PER_CLIENT = 250
"""Connections of one address, or one network of 64 bits (IPv6)."""
OUTSIDE = 100
_QUIET_SECONDS = 0.2
_BATCH = 64
_WRITE_HIGH = 64 << 10
_READ_HIGH = 128 << 10
_MOST_UNSENT = 1 << 20
"""Octets of replies from upstreams that wait for one client: they come whether it reads or not."""
_FINISH_SECONDS = 0.2
"""From one look whether a client that asks nothing more has taken all to the next."""


class TcpListener:
    """Answers what comes in on one listening TCP socket, in the running loop."""

    def __init__(
        self,
        sock: socket.socket,
        begin: Begin,
        answerer: Answerer,
        counters: Stats,
        *,
        transfers: Transfers | None = None,
        rights: Mapping[str, int] = EVERYBODY,
        forward_link: ForwardLink | None = None,
        recorder: Recorder | None = None,
        idle_seconds: float = IDLE_SECONDS,
        limit: int = CONNECTIONS,
        per_client: int = PER_CLIENT,
    ) -> None:
        """What UdpListener is given too is as there; without `transfers` all of these are REFUSED.

        The socket stays the caller's: `close` doesn't close it.
        """
        self.begin = never_raising(begin)
        self.recorder = recorder or Recorder()
        self.answerer = answerer
        self.counters = counters
        self.transfers = transfers
        self.rights = rights
        self.forward_link = forward_link or ForwardLink(None)
        self.idle_seconds = idle_seconds
        self._sock = sock
        self._limit = limit
        self._per_client = per_client
        self._connections: dict[Connection, None] = {}
        self._clients: Counter[str] = Counter()
        self._accepting: Accepting | None = None
        self._tasks: set[asyncio.Future[None]] = set()

    async def start(self) -> None:
        """Begin to accept."""
        tcp_memory.bound(self._sock, self.idle_seconds)
        self._accepting = await Accepting.begin(self._sock, lambda: Connection(self))

    def adopt(self, connection: socket.socket, octets: bytes) -> None:
        """Go on with a connection of another worker, which has read `octets` of its next question."""
        self._tasks.add(task := asyncio.ensure_future(self._adopt(connection, octets)))
        task.add_done_callback(self._tasks.discard)

    async def _adopt(self, sock: socket.socket, octets: bytes) -> None:
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        try:
            await loop.connect_accepted_socket(lambda: Connection(self, octets), sock)
        except OSError:
            sock.close()  # the client has gone meanwhile

    async def close(
        self, seconds: float = 0.0, pass_on: Callable[[int, bytes], bool] = lambda *_: False
    ) -> None:
        """Stop accepting; pass connections on, or close them: those that are in use only after `seconds`."""
        if self._accepting is not None:
            await self._accepting.end()
        deadline = asyncio.get_running_loop().time() + seconds
        while self._connections and asyncio.get_running_loop().time() < deadline:
            for connection in list(self._connections):
                connection.leave(pass_on)
            await asyncio.sleep(_QUIET_SECONDS / 4)
        for connection in list(self._connections):
            connection.close()

    def not_forwarded(self, packet: bytes, client: Address) -> bytes:
        """Return the reply to a question that could not be handed over, which is recorded."""
        reply = self.answerer.not_forwarded(packet, self.begin, TCP)
        self.recorder.record(TCP, 0, [(packet, client)], [(reply, client)])
        return reply

    def __len__(self) -> int:
        """Return how many connections there are."""
        return len(self._connections)

    def opened(self, connection: Connection) -> None:
        """Take a connection in, closing another one where there are too many."""
        self.counters.slots[TCP_CONNECTIONS] += 1
        client = connection.counted_as
        has_many = self._clients[client] >= self._per_client
        if has_many or len(self._connections) >= self._limit:
            self.counters.slots[TCP_REFUSED] += 1
            others = (one for one in self._connections if not has_many or one.counted_as == client)
            oldest = next((other for other in others if not other.is_transferring), connection)
            self.closed(oldest)
            oldest.abort()
            if oldest is connection:
                return
        self._connections[connection] = None
        self._clients[client] += 1

    def active(self, connection: Connection) -> None:
        """Move a connection behind all that have been idle for longer."""
        if self._connections.pop(connection, 0) is None:
            self._connections[connection] = None

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        if self._connections.pop(connection, 0) is None:
            client = connection.counted_as
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, listener: TcpListener, octets: bytes = b"") -> None:
        """`octets` have been read already, by another worker."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._buffer = MessageBuffer(octets)
        self._writable = asyncio.Event()
        self._writable.set()
        self._transfer: asyncio.Task[None] | None = None
        self._outside = 0
        self._half_closed = False
        self._finishing = False
        self._scheduled = False
        self._reading = True

    @property
    def is_transferring(self) -> bool:
        """Whether a zone transfer runs on it."""
        return self._transfer is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the idle time."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH)
        peer = self._transport.get_extra_info("peername")
        self._peer = peer or ("", 0)
        self._client = str(self._peer[0])
        self.counted_as = counted_as(self._client)
        self._rights = self._listener.rights[self._client]
        self._last = self._loop.time()
        self._timer = self._loop.call_later(self._listener.idle_seconds, self._check)
        self._listener.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._timer.cancel()
        self._buffer.clear()
        if self._transfer is not None:
            self._transfer.cancel()
        self._listener.closed(self)

    def data_received(self, data: bytes) -> None:
        """Answer the questions that are complete now."""
        self._buffer += data
        self._go_on()

    def eof_received(self) -> bool:
        """Keep a half-closed connection for as long as there are answers to give."""
        self._half_closed = True
        if not self._waits():
            self._finish()
        return True

    def pause_writing(self) -> None:
        """Stop answering: the client doesn't read."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on with what waits in the buffer."""
        self._writable.set()
        self._go_on()

    def send(self, message: bytes) -> None:
        """Queue one message; a client for whom too much waits is given up."""
        self._transport.write(len(message).to_bytes(2) + message)
        if self._transport.get_write_buffer_size() > _MOST_UNSENT:
            self.abort()

    async def drained(self, seconds: float) -> bool:
        """Wait until there is room for more; False if that takes longer than `seconds`."""
        if not self._writable.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._writable.wait(), seconds)
        return self._writable.is_set()

    def close(self) -> None:
        """Close after what has been said, or at once if the client doesn't take it."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def leave(self, pass_on: Callable[[int, bytes], bool]) -> None:
        """Where no answer is due: be passed on, else close unless something has been asked lately."""
        transport = self._transport
        if self._waits() or self._half_closed or transport.is_closing() or transport.get_write_buffer_size():
            return
        if pass_on(transport.get_extra_info("socket").fileno(), bytes(self._buffer)):
            transport.abort()  # only our descriptor of it
        elif not self._buffer and self._loop.time() - self._last > _QUIET_SECONDS:
            self.close()

    def abort(self) -> None:
        """Close at once."""
        tcp_memory.reset(self._transport)

    def _finish(self) -> None:
        """Close once the client has taken all: a socket that is closed sooner is nobody's, and stays."""
        if self._transport.is_closing():
            return
        if not tcp_memory.unsent(self._transport):
            self._transport.close()
            return
        if not self._finishing:
            self._finishing = True
            self._transport.write_eof()
        self._loop.call_later(_FINISH_SECONDS, self._finish)

    def _blocked(self) -> bool:
        return self._transfer is not None or not self._writable.is_set() or self._outside >= OUTSIDE

    def _waits(self) -> bool:
        """Say whether an answer is still to be given."""
        return self._blocked() or self._scheduled or self._outside > 0

    def _go_on(self) -> None:
        """Answer at most _BATCH questions, then give others a turn."""
        self._scheduled = False
        if self._transport.is_closing():
            return
        if not self._blocked() and self._buffer.next_size() is not None:
            self._answer()
        if not self._blocked() and self._buffer.next_size() is not None:
            self._scheduled = True
            self._loop.call_soon(self._go_on)
        self._throttle()
        if self._half_closed and not self._waits() and not self._finishing:
            self._finish()

    def _answer(self) -> None:
        """Answer complete questions in one snapshot, up to a transfer or as much as is written at once."""
        listener = self._listener
        replies: list[bytes] = []
        outside: list[bytes] = []
        asked, said = list[tuple[bytes, Address]](), list[tuple[bytes, Address]]()
        octets, began = 0, perf_counter_ns()
        with listener.begin() as snapshot:
            for packet in self._questions():
                reply = listener.answerer.answer(packet, snapshot, TCP, self._rights)
                if reply is HAND_OVER:
                    outside.append(packet)
                    if self._outside + len(outside) >= OUTSIDE:
                        break
                elif reply is not SILENCE:
                    replies.append(len(reply).to_bytes(2) + reply)
                    if listener.recorder.sample:
                        asked.append((packet, self._peer))
                        said.append((reply, self._peer))
                    octets += len(reply)
                    if octets > _WRITE_HIGH:
                        break
        if listener.answerer.refusals.waiting:
            listener.answerer.refusals.of_client(self._client)
        if replies:
            self._transport.write(b"".join(replies))
            self._touch()
        listener.recorder.record(TCP, perf_counter_ns() - began, asked, said)
        for packet in outside:
            self._hand_over(packet)

    def _hand_over(self, packet: bytes) -> None:
        self._outside += 1

        def on_reply(reply: bytes | None) -> None:
            self._outside -= 1
            if self._transport.is_closing():
                return
            self.send(reply or self._listener.not_forwarded(packet, self._peer))
            self._touch()
            self._go_on()

        if not self._listener.forward_link.forward_tcp(packet, self._peer, on_reply):
            self._outside -= 1
            self.send(self._listener.not_forwarded(packet, self._peer))

    def _questions(self) -> Iterator[bytes]:
        """Take complete messages out of the buffer; a transfer question is begun instead."""
        for _ in range(_BATCH):
            if (packet := self._buffer.take()) is None:
                return
            transfer = transfer_question(packet) if self._listener.transfers is not None else None
            if transfer is not None:
                # Its task first runs after what stands before it has been written.
                self._transfer = self._loop.create_task(self._run_transfer(packet, transfer))
                return
            yield packet

    def _touch(self) -> None:
        self._last = self._loop.time()
        self._listener.active(self)

    def _throttle(self) -> None:
        """Read only while answers can be given and the buffer is small."""
        wanted = not self._blocked() and len(self._buffer) < _READ_HIGH
        if wanted != self._reading and not self._transport.is_closing():
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    async def _run_transfer(self, packet: bytes, question: Question) -> None:
        transfers = self._listener.transfers
        assert transfers is not None
        try:
            await transfers.serve(packet, question, self._client, self)
        except Stalled:
            self.abort()
        except Exception:
            log.exception("a zone transfer to %s failed", self._client)
            self.abort()
        finally:
            self._transfer = None
        self._touch()
        self._go_on()

    def _check(self) -> None:
        """Close the connection if it has been idle for too long."""
        idle_since = self._loop.time() if self._transfer is not None else self._last
        left = idle_since + self._listener.idle_seconds - self._loop.time()
        if left <= 0:
            if tcp_memory.unsent(self._transport):
                self.abort()
            else:
                self.close()
            left = self._listener.idle_seconds  # a close that hangs becomes an abort
        self._timer = self._loop.call_later(left, self._check)
