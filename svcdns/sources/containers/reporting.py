"""Events and log lines about containers: why one is not registered, and what its owner should know.

Rules:

* a remark is said when it appears, and once: it is the same Event when the process was started again;
* about an object that is there the Event is the object's; a container is none, so what is said of one stands
  in kube-system, as about a `Container`;
* Events are for people: one that the API does not take is dropped, and nothing waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from svcdns.client import ApiError, AsyncClient, NoServer, Unreachable, events
from svcdns.system.log_on_change import LogOnChange

from .members import dns_label
from .plan import QUIET, Key, Outcome, Remark

COMPONENT = "svcdns-containers"
NAMESPACE = "kube-system"
CONTAINER, ENGINE = "Container", "ContainerEngine"
_MOST_WAITING = 1_000
_MOST_SAID = 20
_BETWEEN_SECONDS = 0.05
_MOST_CHARACTERS = 1_000

log = logging.getLogger(__name__)


class _Said(NamedTuple):
    """One thing to say, and about what."""

    about: events.About
    reason: str
    text: str


class Reporting:
    """What one engine has to say, and what it has said."""

    def __init__(self, client: AsyncClient, uid: Callable[[Key], str]) -> None:
        """`uid` returns that of an object of ours, "" for others'."""
        self._client = client
        self._uid = uid
        self.engine = ""
        self._known: set[tuple[str, Remark]] = set()
        self._waiting: deque[_Said] = deque(maxlen=_MOST_WAITING)
        self._wake = asyncio.Event()
        self._refused = LogOnChange()

    def look(self, outcomes: Iterable[Outcome], problems: Iterable[Remark]) -> None:
        """Say what is new among what is to be said of containers and objects."""
        found = {
            (one.container.name, remark)
            for one in outcomes
            for remark in one.remarks
            if remark.reason not in QUIET
        }
        found |= {("", remark) for remark in problems}
        new = sorted(found - self._known, key=lambda pair: (pair[0], pair[1].reason, pair[1].text))
        self._known = found
        for name, remark in new[:_MOST_SAID]:
            log.warning("%s: %s", f"container {name}" if name else f"engine {self.engine}", remark.text)
        if len(new) > _MOST_SAID:
            log.warning("%d more such containers: svcdns containers", len(new) - _MOST_SAID)
        for name, remark in new:
            self._add(self._about(name, remark.about), remark.reason, remark.text)

    def away(self, why: str) -> None:
        """Say that the engine does not answer."""
        name = dns_label(self.engine) or "engine"
        self._add(events.About("v1", ENGINE, NAMESPACE, name), "EngineAway", why)

    def _about(self, container: str, key: Key | None) -> events.About:
        if key is None:
            return events.About("v1", CONTAINER, NAMESPACE, dns_label(container) or "container")
        return events.About(key.kind.api_version, key.kind.name, key.namespace, key.name, self._uid(key))

    def _add(self, about: events.About, reason: str, text: str) -> None:
        self._waiting.append(_Said(about, reason, text[:_MOST_CHARACTERS]))
        self._wake.set()

    async def run(self) -> None:
        """Write Events until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._write(self._waiting.popleft())
                await asyncio.sleep(_BETWEEN_SECONDS)

    async def _write(self, said: _Said) -> None:
        made = events.event(said.about, "Warning", said.reason, said.text, COMPONENT, self.engine)
        try:
            await self._client.run(events.write(made))
        except (ApiError, NoServer, Unreachable) as refused:
            if self._refused.is_new(str(refused)):
                log.warning("Events can't be written: %s", refused)
