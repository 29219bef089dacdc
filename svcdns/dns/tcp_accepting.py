"""Accepting TCP connections, and an end of that which loses nobody.

asyncio accepts in steps, one a turn of its loop, and drops whom it has accepted when the server is closed
between two of them.  So there are two steps at the end too: nobody is accepted any more, and once all who
were have their protocol, the server is closed.  Who connects later waits in the socket, for another process.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

_BACKLOG = 1024
_TURNS = 3
"""After so many turns of the loop who was accepted has its protocol."""


class Accepting:
    """Accepts on a listening socket, in the running loop, until told to stop."""

    def __init__(self, own: socket.socket, server: asyncio.Server) -> None:
        self._own = own
        self._server = server

    @classmethod
    async def begin(cls, sock: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> Accepting:
        """Begin; each connection gets a protocol.  The socket stays the caller's: a copy of it is used."""
        own = sock.dup()  # asyncio closes the socket that it is given
        own.setblocking(False)
        loop = asyncio.get_running_loop()
        return cls(own, await loop.create_server(protocol, sock=own, backlog=_BACKLOG))

    async def end(self) -> None:
        """Accept nobody any more; returns when all who were accepted have their protocol."""
        asyncio.get_running_loop().remove_reader(self._own)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self._server.close()
