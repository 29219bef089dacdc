"""TCP probes: whether a port accepts connections."""

from __future__ import annotations

import asyncio
import os
import socket

from .specs import TcpSocket
from .verdicts import Outcome


async def check(probe: TcpSocket, address: str) -> Outcome:
    """Connect and close; the caller bounds the time.  What goes wrong is the outcome."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    where = f"tcp {address} port {probe.port}"
    try:
        with socket.socket(family, socket.SOCK_STREAM) as one:
            one.setblocking(False)
            await asyncio.get_running_loop().sock_connect(one, (address, probe.port))
    except OSError as wrong:
        why = os.strerror(wrong.errno).lower() if wrong.errno else str(wrong)
        return Outcome(False, f"{where}: {why}")
    return Outcome(True, f"{where} accepts connections")
