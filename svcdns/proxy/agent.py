"""The proxy's process: follows the registry through its API, and keeps an engine at what follows from it.

    API ──▶ api_state ──▶ cluster/traffic ──▶ engine_sync ──▶ engine
                                                  ▲
    machine (addresses, networks) ────────────────┘         beside it: health, health_checks, reporting

Rules:

* one event loop, one thread, no state on disk: after a start all is listed, and the engine brought to it;
* while the API is away, or the engine refuses, what was in effect stays;
* when it ends, the engine's `close` decides what stays: the kernel's rules do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address

from svcdns import __version__
from svcdns.client import AsyncClient
from svcdns.cluster.service_frontends import Here
from svcdns.cluster.traffic import Traffic
from svcdns.cluster.traffic_plan import Frontend, Rule
from svcdns.cluster.usable_endpoints import Place
from svcdns.config.sections import Config, Network

from . import health, repairing
from .announcing import Announced
from .api_state import ApiState
from .engine import Changed, Engine, Leads, Rules
from .engine_sync import EngineSync
from .flows import Flows
from .handover import Candidates
from .health_checks import HealthChecks
from .late_nodes import LateNodes
from .machine import Machine
from .members import Members
from .node_holder import Standing, identity
from .own_lease import OwnLease
from .own_node import OwnNode
from .progress import Progress
from .reporting import Reporting
from .status import Metrics, Status
from .unserved import Problems, Unserved

_RETRY_SECONDS = 5.0
_LOOK_SECONDS = 1.0

log = logging.getLogger(__name__)


class Agent:
    """A proxy: all its parts, and how they are wired."""

    def __init__(
        self,
        config: Config,
        node: str,
        client: AsyncClient,
        engine: Engine,
        machine: Machine,
        holder: str = "",
    ) -> None:
        """Nothing runs yet; `node` is the name of this one, `holder` who it is among those of that name."""
        self._config = config
        self._machine = machine
        self._has_ranges = False
        self._reported = 0
        place, outer = self._place(node, ""), config.proxy.external_ips
        self.traffic = Traffic(Here(place, outer, config.services.load_balancer_ranges))
        self.sync = EngineSync(engine, self.traffic, machine.host())
        self.members = Members()
        takes_part = config.proxy.register
        self.api = ApiState(
            client, self.traffic, node, self.sync.wake, self, self.members if takes_part else None
        )
        self._flows = Flows(machine.host, config.proxy.reset_removed) if engine.name == "nft" else None
        self.status = Status(
            __version__,
            node,
            self.sync,
            self.api,
            self.traffic,
            self.problems,
            lambda: self._flows.forgotten if self._flows is not None else None,
            machine.complaints,
            self._who_announces,
        )
        self.health_checks = HealthChecks(lambda: not self.status.why_unhealthy())
        self.listening: tuple[str, int] | None = None
        """Where the proxy's own port is, once it answers there."""
        self._reporting = Reporting(client, node)
        self._metrics = Metrics(self.status)
        self.sync.health_checks = self.health_checks.change
        self._unserved = Unserved(self.sync, self._report)
        self.sync.computed = self._report_changed
        self.sync.seen = self.api.revisions
        self._progress = Progress(client, node, self.sync)
        self.own_node = OwnNode(client, node, machine.primary_addresses) if takes_part else None
        self._announced = Announced(config.services.load_balancer_ranges)
        self.own_lease: OwnLease | None = None
        self._late_nodes = LateNodes(client, node, self.members)
        if takes_part:
            holder = holder or identity(node)
            self.own_lease = OwnLease(client, node, holder, self.members, machine, self._candidates)
            self.own_lease.standing_changed = self.sync.wake
            self.own_lease.answers_changed = self._say_announced
            self.own_lease.came_back = self._machine_changed
            self.api.leases_changed = self.own_lease.look
        self.sync.applied = self._applied
        self.health_checks.listen_at(machine.host().node_addresses)

    async def run(self, stop: asyncio.Event) -> None:
        """Do its work until `stop` is set."""
        works = (
            self.api.run(),
            self.sync.run(self._is_ready),
            self._machine.run(self._machine_changed),
            self.health_checks.run(),
            self._reporting.run(),
            self._unserved.run(),
            self._progress.run(),
            repairing.keep(self.sync.engine),
            self._serve_health(),
            *([self._flows.run()] if self._flows is not None else ()),
            *(self._among_nodes(self.own_lease) if self.own_lease is not None else ()),
        )
        tasks = [asyncio.create_task(work) for work in works]
        stopping = asyncio.create_task(stop.wait())
        try:
            await self._until_one_breaks(tasks, stopping)
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)
            if self.own_lease is not None:
                await self.own_lease.leave()
            if self.own_node is not None:
                await self.own_node.leave()
            self.sync.engine.close()

    async def _until_one_breaks(self, tasks: list[asyncio.Task[None]], stopping: asyncio.Task[bool]) -> None:
        """Return when told to end; raises what a task raises: none is meant to end by itself."""
        running: set[asyncio.Task[None] | asyncio.Task[bool]] = {*tasks, stopping}
        while not stopping.done():
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    def _place(self, node: str, zone: str) -> Place:
        host = self._machine.host()
        return Place(node, zone, host.local_networks, self._machine.own_addresses())

    def zone_is(self, zone: str) -> None:
        """Take the zone of this node, which hints speak of."""
        self.traffic.be_at(replace(self.traffic.here.place, zone=zone))

    def ranges_are(self, ranges: Sequence[Network]) -> None:
        """Take the networks that cluster IPs come from; [] for those of the configuration."""
        self._has_ranges = True
        ranges = ranges or self._config.services.cluster_ip_ranges
        self.traffic.cluster_networks_are(ranges)
        try:
            self._machine.ranges_are(ranges)
        except OSError as wrong:
            log.error("the machine can't be set up for traffic: %s", wrong)
        self._machine_changed()

    def _applied(self, changed: Mapping[Frontend, Rule | None], before: Mapping[Frontend, Rule]) -> None:
        """What else follows from what is in effect: rules first, then who is told of an address."""
        if self._flows is not None:
            self._flows.applied(*self._as_carried(changed, before))
        addresses = self._announced.applied(changed)
        if self.own_lease is None:
            self._machine.announce(addresses)
        else:
            self.own_lease.look()

    def _among_nodes(self, own_lease: OwnLease) -> tuple[Coroutine[None, None, None], ...]:
        """Return the work under this node's name, and that has to do with other nodes."""
        leases = self.api.leases
        return (
            own_lease.run(
                lambda: leases is not None and leases.is_listed,
                lambda: self.sync.is_synced,
            ),
            self._keep_node(own_lease),
            self._late_nodes.run(),
        )

    async def _keep_node(self, own_lease: OwnLease) -> None:
        """Keep the Node from when its name is this proxy's; of an API without Leases, all the same."""
        while not own_lease.held.is_set() and not self._has_no_leases():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await own_lease.held.wait()
        if self.own_node is not None:
            await self.own_node.run()

    def _has_no_leases(self) -> bool:
        return self.api.leases is None or self.api.leases.is_refused

    def _may_carry(self) -> bool:
        """Return whether no other machine's proxy has, as far as is known, the name of this node."""
        if self.own_lease is None or self._has_no_leases():
            return True
        return self.own_lease.standing is not Standing.WAITS

    def _candidates(self) -> Candidates:
        """Return all load balancer addresses, and the nodes that may announce each; None: all may."""
        found: dict[bytes, frozenset[str] | None] = {}
        for address, services in self._announced.services().items():
            nodes = [self.traffic.nodes_of(one) for one in services]
            everywhere = any(one is None for one in nodes)
            found[address] = None if everywhere else frozenset(name for one in nodes for name in one or ())
        return found

    def _who_announces(self) -> list[tuple[bytes, frozenset[str], str]]:
        """Return each address in a network where this machine announces, its Services, and who answers."""
        networks, own = self._machine.announces_in(), self.own_lease
        found = []
        for address, services in sorted(self._announced.services().items()):
            if not any(ip_address(address) in one for one in networks):
                continue
            is_here = own is None or address in own.answered
            others = self.members.claiming(address) - {self.status.node}
            found.append((address, services, self.status.node if is_here else min(others, default="")))
        return found

    def _say_announced(self, addresses: Collection[bytes]) -> None:
        services = self._announced.services()
        for address in sorted(addresses):
            for key in sorted(services.get(address, ())):
                if (service := self.traffic.services.get(key)) is not None:
                    text = f"{ip_address(address)} is announced by the node {self.status.node}"
                    self._reporting.say(service, "Announced", text)

    def _as_carried(self, changed: Changed, before: Rules) -> tuple[Changed, Rules]:
        engine = self.sync.engine
        return engine.as_carried(changed, before) if isinstance(engine, Leads) else (changed, before)

    def _is_ready(self) -> bool:
        """Return whether the engine can be told; of a server that names no ranges, the configuration does."""
        if self.api.is_listed and not self._has_ranges:
            self.ranges_are(())
        return self.api.is_listed and self._may_carry()

    def _machine_changed(self) -> None:
        host, place = self._machine.host(), self.traffic.here.place
        self.traffic.be_at(self._place(place.node, place.zone))
        self.health_checks.listen_at(host.node_addresses)
        self.sync.be_on(host)
        if self.own_node is not None:
            self.own_node.look()
        self.sync.wake()

    def problems(self) -> Problems:
        """Return what Services ask for and don't get, by Service."""
        found = dict(self.traffic.problems)
        for key, more in self._unserved.problems.items():
            found[key] = (*found.get(key, ()), *more)
        return found

    def _report_changed(self) -> None:
        if self._reported != self.traffic.problem_changes:
            self._reported = self.traffic.problem_changes
            self._report()

    def _report(self) -> None:
        self._reporting.look(self.problems(), self.traffic.services)

    async def _serve_health(self) -> None:
        """Answer on the proxy's own port; one that can't be had keeps no traffic away."""
        listen = self._config.proxy.healthz
        said = False
        while True:
            try:
                runner = await health.serve(listen, self.status, self._metrics)
                break
            except OSError as refused:
                if not said:
                    log.error("healthz: %s can't be listened on: %s", listen, refused.strerror or refused)
                said = True
                await asyncio.sleep(_RETRY_SECONDS)
        self.listening = runner.addresses[0][:2]
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        finally:
            await runner.cleanup()
