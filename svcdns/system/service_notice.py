"""Telling systemd how the server is (sd_notify(3)): one datagram, to the socket that NOTIFY_SOCKET names.

Whoever is not started by systemd has no such variable, and nothing is sent.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

READY, STOPPING = "READY=1", "STOPPING=1"


def tell(state: str) -> None:
    """Send a state, such as READY; a service manager that has gone is no trouble of ours."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there:
        there.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
