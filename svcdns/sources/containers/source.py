"""One engine, followed for as long as the process lives: its list, its events, and what follows from both.

    greet ─▶ events begin, and all is listed ─▶ plan ─▶ writing
               │ an id that something happened to: looked at, 50 ms after the last one, 500 ms at most
               └ the end of the stream, a minute, many ids at once: all is listed again

Rules:

* an event says only which container to look at; one that tells a health that is known already says nothing;
* while the engine is away nothing is changed or deleted, but that after `stale_after` no Pod is ready any
  more; it is tried again for ever, at most every 30 s;
* a stream that brought nothing while the list changed has been lost without an end: it is begun anew.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from svcdns.client import AsyncClient
from svcdns.config.container_engines import ContainerEngine
from svcdns.system.log_on_change import LogOnChange

from . import engine_objects
from .engine import Engine, EngineAway, EngineEvent, Greeting
from .engine_objects import Container
from .machine import own_addresses
from .members import dns_label
from .plan import HOST_NAME_TAKEN, Plan, plan
from .reporting import Reporting
from .status import EngineStatus
from .writing import ApiAway, Writing

QUIET_SECONDS, MOST_QUIET_SECONDS = 0.05, 0.5
"""How long no event has to come before ids are looked at, and how long that is waited for."""
MANY = 50
"""More ids than these at once, and all is listed."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
AWAY_SECONDS = 30.0
"""After so long an Event says that an engine does not answer."""
_LASTED_SECONDS = 10.0
"""A connection that lasted so long was good."""
_API_PAUSE = 1.0
PODMAN = "podman"
_NAME = 12
_UNIMPORTANT = ("exec_", "attach", "commit", "copy", "export", "resize", "top", "detach", "archive", "mount",
                "unmount", "sync", "checkpoint", "exec")  # fmt: skip

log = logging.getLogger(__name__)


