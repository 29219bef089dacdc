"""An upstream that says what a function says: octets for octets, over UDP and TCP, on all of 127/8.

    def script(query: Query) -> list[bytes]: ...

    with ScriptedUpstream(script) as upstream:
        f"127.0.9.1:{upstream.port}"    # any address of 127/8

A server keeps what it knows of an upstream by the address, so a script that has one address for each case is
many upstreams to it.  What is sent comes from the address that was asked, unless the script says otherwise.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from typing import Self

import dns.message
from toolbox.upstreams import free_port

_IP_PKTINFO = 8
_IN_PKTINFO = struct.Struct("@i4s4s")


@dataclass(frozen=True)
class Query:
    """What was asked."""

    wire: bytes
    message: dns.message.Message
    tcp: bool

    @property
    def name(self) -> str:
        """The name asked for, as it was spelt."""
        return str(self.message.question[0].name)


@dataclass(frozen=True)
class FromAnotherPort:
    """A reply that comes from another port of the address that was asked."""

    wire: bytes


Sent = bytes | FromAnotherPort
Script = Callable[[Query], Sequence[Sent]]


class ScriptedUpstream:
    """One UDP socket and one TCP listener in a thread."""

    def __init__(self, script: Script) -> None:
        """`script` returns the messages that are sent for a query; over TCP none closes the connection."""
        self._script = script
        self.port = free_port()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._tcp = socket.socket()
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._wake, self._woken = socket.socketpair()
        self._selector = DefaultSelector()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._udp.bind(("0.0.0.0", self.port))
        self._tcp.bind(("0.0.0.0", self.port))
        self._tcp.listen(256)
        self._selector.register(self._udp, EVENT_READ, self._datagram)
        self._selector.register(self._tcp, EVENT_READ, self._accept)
        self._selector.register(self._woken, EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.send(b"x")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._wake.close()
        self._selector.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def _datagram(self, sock: socket.socket) -> None:
        wire, control, _, client = sock.recvmsg(4096, 64)
        _, _, asked = _IN_PKTINFO.unpack(control[0][2])
        from_there = [(socket.IPPROTO_IP, _IP_PKTINFO, _IN_PKTINFO.pack(0, asked, asked))]
        for sent in self._replies(wire, tcp=False):
            if isinstance(sent, FromAnotherPort):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    other.bind((socket.inet_ntoa(asked), 0))
                    other.sendto(sent.wire, client)
            else:
                with contextlib.suppress(OSError):  # too long for a datagram
                    sock.sendmsg([sent], from_there, 0, client)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.settimeout(2.0)
        self._selector.register(connection, EVENT_READ, self._stream)

    def _stream(self, connection: socket.socket) -> None:
        """Answer one query; clients of a test send it in one piece."""
        sent: Sequence[Sent] = ()
        with contextlib.suppress(OSError):
            framed = connection.recv(65537)
            sent = self._replies(framed[2:], tcp=True) if framed else ()
            for reply in sent:
                assert isinstance(reply, bytes)
                connection.sendall(len(reply).to_bytes(2) + reply)
        if not sent:
            self._selector.unregister(connection)
            connection.close()

    def _replies(self, wire: bytes, *, tcp: bool) -> Sequence[Sent]:
        return self._script(Query(wire, dns.message.from_wire(wire), tcp))
