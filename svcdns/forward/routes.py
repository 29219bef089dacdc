"""Which upstreams a name is asked for at: one pool for each [[forward.zone]], one for all other names.

* The longest zone that holds the name decides.
* An upstream's text may name a resolv.conf; each is checked once a second, and a change takes effect
  on the next question.  Upstreams that stay keep their connections and what is known of them.
* An upstream that is one of our own listeners is left out, whoever lists it.
* One log line for each pool says whom it asks, at the start and whenever these become others.
* Nothing that a file holds, and no upstream that can't be made, stops the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from svcdns.config.own_address import own_listener
from svcdns.config.sections import Endpoint, ForwardConfig, ForwardZone
from svcdns.config.upstream_spec import Spec, parse
from svcdns.forward.upstreams.factory import make
from svcdns.forward.upstreams.upstream import Upstream
from svcdns.system.log_on_change import LogOnChange
from svcdns.wire.key import key_of, parent_keys

from .health import Health
from .loops import LoopWatch
from .pool import TOTAL_SECONDS, Pool
from .system_nameservers import DNS_PORT, ResolvConf

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
_LINGER_SECONDS = TOTAL_SECONDS + 1.0
"""For which an upstream that was taken out lives on: questions are still under way there."""


class _Route:
    """A zone's pool, and what the configuration says of it."""

    def __init__(self, zone: ForwardZone) -> None:
        self.specs = [parse(text) for text in dict.fromkeys(zone.upstreams)]
        self.key = key_of(zone.name)
        self.pool = Pool(zone.name, policy=zone.policy)
        self._logged = LogOnChange(None)

    def log_upstreams(self) -> None:
        """Log whom the pool asks, when that has changed."""
        names = [health.name for health in self.pool.upstreams]
        if not self._logged.is_new(names):
            return
        which = f"names in {self.pool.zone}" if self.key else "all other names"
        if names:
            log.info("%s are asked for at %s", which, ", ".join(names))
        else:
            log.warning("%s are not answered: there is no upstream for them", which)


