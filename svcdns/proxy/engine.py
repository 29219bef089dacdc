"""What an engine of the proxy is: told of frontends and their rules, it carries the traffic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from svcdns.cluster.traffic_plan import Frontend, Host, Rule

Rules = Mapping[Frontend, Rule]
Changed = Mapping[Frontend, Rule | None]
"""None: gone."""


class EngineError(Exception):
    """An engine could not do what it was told; what was in effect before still is.  One line."""


class Engine(Protocol):
    """Carries traffic.  Every method takes effect as a whole before it returns, or raises EngineError."""

    name: str
    """`nft` or `user`."""

    def replace(self, rules: Mapping[Frontend, Rule], host: Host) -> None:
        """Have exactly these rules from now on, whatever was there before; connections in flight stay."""

    def apply(self, changed: Mapping[Frontend, Rule | None], host: Host | None = None) -> None:
        """Change these frontends (None: gone), and what is known of the host where it is given."""

    def held(self) -> Mapping[str, int]:
        """Return what it holds, for status and metrics: how many frontends, endpoints, elements."""

    def close(self) -> None:
        """Let go of it: the kernel's rules stay in effect, a relay's listeners end."""


@runtime_checkable
class Leads(Protocol):
    """An engine that leads clients to others than the endpoints of a rule."""

    def as_carried(self, changed: Changed, before: Rules) -> tuple[Changed, Rules]:
        """Return what the last call changed, and what was before, by where connections really end."""
