"""What the kernel keeps for a TCP client that doesn't read, and how it is let go of.

Without a bound of ours the kernel takes megabytes of replies for each connection, and keeps them when the
connection is closed: nobody's socket any more, counted by nobody, probed for minutes.  So

* a connection's send buffer is bounded, which it has from its listener;
* one that is given up while the kernel still holds octets is reset, which frees them at once;
* octets that the client's host doesn't acknowledge, or has no room for, end a connection by themselves.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios

SEND_OCTETS = 128 << 10
"""As the kernel is told, which doubles it for its own bookkeeping (socket(7)): a client pins that at most."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for 0 seconds."""


def bound(listener: socket.socket, idle_seconds: float) -> None:
    """Bound what connections of a listening socket, which inherit this, may hold, and for how long."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_OCTETS)
    _bound_time(listener, idle_seconds)


def bound_unsent(listener: socket.socket, idle_seconds: float) -> None:
    """Bound only what is not on its way yet, where much is sent to those who read: a send buffer of a fixed
    size would make them wait for each other."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, SEND_OCTETS)
    _bound_time(listener, idle_seconds)


def _bound_time(listener: socket.socket, seconds: float) -> None:
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(seconds * 1000)))


def unsent(transport: asyncio.Transport) -> int:
    """Return how many octets, here and in the kernel, the client's host has not acknowledged (SIOCOUTQ)."""
    try:
        octets = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError, AttributeError):
        return 0  # closed meanwhile
    return transport.get_write_buffer_size() + int(struct.unpack("i", octets)[0])


def reset(transport: asyncio.Transport) -> None:
    """Close at once; what the kernel still holds is gone."""
    if not transport.is_closing() and unsent(transport):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
