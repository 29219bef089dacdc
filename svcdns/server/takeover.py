"""How a process of an upgrade takes over the work of which there is only one: the registry, the cache.

The supervisor hands it a descriptor of its predecessor (a pidfd, so that no other process can be meant).  It
is the successor that ends the predecessor, once it has read all that could stop it: one that fails before
leaves the old one at work.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal

from .child_setup import Handoff

SECONDS = 5.0
"""For so long a predecessor may finish what it does; then it is killed."""
LEAVE = signal.SIGUSR1
"""Tells a worker to end once its TCP clients are served, and the forwarder to leave the cache to another."""
STAY = signal.SIGUSR2
"""Tells a forwarder that it is not to be replaced after all."""


async def take_over(handoff: Handoff) -> None:
    """End the predecessor, if there is one, and return when it has ended."""
    if handoff.predecessor < 0:
        return
    signal_predecessor(handoff, signal.SIGTERM)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handoff.predecessor, ended.set)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                await ended.wait()
        signal_predecessor(handoff, signal.SIGKILL)
        await ended.wait()
    finally:
        loop.remove_reader(handoff.predecessor)


def signal_predecessor(handoff: Handoff, number: signal.Signals) -> None:
    """Send the predecessor a signal, if it lives."""
    if handoff.predecessor >= 0:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handoff.predecessor, number)
