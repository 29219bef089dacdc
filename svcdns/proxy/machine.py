"""The machine that a proxy runs on, as the agent sees it: what it is, and that it is kept in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Protocol

from svcdns.cluster.traffic_plan import Host
from svcdns.config.readers import network
from svcdns.config.sections import Config, Network
from svcdns.netlink.wire import Malformed
from svcdns.system.log_on_change import LogOnChange

from .changes_made import folder_for
from .host import HostWatch
from .host_settings import ALL, AUTO, LOCALHOST, PRIMARY, HostSettings

log = logging.getLogger(__name__)


class Machine(Protocol):
    """Knows the addresses and networks of this machine, and sets up what traffic takes."""

    def host(self) -> Host:
        """Return what engines are told of it, as it is now."""

    def own_addresses(self) -> frozenset[bytes]:
        """Return its addresses: endpoints there are local."""

    def complaints(self) -> tuple[str, ...]:
        """Return what of it could not be put in order, a line each."""

    def primary_addresses(self) -> tuple[bytes, ...]:
        """Return the node's own address of each family."""

    def announce(self, addresses: frozenset[bytes]) -> None:
        """Answer for these load balancer addresses, where that is wanted."""

    def ranges_are(self, cluster_ranges: Sequence[Network]) -> None:
        """Take where cluster IPs come from; before that nothing is known of ranges, and nothing set up."""

    async def run(self, changed: Callable[[], None]) -> None:
        """Follow it until cancelled; call `changed` where `host` or `own_addresses` may differ."""


@dataclass(slots=True)
class FixedMachine:
    """One that never changes, and on which nothing is set up."""

    known: Host = field(default_factory=Host)
    addresses: frozenset[bytes] = frozenset()

    def host(self) -> Host:
        """Return what was said of it, and the ranges."""
        return self.known

    def own_addresses(self) -> frozenset[bytes]:
        """Return what was said of it."""
        return self.addresses

    def complaints(self) -> tuple[str, ...]:
        """Return none."""
        return ()

    def primary_addresses(self) -> tuple[bytes, ...]:
        """Return those that offer node ports."""
        return self.known.node_addresses

    def announce(self, addresses: frozenset[bytes]) -> None:
        """Do nothing."""

    def ranges_are(self, cluster_ranges: Sequence[Network]) -> None:
        """Have the host know them."""
        self.known = replace(self.known, ranges=tuple(cluster_ranges))

    async def run(self, changed: Callable[[], None]) -> None:
        """Return: nothing happens."""


class KernelMachine:
    """This machine."""

    def __init__(self, config: Config, *, sets_up: bool) -> None:
        """Look at it; with `sets_up`, routes and settings of it are kept as packet rules need them.

        Raises OSError where the kernel does not say what this machine is.
        """
        self._wanted = host_settings(config, sets_up=sets_up)
        self._said = LogOnChange(())
        nothing = replace(self._wanted, routes=False, hairpin=False, docker=False, forwarding=False)
        self._watch = HostWatch(nothing, folder_for(config.data))
        self._look()

    def host(self) -> Host:
        """Return what engines are told of it."""
        return self._watch.host()

    def own_addresses(self) -> frozenset[bytes]:
        """Return all addresses of this machine."""
        return self._watch.own_addresses()

    def complaints(self) -> tuple[str, ...]:
        """Return what could not be put in order at the last look."""
        return self._watch.complaints

    def primary_addresses(self) -> tuple[bytes, ...]:
        """Return the node's own address of each family."""
        return self._watch.primary

    def announce(self, addresses: frozenset[bytes]) -> None:
        """Answer for these on the interfaces that the configuration names, soon."""
        self._watch.announce(addresses)

    def ranges_are(self, cluster_ranges: Sequence[Network]) -> None:
        """Set up what traffic to these takes; of the same as before nothing follows.  Raises OSError."""
        settings = replace(self._wanted, cluster_ranges=tuple(cluster_ranges))
        if settings != self._watch.settings:
            self._watch.settings = settings
            self._look()

    async def run(self, changed: Callable[[], None]) -> None:
        """Follow it until cancelled."""

        def said() -> None:
            self._say_complaints()
            changed()

        try:
            await self._watch.run(said)
        finally:
            self._watch.close()

    def _look(self) -> None:
        try:
            self._watch.look(at_once=True)
        except Malformed as wrong:
            raise OSError(f"the kernel doesn't say what this machine is: {wrong}") from None
        self._say_complaints()

    def _say_complaints(self) -> None:
        if self._said.is_new(self._watch.complaints):
            for line in self._watch.complaints:
                log.warning("%s", line)


def host_settings(config: Config, *, sets_up: bool = True) -> HostSettings:
    """Return how a configuration wants the machine to be; the cluster ranges are the server's to say."""
    proxy = config.proxy
    return HostSettings(
        load_balancer_ranges=config.services.load_balancer_ranges,
        node_addresses=tuple(ip_address(one).packed for one in proxy.node_addresses),
        node_port_addresses=tuple(_word_or_network(one) for one in proxy.node_port_addresses),
        node_ports=config.services.node_port_range,
        local_networks=tuple(_word_or_network(one) for one in proxy.local_networks),
        routes=sets_up and proxy.routes,
        hairpin=sets_up and proxy.hairpin,
        docker=sets_up and proxy.docker == "auto",
        forwarding=sets_up and proxy.forwarding == "enable",
        announce=proxy.announce if sets_up else (),
    )


def _word_or_network(text: str) -> str | Network:
    return text if text in (PRIMARY, LOCALHOST, ALL, AUTO) else network(text)
