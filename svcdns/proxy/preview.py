"""The rules that the engine `nft` would have now, as text that `nft -f` reads: nothing is put in effect."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from svcdns.client import AsyncClient, Connection, Unreachable
from svcdns.cluster.service_frontends import Here
from svcdns.cluster.traffic import Traffic
from svcdns.cluster.usable_endpoints import Place
from svcdns.config.sections import Config, Network

from .api_state import ApiState
from .kernel_text import ruleset_text
from .machine import Machine


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
        return ruleset_text(self._traffic.rules(), self._machine.host())


async def rules_text(config: Config, node: str, connection: Connection, machine: Machine) -> str:
    """Return the rules for what is registered at this server now.  Raises Unreachable, OSError."""
    async with AsyncClient(connection) as client:
        return await Preview(config, node, client, machine).text()
