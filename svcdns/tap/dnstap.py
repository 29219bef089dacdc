"""A record as dnstap messages: protocol buffers, encoded here as there are so few fields.

https://dnstap.info/ and dnstap.proto there.  Of our own names and zone files it is AUTH_QUERY and
AUTH_RESPONSE, else CLIENT_QUERY and CLIENT_RESPONSE.  The address that was asked is not said, as it is not
recorded.  What upstreams were asked is FORWARDER_QUERY and FORWARDER_RESPONSE, with their address and port.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from struct import Struct

from .record import Record

CONTENT_TYPE = b"protobuf:dnstap.Dnstap"

_AUTH_QUERY, _AUTH_RESPONSE, _CLIENT_QUERY, _CLIENT_RESPONSE = 1, 2, 5, 6
_FORWARDER_QUERY, _FORWARDER_RESPONSE = 7, 8
_AUTHORITATIVE = ("own", "zone")
_MESSAGE = 1
"""The only type of a Dnstap."""
_PROTOCOLS = {"udp": 1, "tcp": 2, "tls": 3, "https": 4}
_VARINT, _OCTETS, _FIXED32 = 0, 2, 5
_U32 = Struct("<I")
_SECOND = 1_000_000_000


class Encoder:
    """Encodes for one server."""

    def __init__(self, identity: str, version: str, *, queries: bool = True) -> None:
        """Without `queries` only the replies become messages."""
        self._head = _octets(1, identity.encode()) + _octets(2, version.encode())
        self._queries = queries

    def messages(self, record: Record) -> Iterator[bytes]:
        """Yield the messages of a record: of the question, if wanted, and of the reply."""
        if record.to_upstream:
            query, response = _FORWARDER_QUERY, _FORWARDER_RESPONSE
        elif record.source in _AUTHORITATIVE:
            query, response = _AUTH_QUERY, _AUTH_RESPONSE
        else:
            query, response = _CLIENT_QUERY, _CLIENT_RESPONSE
        client = _client(record)
        came = _time(8, record.time - record.duration)
        if self._queries:
            yield self._message(query, client + came + _octets(10, record.query))
        if record.reply:
            yield self._message(response, client + came + _time(12, record.time) + _octets(14, record.reply))

    def _message(self, kind: int, rest: bytes) -> bytes:
        return self._head + _octets(14, _number(1, kind) + rest) + _number(15, _MESSAGE)


def _client(record: Record) -> bytes:
    """Return the family, protocol, address and port of who has asked; no address where it is none.

    Of an upstream they are those of who was asked.
    """
    protocol = _number(3, _PROTOCOLS[record.protocol])
    try:
        address = ip_address(record.client.partition("%")[0])
    except ValueError:
        return protocol
    known = getattr(address, "ipv4_mapped", None) or address
    family = 1 if known.version == 4 else 2
    address_field, port_field = (5, 7) if record.to_upstream else (4, 6)
    place = _octets(address_field, known.packed) + _number(port_field, record.port)
    return _number(2, family) + protocol + place


def _time(field: int, nanoseconds: int) -> bytes:
    """Return a time in two fields: seconds, and nanoseconds as a fixed32."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return _number(field, seconds) + _varint((field + 1) << 3 | _FIXED32) + _U32.pack(rest)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _octets(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _OCTETS) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
