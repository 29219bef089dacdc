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

from svcdns.forward.upstreams.upstream import NoReply
from svcdns.wire import codes
from svcdns.wire.key import key_of_wire, text_of_key, wire_of_key
from svcdns.wire.name import MAX_NAME_OCTETS
from svcdns.wire.query import Query

from .health import Health

log = logging.getLogger(__name__)

INTERVAL = 300.0
AGAIN_SECONDS = 30.0
COMES_SECONDS = 3.0
_BITS = 63
_LABEL_OCTETS = 16


class _Watched:
    """An upstream, and the probe that is on its way there."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.key = b""
        self.came = False
        self.probing = False
        self.task: asyncio.Task[None] | None = None


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
        self._sent: dict[bytes, Health] = {}

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
        watched = self._watched.pop(health, None)
        if watched is not None:
            self._sent.pop(watched.key, None)
            if watched.task is not None:
                watched.task.cancel()

    async def stop(self) -> None:
        """Probe nothing any more."""
        tasks = [watched.task for watched in self._watched.values() if watched.task is not None]
        for health in list(self._watched):
            self.forget(health)
        await asyncio.gather(*tasks, return_exceptions=True)

    def is_probe(self, key: bytes) -> bool:
        """Return whether a question of type HINFO is a probe of ours; takes its upstream out of use."""
        health = self._sent.get(key)
        if health is None:
            return False
        watched = self._watched[health]
        watched.came = True
        if not health.looped:
            health.looped = True
            if not watched.probing:
                watched.wake.set()
            log.error(
                "upstream %s sends our own questions back to us (a forwarding loop) and is out of use: "
                "have it forward to other servers than this one, or take it out of [forward] upstreams "
                "or the resolv.conf that lists it",
                _described(health),
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
        self._sent.pop(watched.key, None)
        query = probe(health.zone)
        if query is None:
            return
        watched.key, watched.came, watched.probing = query.key, False, True
        self._sent[query.key] = health
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
            log.info("upstream %s is in use again: the forwarding loop is gone", _described(health))


def _described(health: Health) -> str:
    """Return an upstream's name and the zone that it is for, if not for all names."""
    return f"{health.name} for {text_of_key(health.zone)}" if health.zone else health.name


def probe(zone: bytes) -> Query | None:
    """Return a question below a zone (its key) that nobody has asked before; None where no name has room."""
    below = wire_of_key(zone)
    wire = b""
    for _ in range(2):
        if len(wire) + 1 + _LABEL_OCTETS + len(below) <= MAX_NAME_OCTETS:
            wire += bytes((_LABEL_OCTETS,)) + f"{secrets.randbits(_BITS):0{_LABEL_OCTETS}x}".encode()
    return Query(key_of_wire(wire + below), codes.HINFO, name=wire + below) if wire else None