class Routes:
    """All pools of the forwarder, kept as configuration and files say; used in one event loop."""

    def __init__(
        self,
        config: ForwardConfig,
        own: Sequence[Endpoint],
        *,
        loops: LoopWatch | None = None,
        interval: float = REFRESH_SECONDS,
        port: int = DNS_PORT,
        wrap: Callable[[Upstream, Spec], Upstream] | None = None,
    ) -> None:
        """`own` are the real places where we listen.

        `wrap` is given each upstream that is made, and returns what is asked in its place.
        `interval` is the seconds between checks of files, `port` is where their nameservers are asked.
        Raises ValueError for an upstream that is none.
        """
        zones = list(config.zone)
        if config.upstreams:
            zones.append(ForwardZone(".", config.upstreams, config.policy))
        self._routes = [_Route(zone) for zone in zones]
        self._pools = {route.key: route.pool for route in self._routes}
        self._default = self._pools.get(b"")
        self._has_one = list(self._pools) == [b""]
        """Whether all names are asked for at one pool."""
        self.loops = loops or LoopWatch()
        self._own = own
        self._ca = config.ca
        self._interval = interval
        self._port = port
        self._wrap = wrap
        paths = {spec.path for route in self._routes for spec in route.specs if spec.kind == "file"}
        self._files = {path: ResolvConf(Path(path), own, port) for path in sorted(paths)}
        self._refused: set[str] = set()
        self._watcher: asyncio.Task[None] | None = None
        self._leaving: dict[Health, asyncio.Task[None]] = {}

    def pool(self, key: bytes) -> Pool | None:
        """Return where a name (its key) is asked for, None where nothing is."""
        if self._has_one:
            return self._default
        found = (self._pools[zone] for zone in parent_keys(key) if zone in self._pools)
        return next(found, self._default)

    def upstreams(self, key: bytes) -> Sequence[Health]:
        """Return the upstreams at which a name (its key) is asked for."""
        pool = self.pool(key)
        return () if pool is None else pool.upstreams

    def is_probe(self, key: bytes) -> bool:
        """Return whether a question of type HINFO is a loop probe of ours that has come back."""
        return self.loops.is_probe(key)

    async def start(self) -> None:
        """Read all files and make all upstreams; then keep to the files until `stop`.  Never raises."""
        for file in self._files.values():
            file.refresh()
        self._rebuild()
        if self._pools and self._default is None:
            log.info("nothing else is forwarded: upstreams in [forward] is empty")
        if self._files:
            self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Close all upstreams; what is under way ends with Unresolved."""
        tasks = [*self._leaving.values(), *filter(None, [self._watcher])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loops.stop()
        leaving = list(self._leaving)
        for route in self._routes:
            leaving += route.pool.upstreams
            route.pool.upstreams = ()
        for health in leaving:
            await self._close(health)

    def status(self) -> list[dict[str, Any]]:
        """Return each upstream's state, as metrics and the status file show it (`seconds` to a reply)."""
        return [
            {
                "zone": route.pool.zone,
                "upstream": health.name,
                "up": health.up,
                "looped": health.looped,
                "asked": health.asked,
                "answered": health.answered,
                "failed": health.failed,
                "servfail": health.servfail,
                "garbage": health.garbage,
                "seconds": round(health.seconds, 6),
            }
            for route in self._routes
            for health in route.pool.upstreams
        ]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                if [file for file in self._files.values() if file.refresh()]:
                    self._rebuild()
            except Exception:
                log.exception("the upstreams could not be brought up to date")

    def _rebuild(self) -> None:
        """Give each pool the upstreams that configuration and files list now."""
        for route in self._routes:
            before = {health.name: health for health in route.pool.upstreams}
            now: dict[str, Health] = {}
            for spec in self._specs(route):
                name = str(spec)
                if name not in now and (health := before.get(name) or self._make(spec, route)):
                    now[name] = health
            route.pool.upstreams = tuple(now.values())
            route.log_upstreams()
            if list(now) == list(before):
                continue
            for name, health in before.items():
                if name not in now:
                    self._let_go(health)
            for name, health in now.items():
                if name in before:
                    self.loops.probe_now(health)
                else:
                    self.loops.watch(health)

    def _specs(self, route: _Route) -> Iterator[Spec]:
        for spec in route.specs:
            if spec.kind == "file":
                for address in self._files[spec.path].nameservers:
                    yield Spec("udp", address, self._port)
            else:
                yield spec

    def _make(self, spec: Spec, route: _Route) -> Health | None:
        """Return a new upstream, None (and an ERROR line, once) for one that can't be."""
        try:
            if spec.kind in ("udp", "tcp") and (listen := own_listener(spec.host, spec.port, self._own)):
                raise ValueError(
                    f"is this server itself, which listens on {listen}: questions would go round in a loop; "
                    "list other servers in [forward] upstreams"
                )
            made = make(spec, self._ca)
            made = made if self._wrap is None else self._wrap(made, spec)
        except (ValueError, OSError) as wrong:
            if str(spec) not in self._refused:
                self._refused.add(str(spec))
                log.error("upstream %s is left out: %s", spec, wrong)
            return None
        address = spec.address.partition("%")[0]
        return Health(made, route.key, address=address, came_back=self.loops.probe_now)

    def _let_go(self, health: Health) -> None:
        """Close an upstream once nothing is under way there any more."""
        self.loops.forget(health)

        async def later() -> None:
            await asyncio.sleep(_LINGER_SECONDS)
            await self._close(health)
            del self._leaving[health]

        self._leaving[health] = asyncio.get_running_loop().create_task(later())

    async def _close(self, health: Health) -> None:
        try:
            await health.close()
        except Exception:
            log.exception("upstream %s could not be closed", health.name)
