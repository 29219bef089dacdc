"""Questions over UDP: one socket, one callback, no tasks.

The order is the promise: first receive what has come (at most 64 datagrams), *then* begin the
snapshot, answer all, end it, send.  A question that came after a write was acknowledged is thus
always answered from a state that has the write.

What upstreams have to be asked for goes to the forwarder, after all that was answered has been sent; the
forwarder answers through this socket.

A socket that is bound to a wildcard address learns from the kernel at which address it was asked,
and answers from there (IP_PKTINFO, IPV6_RECVPKTINFO; RFC 3542).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from functools import partial
from struct import Struct
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from svcdns.store.snapshot import Begin, never_raising
from svcdns.tap.recorder import Recorder

from .access import EVERYBODY
from .answer import Answerer
from .forward_link import Ancillary, ForwardLink, UdpQuestion
from .no_reply import HAND_OVER, SILENCE
from .stats import DROPPED, UDP, Stats

if TYPE_CHECKING:
    from .compiled_path import Batch

BATCH = 64
_OCTETS = 4096
"""More than any question has; of a longer datagram the rest is not read."""

_IN_PKTINFO = Struct("=i4s4s")
_IN6_PKTINFO = Struct("=16si")
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
_ANCILLARY = 64
_LINK_LOCAL = b"\xfe\x80"

Address = Any
"""As the socket module gives it."""
_Batch = list[tuple[bytes, Address]]
"""Messages and whose they are: a tuple that begins with the client's address as text."""


