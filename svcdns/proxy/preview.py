"""The rules that the engine `nft` would have now, as text that `nft -f` reads: nothing is put in effect.

Relays, for what has to do with loopback addresses, are comments.  A relay has the port that is named, unless
something else listens there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from svcdns.client import AsyncClient, Connection, Unreachable
from svcdns.cluster.service_frontends import Here
from svcdns.cluster.traffic import Traffic, frontend_text
from svcdns.cluster.traffic_plan import NODE, Frontend
from svcdns.cluster.usable_endpoints import Place
from svcdns.config.sections import Config, Network

from .api_state import ApiState
from .engine import Rules
from .host_settings import LOCALHOST
from .kernel_text import ruleset_text
from .machine import Machine
from .stand_ins import Loopback, StandIns, all_loopback, carried


class Preview:
    """Lists what there is, once."""

    def __init__(self, config: Config, node: str, client: AsyncClient, machine: Machine) -> None:
        """Nothing is asked yet."""
        place = Place(node, "", machine.host().local_networks, machine.own_addresses())
        self._config = config
        self._machine = machine
        self._traffic = Traffic(Here(place, config.proxy.external_ips))
        self._step = asyncio.Event()
        self._api = ApiState(client, self._traffic, node, self._step.set, self)
        machine.ranges_are(config.services.cluster_ip_ranges)

    def zone_is(self, zone: str) -> None:
        """Take the zone of this node."""
        self._traffic.be_at(replace(self._traffic.here.place, zone=zone))

    def ranges_are(self, ranges: Sequence[Network]) -> None:
        """Take the networks that cluster IPs come from; [] for those of the configuration."""
        self._machine.ranges_are(ranges or self._config.services.cluster_ip_ranges)

    async def text(self) -> str:
        """Return the rules.  Raises Unreachable where the API can't be listed."""
        following = asyncio.create_task(self._api.run())
        try:
            while not (self._api.is_listed and (self._api.node.is_listed or self._api.node.why_lost)):
                if self._api.why_lost:
                    raise Unreachable(self._api.why_lost)
                self._step.clear()
                await self._step.wait()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        self._traffic.changes()
        rules, host = self._traffic.rules(), self._machine.host()
        users = Counter(one for at, rule in rules.items() for one in all_loopback(at, rule))
        points = StandIns(lambda point: True).plan(users, host)
        rules = {
            at: carried(at, rule, points) if all_loopback(at, rule) else rule for at, rule in rules.items()
        }
        text = ruleset_text(rules, replace(host, relays=tuple(points.values())))
        return "".join((*self._relays(rules, points), text))

    def _relays(self, rules: Rules, points: Mapping[Loopback, Frontend]) -> Iterator[str]:
        for one, point in sorted(points.items(), key=lambda pair: frontend_text(pair[1])):
            at = Frontend(point.family, one.endpoint.address, one.protocol, one.endpoint.port)
            yield f"# relay {frontend_text(point)} -> {frontend_text(at)}, by Services only\n"
        if LOCALHOST in self._config.proxy.node_port_addresses:
            for node_port in sorted(frontend_text(at) for at in rules if at.address == NODE):
                yield f"# relay {node_port} on 127.0.0.1 and ::1\n"


async def rules_text(config: Config, node: str, connection: Connection, machine: Machine) -> str:
    """Return the rules for what is registered at this server now.  Raises Unreachable, OSError."""
    async with AsyncClient(connection) as client:
        return await Preview(config, node, client, machine).text()
