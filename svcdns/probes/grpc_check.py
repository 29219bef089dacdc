"""gRPC probes: the health of a service as its server says it (grpc.health.v1), by grpclib.

The extra `[grpc]` brings it; without it such a probe is not run, and says what is missing.  The two messages
have one field each, so they are written here in octets rather than by protobuf.
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

from typing import Any

from .specs import Grpc
from .verdicts import Outcome

try:
    from grpclib.client import Channel, UnaryUnaryMethod
    from grpclib.encoding.base import CodecBase
    from grpclib.exceptions import GRPCError, StreamTerminatedError
except ImportError:  # pragma: no cover - the extra is there in tests
    AVAILABLE = False
else:
    AVAILABLE = True

_METHOD = "/grpc.health.v1.Health/Check"
_SERVING = 1
_STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
MISSING = "gRPC probes take the extra [grpc] (grpclib), which is not installed"


async def check(probe: Grpc, address: str) -> Outcome:
    """Ask once; the caller bounds the time.  What goes wrong is the outcome."""
    if not AVAILABLE:
        return Outcome(False, MISSING)
    where = f"grpc {address} port {probe.port}"
    channel = Channel(address, probe.port, codec=_octets())
    try:
        method: Any = UnaryUnaryMethod(channel, _METHOD, bytes, bytes)
        status = status_of(await method(request(probe.service)))
    except GRPCError as wrong:
        return Outcome(False, f"{where}: {wrong.status.name}: {wrong.message or ''}".rstrip(": "))
    except (OSError, StreamTerminatedError, ValueError, AssertionError) as wrong:
        return Outcome(False, f"{where}: {wrong or type(wrong).__name__}".lower())
    finally:
        channel.close()
    return Outcome(status == _SERVING, f"{where}: {_STATUSES.get(status, status)}")


def request(service: str) -> bytes:
    """Return a HealthCheckRequest: field 1, a string, left out where it is empty."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def status_of(response: bytes) -> int:
    """Return the status in a HealthCheckResponse: field 1, a number.  Raises ValueError."""
    if not response:
        return 0
    if response[0] != 0x08 or len(response) < 2 or len(response) > 11:
        raise ValueError("the answer is no HealthCheckResponse")
    number = 0
    for place, octet in enumerate(response[1:]):
        number |= (octet & 0x7F) << (7 * place)
        if not octet & 0x80:
            return number
    raise ValueError("the answer is no HealthCheckResponse")


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])


def _octets() -> Any:
    """Return a codec that leaves octets as they are."""

    class Octets(CodecBase):
        """Messages are octets already."""

        __content_subtype__ = "proto"

        def encode(self, message: Any, message_type: Any) -> bytes:
            return bytes(message)

        def decode(self, data: bytes, message_type: Any) -> bytes:
            return data

    return Octets()
