"""Events on Services: what they ask for and don't get, and who announces them (`kubectl describe service`).

Rules:

* a problem is reported when it appears, by each node under a name of its own: the Event of a proxy that was
  started again is the same one, with a new time;
* Events are for people: one that the API does not take is dropped, and nothing waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping

from svcdns.client import ApiError, AsyncClient, NoServer, Unreachable, events
from svcdns.client.exchange import Object
from svcdns.cluster.service_frontends import Problem
from svcdns.cluster.traffic_objects import Service
from svcdns.system.log_on_change import LogOnChange

COMPONENT = "svcdns-proxy"
_MOST_WAITING = 1_000
_MOST_SAID = 20
"""Lines in the log for what appears at once."""
_BETWEEN_SECONDS = 0.05
"""Not more than twenty a second, however much changes at once."""

log = logging.getLogger(__name__)


class Reporting:
    """What is still to be reported, and what has been."""

    def __init__(self, client: AsyncClient, node: str) -> None:
        """`node` is the name of this one."""
        self._client = client
        self._node = node
        self._known: dict[str, tuple[Problem, ...]] = {}
        self._waiting: deque[tuple[Service, Problem, str]] = deque(maxlen=_MOST_WAITING)
        self._wake = asyncio.Event()
        self._refused = LogOnChange()

    def look(self, problems: Mapping[str, tuple[Problem, ...]], services: Mapping[str, Service]) -> None:
        """Report what is new among the problems by Service."""
        new = [
            (service, problem)
            for key, found in problems.items()
            if found != (known := self._known.get(key, ())) and (service := services.get(key)) is not None
            for problem in found
            if problem not in known
        ]
        self._known = dict(problems)
        if not new:
            return
        for service, problem in new[:_MOST_SAID]:
            log.warning("Service %s: %s", service.metadata.key, problem.text)
        if len(new) > _MOST_SAID:
            log.warning("%d more such problems: svcdns proxy status", len(new) - _MOST_SAID)
        self._waiting.extend((service, problem, "Warning") for service, problem in new)
        self._wake.set()

    def say(self, service: Service, reason: str, text: str) -> None:
        """Report something that is as it should be."""
        self._waiting.append((service, Problem(reason, text), "Normal"))
        self._wake.set()

    async def run(self) -> None:
        """Write Events until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._write(*self._waiting.popleft())
                await asyncio.sleep(_BETWEEN_SECONDS)

    async def _write(self, service: Service, problem: Problem, kind: str) -> None:
        try:
            await self._client.run(events.write(_event(service, problem, self._node, kind)))
        except (ApiError, NoServer, Unreachable) as refused:
            if self._refused.is_new(str(refused)):
                log.warning("Events can't be written: %s", refused)


def _event(service: Service, problem: Problem, node: str, kind: str) -> Object:
    about = service.metadata
    there = events.About("v1", "Service", about.namespace, about.name, about.uid)
    return events.event(there, kind, problem.reason, problem.text, COMPONENT, node)