class UdpListener:
    """Answers what comes in on one bound UDP socket, in the running loop."""

    def __init__(
        self,
        sock: socket.socket,
        begin: Begin,
        answerer: Answerer,
        counters: Stats,
        *,
        rights: Mapping[str, int] = EVERYBODY,
        forward_link: ForwardLink | None = None,
        recorder: Recorder | None = None,
        number: int = 0,
    ) -> None:
        """`begin` begins a snapshot, or returns None while there is no store to read.

        `rights` gives those of a client's address, `forward_link` leads to the forwarder, which knows this
        listener by its `number`; `recorder` is shown what was answered.  The socket stays the caller's:
        `close` doesn't close it.
        """
        self._recorder = recorder or Recorder()
        self._rights = rights
        self._forward_link = forward_link or ForwardLink(None)
        self._number = number
        self._sock = sock
        self._begin = never_raising(begin)
        self._answerer = answerer
        self._counters = counters
        sock.setblocking(False)

    def start(self) -> None:
        """Begin to answer."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self.reader())

    def reader(self) -> Callable[[], None]:
        """Return what answers all that waits, by recvmmsg and sendmmsg where the compiled path is there."""
        wildcard = is_wildcard(self._sock)
        if wildcard:
            ask_for_addresses(self._sock)
        if self._answerer.compiled is None:
            return self._read_with_addresses if wildcard else self._read
        from .compiled_path import Batch

        batch = Batch(self._answerer.compiled, self._sock.fileno(), self._rights, wildcard)
        return partial(self._read_compiled, batch)

    def close(self) -> None:
        """Stop answering; what still waits in the socket stays there for another process."""
        self._loop.remove_reader(self._sock.fileno())

    def _read(self) -> None:
        receive = self._sock.recvfrom
        batch: _Batch = []
        try:
            for _ in range(BATCH):
                batch.append(receive(_OCTETS))
        except OSError:
            # Nothing left; or an error of an earlier send, which the next event gets past.
            if not batch:
                return
        started = perf_counter_ns()
        replies, outside = self._answer_all(batch)
        send = self._sock.sendto
        for reply, client in replies:
            try:
                send(reply, client)
            except OSError:
                self._counters.slots[DROPPED] += 1
        if outside:
            self._forward([(packet, client, []) for packet, client in outside])
        self._counters.batch(took := perf_counter_ns() - started)
        if self._recorder.sample:
            self._recorder.record(UDP, took, batch, replies)

    def _answer_all(self, batch: _Batch) -> tuple[_Batch, _Batch]:
        """Return the replies, and the questions that the forwarder is to answer."""
        answer, rights = self._answerer.answer, self._rights
        replies: _Batch = []
        outside: _Batch = []
        with self._begin() as snapshot:
            for packet, client in batch:
                reply = answer(packet, snapshot, UDP, rights[client[0]])
                if reply is HAND_OVER:
                    outside.append((packet, client))
                elif reply is not SILENCE:
                    replies.append((reply, client))
        if self._answerer.refusals.waiting:
            self._answerer.refusals.of_batch(batch)
        return replies, outside

    def _forward(self, questions: list[UdpQuestion]) -> None:
        """Hand questions over to the forwarder, or say that nobody can be asked."""
        if not self._forward_link.forward_udp(questions, self._number):
            for packet, client, ancillary in questions:
                self._refuse(packet, ancillary, client)

    def _refuse(self, packet: bytes, ancillary: Ancillary, client: Address) -> None:
        reply = self._answerer.not_forwarded(packet, self._begin, UDP)
        try:
            self._sock.sendmsg([reply], ancillary, 0, client)
        except OSError:
            self._counters.slots[DROPPED] += 1
        self._recorder.record(UDP, 0, [(packet, client)], [(reply, client)])

    def _read_compiled(self, batch: Batch) -> None:
        """Do what the two others do, on the buffers of a batch; `answer` leaves what is not plain."""
        if not (received := batch.receive()):
            return
        started = perf_counter_ns()
        outside: list[UdpQuestion] = []
        with self._begin() as snapshot:
            rest = batch.answer(self._answerer.look_at_or_none(snapshot))
            answer = self._answerer.answer
            for number, packet, client, rights, ancillary in rest:
                reply = answer(packet, snapshot, UDP, rights, left=True)
                if reply is HAND_OVER:
                    outside.append((packet, client, ancillary))
                elif reply is not SILENCE:
                    batch.put(number, reply)
        if self._answerer.refusals.waiting:
            self._answerer.refusals.of_batch((packet, client) for _, packet, client, _, _ in rest)
        recorder = self._recorder
        chosen = recorder.choose(received, batch.recorded) if recorder.sample else None
        self._counters.slots[DROPPED] += batch.send()
        if outside:
            self._forward(outside)
        self._counters.batch(took := perf_counter_ns() - started)
        if chosen:
            recorder.record_chosen(UDP, took, chosen)

    def _read_with_addresses(self) -> None:
        receive = self._sock.recvmsg
        batch: _Batch = []
        try:
            for _ in range(BATCH):
                packet, ancillary, _flags, client = receive(_OCTETS, _ANCILLARY)
                batch.append((packet, (client[0], client, ancillary)))
        except OSError:
            if not batch:
                return
        started = perf_counter_ns()
        replies, outside = self._answer_all(batch)
        send = self._sock.sendmsg
        for reply, (_, client, ancillary) in replies:
            try:
                send([reply], from_there(ancillary), 0, client)
            except OSError:
                self._counters.slots[DROPPED] += 1
        if outside:
            self._forward([(packet, own[1], from_there(own[2])) for packet, own in outside])
        self._counters.batch(took := perf_counter_ns() - started)
        if self._recorder.sample:
            self._recorder.record(UDP, took, batch, replies)


def is_wildcard(sock: socket.socket) -> bool:
    """Say whether a socket is bound to all addresses of its host."""
    return sock.getsockname()[0] in ("0.0.0.0", "::")


def ask_for_addresses(sock: socket.socket) -> None:
    """Have the kernel say at which address each datagram came in."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def from_there(ancillary: Ancillary) -> Ancillary:
    """Return the ancillary data that makes a reply leave from the address that was asked.

    The interface is left to routing, but for link-local addresses, which mean nothing without one.
    """
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(data) >= _IN_PKTINFO.size:
            _, local, _ = _IN_PKTINFO.unpack_from(data)
            return [(level, kind, _IN_PKTINFO.pack(0, local, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(data) >= _IN6_PKTINFO.size:
            address, interface = _IN6_PKTINFO.unpack_from(data)
            keep = interface if address.startswith(_LINK_LOCAL) else 0
            return [(level, kind, _IN6_PKTINFO.pack(address, keep))]
    return []
