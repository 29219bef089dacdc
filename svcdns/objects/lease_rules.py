"""What a Lease means: a lock that somebody holds for a while; single fields are in field_rules.

As Kubernetes' pkg/apis/coordination/validation. An empty holderIdentity is right: so a leader that steps down
gives the Lease back.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/lease-v1/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import syntax
from .causes import forbidden, invalid_value, not_supported
from .errors import Cause

_STRATEGIES = ("OldestEmulationVersion",)


def lease_causes(lease: dict[str, Any]) -> Iterator[Cause]:
    """Yield what is wrong between the fields of a Lease."""
    spec = lease.get("spec", {})
    strategy = spec.get("strategy")
    if strategy is not None:
        yield from _strategy_causes(strategy)
    if spec.get("preferredHolder") and not strategy:
        yield forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")


def _strategy_causes(strategy: str) -> Iterator[Cause]:
    """A strategy is one of Kubernetes' own, or somebody's by a name with a prefix."""
    if "/" not in strategy:
        if strategy not in _STRATEGIES:
            yield not_supported("spec.strategy", strategy, _STRATEGIES)
        return
    for text in syntax.key_errors(strategy):
        yield invalid_value("spec.strategy", strategy, text)
