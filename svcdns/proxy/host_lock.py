"""One proxy with packet rules in a network namespace: known by a name that only one process can have there.

    @svcdns-proxy      an abstract socket: it belongs to the network namespace, as rules and routes do

Rules:

* the kernel lets go of it with the process, however that ends; nothing is left behind;
* tables say whose they are from Linux 6.9 on only (`kernel.is_owned`), and not before the first one stands;
* anybody may take the name, so what neither root nor this user runs is no proxy: it stands in nobody's way.

https://man7.org/linux/man-pages/man7/unix.7.html (abstract)
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from .engine import EngineError

_NAME = "\0svcdns-proxy"
_PEER = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""
_MOST_ASKING = 4096
"""Who asks for the holder is never accepted, and stays in the queue."""

log = logging.getLogger(__name__)


@contextmanager
def held() -> Iterator[None]:
    """Hold it meanwhile.  Raises EngineError where another proxy has it, OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as own:
        try:
            own.bind(_NAME)
            own.listen(_MOST_ASKING)
        except OSError as refused:
            if refused.errno != errno.EADDRINUSE:
                raise
            if who := holder():
                raise EngineError(f"{who} carries traffic on this machine: end it first") from None
            log.warning("a program of another user has the name of the proxy's lock, which is not respected")
        yield


def holder() -> str:
    """Return which proxy holds it, in words; "" for none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(_NAME)
        except OSError:
            return ""
        pid, uid, _ = _PEER.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if uid not in (0, os.geteuid()):
        return ""
    return f"another svcdns proxy ({f'process {pid}' if pid else 'in another container'})"
