"""TCP connections on their way from a worker that leaves to one that stays (see svcdns.server.replacement).

Both have an end of one socket pair.  A message is one connection: its descriptor, and the octets that were
read of a question whose rest has yet to come.  Nothing of it is lost, and the client notices nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

_BEGIN = b"\0"
"""A message is never empty: that would be the end of the pair."""
_LARGEST = 1 << 16
_MOST_READ = 2 * _LARGEST

Take = Callable[[socket.socket, bytes], None]


def pass_on(pair: socket.socket, connection: int, octets: bytes) -> bool:
    """Give a connection (its descriptor) to whoever has the other end; False where that can't be now."""
    if len(octets) > _LARGEST:
        return False
    try:
        socket.send_fds(pair, [_BEGIN + octets], [connection])
    except OSError:
        return False
    return True


def take_all(pair: socket.socket, take: Take) -> None:
    """Begin to take what comes, in the running loop, until nobody is left who could pass something on."""
    pair.setblocking(False)
    asyncio.get_running_loop().add_reader(pair.fileno(), _take_waiting, pair, take)


def _take_waiting(pair: socket.socket, take: Take) -> None:
    try:
        while True:
            octets, descriptors, _, _ = socket.recv_fds(pair, _MOST_READ, 1)
            if not octets:
                break
            for descriptor in descriptors:
                take(socket.socket(fileno=descriptor), octets[len(_BEGIN) :])
    except BlockingIOError:
        return
    asyncio.get_running_loop().remove_reader(pair.fileno())
