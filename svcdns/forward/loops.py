"""Forwarding loops: an upstream that, through whichever others, sends our questions back to us.

    probe `HEX1.HEX2.ZONE` HINFO -> upstream -> ... -> one of our listeners -> is_probe -> looped

The name is random, so no cache answers it and nobody else asks for it.  Each upstream is probed at the
start, when the upstreams change, when it comes back, and every INTERVAL seconds.

* A looped upstream is out of use from the moment that its probe comes in.  It is probed every
  AGAIN_SECONDS, and is back in use when nothing has come in for COMES_SECONDS.
* One ERROR line when a loop is found, naming the upstream and the remedy, one line when it is gone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass, field

from svcdns.forward.upstreams.upstream import NoReply
from svcdns.wire import codes
from svcdns.wire.key import key_of_wire, wire_of_key
from svcdns.wire.name import MAX_NAME_OCTETS
from svcdns.wire.query import Query

from .health import Health

log = logging.getLogger(__name__)

INTERVAL = 300.0
AGAIN_SECONDS = 30.0
COMES_SECONDS = 3.0
_BITS = 63
_LABEL_OCTETS = 16


@dataclass(slots=True)
class _Watched:
    """The task that probes an upstream, and its last probe."""

    task: asyncio.Task[None] = field(init=False)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    key: bytes | None = None
    came: bool = False
    probing: bool = False


class LoopWatch:
    """Sends probes through upstreams and knows them when they come in."""

    def __init__(
        self, interval: float = INTERVAL, again: float = AGAIN_SECONDS, comes: float = COMES_SECONDS
    ) -> None:
        """All in seconds: between probes, between those of a looped upstream, and for one to come in."""
        self._interval = interval
        self._again = again
        self._comes = comes
        self._watched: dict[Health, _Watched] = {}

    def watch(self, health: Health) -> None:
        """Begin to probe an upstream, in the running loop."""
        watched = self._watched[health] = _Watched()
        watched.task = asyncio.get_running_loop().create_task(self._run(health, watched))

    def probe_now(self, health: Health) -> None:
        """Probe an upstream now, if it is one that is watched."""
        if health in self._watched:
            self._watched[health].wake.set()

    def forget(self, health: Health) -> None:
        """Probe an upstream no more."""
        if (watched := self._watched.pop(health, None)) is not None:
            watched.task.cancel()

    async def stop(self) -> None:
        """Probe nothing any more."""
        tasks = [watched.task for watched in self._watched.values()]
        for health in list(self._watched):
            self.forget(health)
        await asyncio.gather(*tasks, return_exceptions=True)

    def is_probe(self, key: bytes) -> bool:
        """Return whether a question of type HINFO is a probe of ours; takes its upstream out of use."""
        sent = ((health, watched) for health, watched in self._watched.items() if watched.key == key)
        health, watched = next(sent, (None, None))
        if health is None or watched is None:
            return False
        watched.came = True
        if not health.looped:
            health.looped = True
            if not watched.probing:
                watched.wake.set()
            log.error(
                "upstream %s sends our own questions back to us (a forwarding loop) and is out of use: "
                "have it forward to other servers than this one, or take it out of [forward] upstreams "
                "or the resolv.conf that lists it",
                health,
            )
        return True

    async def _run(self, health: Health, watched: _Watched) -> None:
        """Probe now, whenever asked to, and when it is time."""
        while True:
            watched.wake.clear()
            try:
                await self._probe(health, watched)
            except Exception:
                log.exception("upstream %s could not be probed for loops", health.name)
            was_looped = health.looped
            with suppress(TimeoutError):
                async with asyncio.timeout(self._again if was_looped else self._interval):
                    await watched.wake.wait()
            if health.looped and not was_looped:
                # The probe came in long after it was sent: the next would be late too.
                await asyncio.sleep(self._again)

    async def _probe(self, health: Health, watched: _Watched) -> None:
        """Send one probe; a looped upstream is back in use when it doesn't come in."""
        watched.key = None
        query = probe(health.zone)
        if query is None:
            return
        watched.key, watched.came, watched.probing = query.key, False, True
        clock = asyncio.get_running_loop().time
        over = clock() + self._comes
        try:
            with suppress(NoReply):
                await health.upstream.exchange(query, self._comes)
            if health.looped:
                await asyncio.sleep(over - clock())
        finally:
            watched.probing = False
        if health.looped and not watched.came:
            health.looped = False
            log.info("upstream %s is in use again: the forwarding loop is gone", health)


def probe(zone: bytes) -> Query | None:
    """Return a question below a zone (its key) that nobody has asked before; None where no name has room."""
    below = wire_of_key(zone)
    wire = b""
    for _ in range(2):
        if len(wire) + 1 + _LABEL_OCTETS + len(below) <= MAX_NAME_OCTETS:
            wire += bytes((_LABEL_OCTETS,)) + f"{secrets.randbits(_BITS):0{_LABEL_OCTETS}x}".encode()
    return Query(key_of_wire(wire + below), codes.HINFO, name=wire + below) if wire else None
