"""The machine that a proxy runs on, as the agent sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from svcdns.cluster.traffic_plan import Host


class Machine(Protocol):
    """Knows the addresses and networks of this machine, and sets up what traffic takes."""

    def host(self) -> Host:
        """Return what engines are told of it, as it is now."""

    def own_addresses(self) -> frozenset[bytes]:
        """Return all its addresses: endpoints there are local."""

    async def run(self, changed: Callable[[], None]) -> None:
        """Follow it until cancelled; call `changed` where `host` or `own_addresses` may differ."""


@dataclass(slots=True)
class FixedMachine:
    """One that never changes, and on which nothing is set up."""

    known: Host = field(default_factory=Host)
    addresses: frozenset[bytes] = frozenset()

    def host(self) -> Host:
        """Return what was said of it."""
        return self.known

    def own_addresses(self) -> frozenset[bytes]:
        """Return what was said of it."""
        return self.addresses

    async def run(self, changed: Callable[[], None]) -> None:
        """Return: nothing happens."""
