"""Keeping the engine at what the traffic says: what came at once goes there at once, in one piece.

Rules:

* nothing is told before all objects have been listed once: half a state would cut the rest;
* what an engine refuses is told again, together with what has changed since, after pauses that grow.  Where
  a few changes are refused together, each is tried alone (the machine first), so that one does not keep the
  others away;
* where the first state is refused, its Services are halved until those are found that the engine doesn't
  want; the others are carried.  Where it wants none, what was in effect stays;
* the engine's calls are quick and block the loop meanwhile: whatever arrives then is the next piece.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from svcdns.cluster.traffic import Traffic
from svcdns.cluster.traffic_plan import Frontend, HealthCheck, Host, Rule
from svcdns.system.log_on_change import LogOnChange

from .engine import Engine, EngineError

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
_MOST_APART = 100
"""So many refused changes are tried one by one."""
_MOST_IN_VAIN, _MOST_REFUSED = 20, 200
"""So often the first state is told in parts: until one is taken, and in all."""

log = logging.getLogger(__name__)

Applied = Callable[[Mapping[Frontend, Rule | None], Mapping[Frontend, Rule]], None]
"""Is told what the engine did: changed rules, and those that were in effect before at the same frontends."""


class Refused(NamedTuple):
    """A rule that the engine doesn't want."""

    service: str
    text: str
    """What it said."""


