"""The link between a worker and the forwarder: requests go one way, replies to TCP clients the other.

Each worker has one end of a link, a socket pair that the supervisor made (svcdns.server.sockets), the
forwarder has the other ends.  Neither end closes when a process dies: the next one serves what waits.

* A worker never waits for the forwarder: a link that is full is a refusal (SERVFAIL, EDE 23).
* A `ForwardRequest` says how the reply is to get back; UDP clients are answered by the forwarder itself,
  from the socket of the listener that was asked, TCP clients by the worker that has the connection.
* Over UDP a batch of questions is one message: a system call for each would cost more than all else here.
* Only the question travels, not what a client put around it: 60 KB of padding are nobody's business.
* Both ends are processes of one server of one version, so the form of the octets is nobody else's
  business.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, takewhile
from time import monotonic
from typing import Any, TypeVar

import msgspec

from svcdns.wire.question import bare

OLDEST_SECONDS = 3.0
"""A question that has waited for longer has been given up by whoever asked."""
LIFELESS_SECONDS = 1.0
"""A forwarder that has shown no life for so long gets no more questions."""
GIVEN_UP_SECONDS = 3.2
"""After this time no reply will come any more."""
_CHECK_SECONDS = 0.2
_BATCH = 64
_LARGEST = 80_000
"""More than any message of either kind has."""

log = logging.getLogger(__name__)

_Message = TypeVar("_Message")
Address = tuple[str | int, ...]
Ancillary = list[tuple[int, int, bytes]]
UdpQuestion = tuple[bytes, Any, Ancillary]
"""A datagram, the client's address as the socket module gives it, and what is to go with the reply."""


class ForwardRequest(msgspec.Struct, frozen=True, array_like=True):
    """A question on its way to the forwarder."""

    packet: bytes
    came: float
    """When it was handed over (time.monotonic(), seconds)."""
    client: Address
    """As the socket module gives it."""
    listener: int = 0
    """Over UDP: which entry of dns.listen was asked."""
    ancillary: list[tuple[int, int, bytes]] = []
    """Over UDP: what makes the reply leave from the address that was asked."""
    request_id: int = 0
    """Over TCP: by which the worker knows who waits; 0 over UDP."""


class ForwardReply(msgspec.Struct, frozen=True, array_like=True):
    """A reply on its way back to a TCP client."""

    request_id: int
    message: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_request = msgspec.msgpack.Decoder(ForwardRequest).decode
_decode_requests = msgspec.msgpack.Decoder(list[ForwardRequest]).decode
_decode_reply = msgspec.msgpack.Decoder(ForwardReply).decode


def send(link: socket.socket, message: ForwardRequest | list[ForwardRequest] | ForwardReply) -> bool:
    """Put a message into a link; False where it has no room."""
    try:
        link.send(_encode(message))
    except OSError:
        return False
    return True


def waits(link: socket.socket) -> bool:
    """Say whether a message waits in one's end of a link."""
    try:
        return bool(link.recv(1, socket.MSG_PEEK))
    except OSError:
        return False


def receive_requests(link: socket.socket, most: int) -> list[ForwardRequest]:
    """Take the requests that wait in the forwarder's end: at most so many, and the rest of their batch."""
    found: list[ForwardRequest] = []
    for batch in _received(link, _requests_of):
        found += batch
        if len(found) >= most:
            break
    return found


def receive_replies(link: socket.socket, most: int) -> list[ForwardReply]:
    """Take the replies that wait in a worker's end, at most so many."""
    return list(islice(_received(link, _decode_reply), most))


def _requests_of(octets: bytes) -> list[ForwardRequest]:
    """Return the requests of a message: one that stands alone, or a batch."""
    try:
        return [_decode_request(octets)]
    except msgspec.ValidationError:
        return _decode_requests(octets)


def _received(link: socket.socket, decode: Callable[[bytes], _Message]) -> Iterator[_Message]:
    """Take messages; one that can't be read is a bug of ours, and costs the others nothing."""
    while True:
        try:
            octets = link.recv(_LARGEST)
        except BlockingIOError:
            return
        if not octets:  # the other end is closed
            return
        try:
            message = decode(octets)
        except msgspec.MsgspecError:
            log.exception("a message in a link can't be read: %s", octets[:64].hex())
        else:
            yield message


OnReply = Callable[[bytes | None], None]
"""Is given the reply to a TCP client, or None where there will be none."""


class ForwardLink:
    """A worker's end of its link, for those who answer: hands questions over, or says that it can't."""

    def __init__(
        self, link: socket.socket | None, last_beat: Callable[[], float] = lambda: float("inf")
    ) -> None:
        """Without a link nothing is ever handed over.

        `last_beat` says when the forwarder last showed life, as time.monotonic() gives it.  One that has
        just died is started again at once and answers what waits in the link: no reason to refuse yet.
        """
        self._link = link
        self._last_beat = last_beat
        self._begun = monotonic()
        # Not from 0: replies to a former worker's questions may still come.
        self._last_id = int.from_bytes(os.urandom(6)) << 8
        self._waiting: dict[int, tuple[float, OnReply]] = {}

    def forward_udp(self, questions: Iterable[UdpQuestion], listener: int) -> bool:
        """Hand datagrams over, as many as a worker takes at once; False if nobody will answer any of them."""
        came = monotonic()
        requests = [
            ForwardRequest(bare(packet), came, client, listener, ancillary)
            for packet, client, ancillary in questions
        ]
        return self._send(requests[0] if len(requests) == 1 else requests, came)

    def forward_tcp(self, packet: bytes, client: Any, on_reply: OnReply) -> bool:
        """Hand a message of a TCP client over; False if nobody will answer it."""
        self._last_id += 1
        came = monotonic()
        if not self._send(ForwardRequest(bare(packet), came, client, request_id=self._last_id), came):
            return False
        if not self._waiting:
            asyncio.get_running_loop().call_later(_CHECK_SECONDS, self._give_up_old)
        self._waiting[self._last_id] = came, on_reply
        return True

    def start(self) -> None:
        """Begin to give replies to those who wait for them, in the running loop."""
        if self._link is not None:
            asyncio.get_running_loop().add_reader(self._link.fileno(), self._deliver)

    def stop(self) -> None:
        """Give no more replies."""
        if self._link is not None:
            asyncio.get_running_loop().remove_reader(self._link.fileno())

    def _give_up_old(self) -> None:
        """Say to those who have waited for too long that no reply will come (the forwarder died)."""
        oldest = monotonic() - GIVEN_UP_SECONDS
        late = list(takewhile(lambda waiting: waiting[1][0] <= oldest, self._waiting.items()))
        for request_id, (_, on_reply) in late:
            del self._waiting[request_id]
            on_reply(None)
        if self._waiting:
            asyncio.get_running_loop().call_later(_CHECK_SECONDS, self._give_up_old)

    def _deliver(self) -> None:
        assert self._link is not None
        for reply in receive_replies(self._link, _BATCH):
            _, on_reply = self._waiting.pop(reply.request_id, (0.0, None))
            if on_reply is not None:
                on_reply(reply.message)

    def _send(self, requests: ForwardRequest | list[ForwardRequest], came: float) -> bool:
        if self._link is None or came - max(self._begun, self._last_beat()) > LIFELESS_SECONDS:
            return False
        return send(self._link, requests)