class Source:
    """The containers of one engine."""

    def __init__(
        self,
        config: ContainerEngine,
        client: AsyncClient,
        known: Sequence[str],
        changed: Callable[[], None],
        podman: str = PODMAN,
    ) -> None:
        """`known` are the names of all configured engines; `changed` is called when rows of `status` are.

        `podman` is what an engine without a name is called if it is Podman.
        """
        self._config = config
        self._client = client
        self._known = [name for name in known if name]
        self._podman = podman
        self._changed = changed
        self.status = EngineStatus(config.name, config.endpoint)
        self._writing: Writing | None = None
        self._reporting = Reporting(client, lambda key: self._writing.uid(key) if self._writing else "")
        self._reporting.engine = config.name or config.endpoint
        self._containers: dict[str, Container] = {}
        self._heard: dict[str, float] = {}
        """Ids that something happened to, and when that was heard of first."""
        self._heard_last = 0.0
        self._is_all_unsure = False
        """Whether something happened that is about no single container."""
        self._something = asyncio.Event()
        self._events_since_list = 0
        self._api_trouble = LogOnChange("")
        self._engine_trouble = LogOnChange("")
        self._has_forgotten = False
        self._later: float | None = None
        """When there is something to delete that stays a while (monotonic)."""
        self._is_behind = False
        """Whether the registry has not taken all that is known."""

    async def run(self) -> None:
        """Follow the engine until cancelled."""
        reporting = asyncio.create_task(self._reporting.run())
        try:
            await self._follow()
        finally:
            reporting.cancel()

    async def _follow(self) -> None:
        failures, away_since, is_said, is_doubted = 0, time.monotonic(), False, False
        while True:
            began = time.monotonic()
            try:
                await self._session()
                why = "the event stream ended"
            except EngineAway as away:
                why = str(away)
            if self.status.listed > began:
                away_since, is_said, is_doubted = time.monotonic(), False, False
                failures = 0 if time.monotonic() - began > _LASTED_SECONDS else failures
            elif time.monotonic() - away_since > AWAY_SECONDS and not is_said:
                is_said = True
                self._reporting.away(why)
            failures += 1
            self.status.up, self.status.why = False, why
            if self._engine_trouble.is_new(why):
                log.warning("containers stay registered as they were: %s", why)
            pause = _pause(failures)
            if self._config.stale_after and not is_doubted:
                rest = away_since + self._config.stale_after - time.monotonic()
                is_doubted = rest <= 0 and await self._doubt()
                pause = min(pause, max(rest, FIRST_PAUSE))
            await asyncio.sleep(pause)

    async def _doubt(self) -> bool:
        """Say that no Pod of the engine is ready any more; return whether the registry has it."""
        writing = self._writing or Writing(self._client, self._config.name, self._config.linger)
        try:
            await writing.doubt()
        except ApiAway as away:
            log.warning("containers that have not been heard of can't be called not ready: %s", away)
            return False
        log.warning("no container of engine %s is ready: it has not answered for too long", self.status.name)
        return True

    async def _session(self) -> None:
        """Follow the engine over one stream of events, to its end.  Raises EngineAway."""
        engine = Engine(self._config)
        try:
            greeting = await engine.greet()
            await self._take_name(engine, greeting)
            stream = asyncio.create_task(self._hear(engine, greeting.now))
            try:
                await self._list(engine, "start" if not self.status.listed else "stream")
                await self._work(engine, stream)
            finally:
                stream.cancel()
                ended = await asyncio.gather(stream, return_exceptions=True)
            if isinstance(ended[0], EngineAway):
                raise ended[0]
        finally:
            await engine.close()

    async def _take_name(self, engine: Engine, greeting: Greeting) -> None:
        self.status.version, self.status.api = greeting.version, greeting.api
        if self._writing is not None:
            return
        name = self._config.name
        if not name:
            # Podman's id is another one each time it is asked
            name = self._podman if greeting.is_podman else dns_label((await engine.id())[:_NAME]) or "engine"
        self.status.name = self._reporting.engine = name
        self._writing = Writing(self._client, name, self._config.linger)

    # What is heard

    async def _hear(self, engine: Engine, since: int) -> None:
        async for events in engine.events(since):
            now = time.monotonic()
            for event in events:
                self._take(event, now)

    def _take(self, event: EngineEvent, now: float) -> None:
        action = event.action.partition(":")[0].strip()
        self.status.heard(action)
        self._events_since_list += 1
        if event.type == "network":
            identity = (event.actor.attributes or {}).get("container", "")
            if action not in ("connect", "disconnect"):
                return
        else:
            identity = event.actor.id
            if action.startswith(_UNIMPORTANT):
                return
            known = self._containers.get(identity)
            if known is not None and event.health_said == known.health is not None:
                return
        if identity:
            self._heard.setdefault(identity, now)
        else:
            self._is_all_unsure = True
        self._heard_last = now
        self._something.set()

    # What is done

    async def _work(self, engine: Engine, stream: asyncio.Task[None]) -> None:
        """Look at what was heard of, and list all when it is time to, until the stream ends."""
        next_list = time.monotonic() + self._config.resync
        next_look = self._later
        while not stream.done():
            await self._until_something(stream, min(next_list, next_look or next_list))
            if stream.done():
                return
            now = time.monotonic()
            if now >= next_list or self._is_all_unsure or len(self._heard) > MANY:
                reason = "api" if self._is_behind else "time" if now >= next_list else "events"
                heard = self._events_since_list
                is_changed = await self._list(engine, reason)
                next_list = time.monotonic() + self._config.resync
                if reason == "time" and is_changed and not heard:
                    raise EngineAway("events stayed away while containers changed: the stream is begun anew")
            elif self._heard:
                await self._look(engine)
            elif next_look is not None and now >= next_look:
                await self._bring(engine)
            next_look = self._later
            if self._is_behind:
                next_list = min(next_list, time.monotonic() + _API_PAUSE)

    async def _until_something(self, stream: asyncio.Task[None], at: float) -> None:
        """Return when ids are to be looked at, it is time, or the stream has ended."""
        if not self._something.is_set():
            woken = asyncio.create_task(self._something.wait())
            wait = max(0.0, at - time.monotonic())
            await asyncio.wait({woken, stream}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
        if not self._something.is_set():
            return
        begun = min(self._heard.values(), default=self._heard_last)
        while not stream.done():
            due = min(self._heard_last + QUIET_SECONDS, begun + MOST_QUIET_SECONDS)
            if (rest := due - time.monotonic()) <= 0:
                break
            await asyncio.wait({stream}, timeout=rest)
        self._something.clear()

    async def _list(self, engine: Engine, reason: str) -> bool:
        """List all containers, and bring the registry to that; return whether any has changed."""
        self.status.resyncs[reason] += 1
        heard, self._heard, self._is_all_unsure, self._events_since_list = self._heard, {}, False, 0
        before = self._containers
        listed = await engine.containers()
        self._containers = {one.id: one for one in await self._completed(engine, listed, before, heard)}
        is_changed = _states(self._containers) != _states(before)
        await self._bring(engine, heard, is_complete=True)
        is_new, self.status.up, self.status.listed = not self.status.up, True, time.monotonic()
        if is_new:
            self._changed()
        if self._engine_trouble.is_new(""):
            log.info("containers of engine %s are followed again", self.status.name)
        return is_changed

    async def _look(self, engine: Engine) -> None:
        """Look at the containers that something happened to."""
        heard, self._heard = self._heard, {}
        listed = await engine.containers(sorted(heard))
        found = await self._completed(engine, listed, self._containers, heard)
        there = {one.id: one for one in found}
        for identity in heard:
            if identity in there:
                self._containers[identity] = there[identity]
            else:
                self._containers.pop(identity, None)
        await self._bring(engine, heard)

    async def _completed(
        self,
        engine: Engine,
        listed: Iterable[Container],
        before: dict[str, Container],
        heard: Iterable[str],
    ) -> list[Container]:
        """Return containers with what only an inspection tells, where that is needed; without those gone."""
        unsure = set(heard)

        async def complete(one: Container) -> Container | None:
            known = before.get(one.id)
            if _needs_inspection(one, known, one.id in unsure):
                found = await engine.inspected(one)
                return None if found is None else _with_words(found, known)
            return _with_known(one, known)

        return [one for one in await asyncio.gather(*map(complete, listed)) if one is not None]

    async def _planned(self, engine: Engine) -> Plan:
        assert self._writing is not None
        addresses = own_addresses()
        own = {
            there.network
            for one in self._containers.values()
            for there in one.networks
            if {there.ipv4, there.ipv6} & addresses
        }
        made = plan(self._containers.values(), self._config, self.status.name, own)
        contenders = [one for one in _contenders(made) if not one.started]
        if not contenders:
            return made
        for one in contenders:
            if (found := await engine.inspected(one)) is not None:
                self._containers[one.id] = _with_words(found, one)
        return plan(self._containers.values(), self._config, self.status.name, own)

    async def _bring(
        self, engine: Engine, heard: dict[str, float] | None = None, *, is_complete: bool = False
    ) -> None:
        """Bring the registry to what is known of the containers; what it does not take now it gets later."""
        made = await self._planned(engine)
        assert self._writing is not None
        try:
            if is_complete or self._is_behind:
                await self._writing.look()
            if is_complete and not self._has_forgotten and not self._config.keep_orphans:
                await self._writing.forget_engines(self._known)
                self._has_forgotten = True
            seconds = await self._writing.bring_to(made)
        except ApiAway as away:
            self._is_behind, self._later = True, None
            if self._api_trouble.is_new(str(away)):
                log.warning("containers can't be registered now: %s", away)
            return
        self._is_behind = False
        self._api_trouble.is_new("")
        now = time.monotonic()
        self._later = None if seconds is None else now + seconds
        for at in (heard or {}).values():
            self.status.lagged(now - at)
        self.status.writes = self._writing.writes
        problems = list(self._writing.problems.values())
        self._reporting.look(made.outcomes, problems)
        if self.status.take(made.outcomes, problems):
            self._changed()


def _pause(failures: int) -> float:
    longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
    return random.uniform(0.5, 1.0) * longest


def _states(containers: dict[str, Container]) -> dict[str, tuple[str, str | None]]:
    return {identity: (one.state, one.health) for identity, one in containers.items()}


def _needs_inspection(one: Container, known: Container | None, is_unsure: bool) -> bool:
    """Return whether the list does not say enough about a container that runs."""
    if not one.is_running:
        return False
    if one.health == engine_objects.UNHEALTHY:
        return known is None or known.health != engine_objects.UNHEALTHY  # for the words of its healthcheck
    if one.health is not None:
        return False
    if known is None or is_unsure or known.state != one.state:
        return True
    return known.health != engine_objects.NO_HEALTHCHECK


def _with_words(found: Container, known: Container | None) -> Container:
    """Return a container with the words that its healthcheck had when it became unhealthy."""
    is_same = known is not None and known.health == found.health
    return replace(found, health_log=known.health_log) if is_same and known is not None else found


def _with_known(one: Container, known: Container | None) -> Container:
    """Return a listed container with what an inspection has told before."""
    if known is None:
        return one
    exposed = tuple(sorted({*one.exposed, *known.exposed}))
    health = known.health if one.health is None else one.health
    is_same = one.health is None or one.health == known.health
    return replace(
        one,
        health=health,
        health_log=known.health_log if is_same else "",
        mode=one.mode or known.mode,
        exposed=exposed,
        started=known.started if known.state == one.state else "",
    )


def _contenders(made: Plan) -> list[Container]:
    """Return the containers of which only one can have a name: when each started decides."""
    losing = [one for one in made.outcomes if one.reason == HOST_NAME_TAKEN]
    if not losing:
        return []
    return [one.container for one in made.outcomes if one.reason in ("", HOST_NAME_TAKEN)]
