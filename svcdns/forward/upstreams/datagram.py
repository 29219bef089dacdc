"""An upstream over UDP, and over TCP for replies that are too long (RFC 7766 section 5).

What makes a spoofed reply unlikely to be taken (RFC 5452):

* a new socket for each query: the kernel chooses its port at random (of some 28,000, see
  net.ipv4.ip_local_port_range) and drops what comes from any other address, because it is connected;
* a random ID, and the question of a reply has to be ours.

A datagram that is longer than what we take is as good as a truncated one.  Where TCP fails, the truncated
reply is what there is: it shows life, and is handed on as it is.

What fails the check is counted and waiting goes on, so that nobody can end a try with one bad datagram.
A connected socket also says at once when nothing listens there (ECONNREFUSED).

A socket and a callback (`datagram_poller`), no datagram protocol of asyncio: that costs several times as
much.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from functools import partial

from svcdns.wire import header
from svcdns.wire.garbage import Garbage, Unusable
from svcdns.wire.query import Query, encode_query
from svcdns.wire.response import Response, read

from .datagram_poller import DatagramPoller
from .stream import StreamUpstream
from .upstream import EdnsFallback, NoReply, UselessReply, edns_refusal, no_reply, until

log = logging.getLogger(__name__)

_RECEIVE_OCTETS = 4096
_DATAGRAM = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK


class UdpUpstream:
    """See svcdns.forward.upstreams.upstream.Upstream."""

    def __init__(self, name: str, host: str, port: int) -> None:
        """`host` is an address, with its interface where it is link-local."""
        self.name = name
        self._garbage = 0
        self._place = (host, port)
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._tcp = StreamUpstream(name, host, port)
        self._edns = EdnsFallback(drops=True)
        self._poller = DatagramPoller()
        self._waiting: set[asyncio.Future[Response]] = set()
        self._closed = False

    @property
    def garbage(self) -> int:
        """Messages, over UDP and TCP, that were no reply to what was asked."""
        return self._garbage + self._tcp.garbage

    async def exchange(self, query: Query, seconds: float) -> Response:
        """Ask once and return the reply, truncated where TCP fails.  Raises NoReply after `seconds`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        response = await self._edns.exchange(lambda edns: self._ask(query, deadline, edns))
        if response.truncated:
            try:
                return await self._tcp.exchange(query, deadline - loop.time())
            except NoReply as wrong:
                log.debug("upstream %s: a truncated reply, and over TCP none: %s", self.name, wrong)
        return response

    async def close(self) -> None:
        """Close all sockets; what is under way gets NoReply."""
        self._closed = True
        for future in self._waiting:
            if not future.done():
                future.set_exception(NoReply("it was closed"))
        self._poller.close()
        await self._tcp.close()

    async def _ask(self, query: Query, deadline: float, edns: bool) -> Response:
        if self._closed:
            raise NoReply("it was closed")
        loop = asyncio.get_running_loop()
        ident = int.from_bytes(os.urandom(2))
        future: asyncio.Future[Response] = loop.create_future()
        try:
            sock = socket.socket(self._family, _DATAGRAM)
            try:
                sock.connect(self._place)
                sock.send(encode_query(query, ident, edns=edns))
                self._poller.watch(sock, partial(self._receive, sock, query, ident, edns, future))
                self._waiting.add(future)
                return await until(deadline, future)
            finally:
                self._waiting.discard(future)
                self._poller.close_socket(sock)
        except OSError as wrong:
            raise no_reply(wrong) from None

    def _receive(
        self, sock: socket.socket, query: Query, ident: int, edns: bool, future: asyncio.Future[Response]
    ) -> None:
        """Take one datagram."""
        if future.done():
            return
        try:
            wire = sock.recv(_RECEIVE_OCTETS)
            if len(wire) == _RECEIVE_OCTETS:
                wire = header.with_flags(wire, header.TC)  # the rest of it is lost
            if edns and (refused := edns_refusal(wire, query, ident)):
                future.set_exception(refused)
            else:
                future.set_result(read(wire, query, ident))
        except BlockingIOError:
            pass  # a datagram with a wrong checksum wakes us and is not there
        except OSError as wrong:
            future.set_exception(no_reply(wrong))
        except Unusable as wrong:
            # Whoever knows ID and port could have said anything: it is the upstream's own.
            self._garbage += 1
            future.set_exception(UselessReply(str(wrong)))
        except Garbage:
            self._garbage += 1
