"""Node ports on 127.0.0.1 and ::1 beside the kernel's rules, which lead nothing from there to other hosts.

They are carried by sockets, where `node_port_addresses` has the word `localhost`.

Rules:

* the kernel comes first: what it refuses, the relay is not told either;
* `route_localnet` is never set: it would let neighbours reach what listens on loopback (CVE-2020-8558).

https://kubernetes.io/docs/reference/networking/virtual-ips/, KEP-6032
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from svcdns.cluster.traffic_plan import NODE, Frontend, Host, Rule

from .engine import Engine
from .relay import Relay
from .repairing import Repairs

_RuleOrNone = TypeVar("_RuleOrNone", Rule, Rule | None)


class WithLoopbackPorts:
    """An engine, and a relay for node ports on loopback addresses."""

    def __init__(self, engine: Engine, relay: Relay) -> None:
        """Take over both."""
        self._engine, self._relay = engine, relay
        self.name = engine.name

    def replace(self, rules: Mapping[Frontend, Rule], host: Host) -> None:
        """Have exactly these rules.  Raises EngineError."""
        self._engine.replace(rules, host)
        self._relay.replace(_node_ports(rules), Host())  # no address of the node: loopback is left

    def apply(self, changed: Mapping[Frontend, Rule | None], host: Host | None = None) -> None:
        """Change these frontends, and what is known of the host.  Raises EngineError."""
        self._engine.apply(changed, host)
        if node_ports := _node_ports(changed):
            self._relay.apply(node_ports)

    @property
    def owns(self) -> bool:
        """Whether nobody can undo what the engine does."""
        return not isinstance(self._engine, Repairs) or self._engine.owns

    def repair(self) -> bool:
        """Have the engine do again what was undone.  Raises EngineError."""
        return isinstance(self._engine, Repairs) and self._engine.repair()

    def held(self) -> Mapping[str, int]:
        """Return what the engine holds, and the relay's listeners and connections."""
        relay = self._relay.held()
        loopback = {f"loopback_{what}": relay[what] for what in ("listeners", "connections", "flows")}
        return {**self._engine.held(), **loopback}

    def close(self) -> None:
        """Let go of both."""
        self._relay.close()
        self._engine.close()


def _node_ports(rules: Mapping[Frontend, _RuleOrNone]) -> dict[Frontend, _RuleOrNone]:
    return {frontend: rule for frontend, rule in rules.items() if frontend.address == NODE}