class EngineSync:
    """Between the traffic and its engine."""

    def __init__(self, engine: Engine, traffic: Traffic, host: Host) -> None:
        """Nothing is told yet; `host` is what is known of the machine now."""
        self.engine = engine
        self.traffic = traffic
        self.host = host
        self.refusal = ""
        """What the engine said when it refused last; "" where it has done all that it was told."""
        self.refused: dict[Frontend, Refused] = {}
        """What it refused though it was told of nothing else at the same time."""
        self.refusals = 0
        self.syncs = 0
        self.synced_at = 0.0
        """When it did something last (time.time()); 0 for never."""
        self.observe: Callable[[float], None] = lambda seconds: None
        """Is told how long the engine took."""
        self.health_checks: Callable[[Mapping[int, HealthCheck | None]], None] = lambda changed: None
        """Is told of health checks that have changed."""
        self.computed: Callable[[], None] = lambda: None
        """Is called when the traffic has been looked at: its problems may have changed."""
        self.applied: Applied = lambda changed, before: None
        self.replaced: Callable[[], None] = lambda: None
        """Is called when the engine has been told of all."""
        self.in_effect: dict[Frontend, Rule] = {}
        """What the engine holds."""
        self.seen: Callable[[], Mapping[str, int]] = dict
        """Returns up to which revision of each kind the traffic has been told."""
        self.revisions: Mapping[str, int] = {}
        """Up to which revision of each kind the engine has done what follows."""
        self._done = asyncio.Event()
        self._pending: dict[Frontend, Rule | None] = {}
        self._left: dict[Frontend, Rule] = {}
        self._pending_host = False
        self._has_replaced = False
        self._wake = asyncio.Event()
        self._said = LogOnChange()
        self._failures = 0

    @property
    def is_synced(self) -> bool:
        """Whether the engine has been told of all once."""
        return self._has_replaced

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so that the engine has to do with."""
        while not condition():
            done = self._done
            await done.wait()

    def wake(self) -> None:
        """Have it look at the traffic soon."""
        self._wake.set()

    def be_on(self, host: Host) -> None:
        """Take what has become known of the machine."""
        if host != self.host:
            self.host, self._pending_host = host, True
            self.wake()

    async def run(self, is_listed: Callable[[], bool]) -> None:
        """Keep the engine in step until cancelled, from when `is_listed` first says so."""
        pause: float | None = None
        while True:
            try:
                async with asyncio.timeout(pause):  # Python 3.11: wait_for may swallow a cancel
                    await self._wake.wait()
                if pause is not None and self._failures > 1:
                    await asyncio.sleep(min(pause, 1.0))  # more has come, but it has just been refused
            except TimeoutError:
                pass
            self._wake.clear()
            if is_listed():
                pause = self.bring()

    def bring(self) -> float | None:
        """Bring the engine to what the traffic says; return when to try again, None: at the next change."""
        seen, changes = self.seen(), self.traffic.changes()
        if changes.health_checks:
            self.health_checks(changes.health_checks)
        self._pending.update(changes.rules)
        self.computed()
        if self._has_replaced and not self._pending and not self._pending_host:
            self._has_done(seen)
            return None
        began = time.perf_counter()
        try:
            if self._has_replaced:
                self._apply()
            else:
                self._replace()
        except EngineError as refused:
            return self._refused(str(refused))
        finally:
            self.observe(time.perf_counter() - began)
        self._has_done(seen)
        self._failures, self.refusal = 0, ""
        if self._said.is_new(""):
            log.info("the engine does again what it is told")
        return None

    def _has_done(self, revisions: Mapping[str, int]) -> None:
        self.revisions = revisions
        done, self._done = self._done, asyncio.Event()
        done.set()

    def _replace(self) -> None:
        rules = self.traffic.rules()
        self._left, self.refused = {}, {}
        last: EngineError | None = None
        try:
            self.engine.replace(rules, self.host)
        except EngineError as refused:
            last = refused
            self._replace_in_parts(rules, refused)
        self._has_replaced, self._pending_host, self._pending = True, False, {**self._left}
        rules = {at: rule for at, rule in rules.items() if at not in self._left}
        self._note(rules)
        services = len(self.traffic.services)
        self.replaced()
        log.info("traffic is carried: %d frontends of %d Services", len(rules), services)
        if last is not None:
            raise last

    def _replace_in_parts(self, rules: Mapping[Frontend, Rule], whole: EngineError) -> None:
        """Tell the first state in parts; what is refused is left.  Raises EngineError where all is."""
        of_service: dict[str, dict[Frontend, Rule]] = {}
        for at, rule in rules.items():
            of_service.setdefault(rule.service, {})[at] = rule
        parts, refusals, has_begun = _halves(list(of_service)), 0, False
        while parts:
            part = parts.pop()
            some = {at: rule for service in part for at, rule in of_service[service].items()}
            try:
                if has_begun:
                    self.engine.apply(some)
                else:
                    self.engine.replace(some, self.host)
                    has_begun = True
            except EngineError as refused:
                refusals += 1
                if not has_begun and refusals >= _MOST_IN_VAIN:
                    raise
                if len(part) > 1 and refusals < _MOST_REFUSED:
                    parts += _halves(part)
                else:
                    self._left |= some
                    self.refused |= {at: Refused(rule.service, str(refused)) for at, rule in some.items()}
        if not has_begun:
            raise whole
        log.error(
            "the engine refuses %s, and carries the others", _some({r.service for r in self.refused.values()})
        )

    def _apply(self) -> None:
        changed, host = dict(self._pending), self.host if self._pending_host else None
        try:
            self.engine.apply(changed, host)
        except EngineError:
            if not 1 < len(changed) + self._pending_host <= _MOST_APART:
                raise
            self._apply_apart(changed, host)
            return
        self._pending, self._pending_host = {}, False
        self._note(changed)

    def _apply_apart(self, changed: Mapping[Frontend, Rule | None], host: Host | None) -> None:
        last: EngineError | None = None
        if host is not None:
            try:
                self.engine.apply({}, host)
            except EngineError as refused:
                last = refused
            else:
                self._pending_host = False
        for frontend, rule in changed.items():
            try:
                self.engine.apply({frontend: rule})
            except EngineError as refused:
                last = refused
                if rule is not None:
                    self.refused[frontend] = Refused(rule.service, str(refused))
            else:
                del self._pending[frontend]
                self._note({frontend: rule})
        if last is not None:
            raise last

    def _note(self, changed: Mapping[Frontend, Rule | None]) -> None:
        before = {at: self.in_effect[at] for at in changed if at in self.in_effect}
        for frontend, rule in changed.items():
            self.refused.pop(frontend, None)
            if rule is None:
                self.in_effect.pop(frontend, None)
            else:
                self.in_effect[frontend] = rule
        self.syncs += 1
        self.synced_at = time.time()
        self.applied(changed, before)

    def _refused(self, text: str) -> float:
        self.refusals += 1
        self.refusal = text
        self._failures += 1
        longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures - 1, 10))
        if self._said.is_new(text):
            log.error("the engine refuses: %s; what was in effect stays, and it is tried again", text)
        return random.uniform(0.5, 1.0) * longest


def _halves(services: list[str]) -> list[list[str]]:
    """Return the two halves, or one where there is no more."""
    middle = (len(services) + 1) // 2
    return [half for half in (services[middle:], services[:middle]) if half]


def _some(services: Collection[str]) -> str:
    more = f" and {len(services) - 5} more" if len(services) > 5 else ""
    return f"{', '.join(sorted(services)[:5])}{more}"
