"""What a Node means: its taints, its Pods' networks, its resources; single fields are in field_rules.

As Kubernetes' ValidateNode and ValidateNodeUpdate. Conditions and addresses may be of any type: whoever plays
kubelet reports them, and other programs add their own.
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

from . import causes, quantity, syntax
from .causes import forbidden, invalid_value, required
from .errors import Cause
from .schema_tree import below

_COUNTED = frozenset({"pods", "replicationcontrollers", "resourcequotas", "services"})
_DIVISIBLE = ("kubernetes.io/", "requests.")
_FEATURE = re.compile(r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z0-9]+)*")
_LONGEST_FEATURE = 253


def node_causes(node: dict[str, Any], old: dict[str, Any] | None = None) -> Iterator[Cause]:
    """Yield what is wrong between the fields of a Node; `old` is the stored one on an update."""
    spec, status = node.get("spec", {}), node.get("status", {})
    yield from _taints_causes(spec.get("taints", []))
    yield from _pod_networks_causes(spec.get("podCIDRs", []))
    for word in ("capacity", "allocatable"):
        yield from _resources_causes(status.get(word, {}), f"status.{word}")
    yield from _features_causes(status.get("declaredFeatures", []))
    yield from _addresses_causes(status.get("addresses", []))
    if old is not None:
        yield from _update_causes(spec, old.get("spec", {}))


def _taints_causes(taints: list[dict[str, Any]]) -> Iterator[Cause]:
    seen = set()
    for i, taint in enumerate(taints):
        field, key, effect = f"spec.taints[{i}]", taint.get("key", ""), taint.get("effect", "")
        if not effect:
            yield required(f"{field}.effect")
        if (key, effect) in seen:
            yield causes.duplicate(field, f"{key}:{effect}")
        seen.add((key, effect))


def _pod_networks_causes(networks: list[str]) -> Iterator[Cause]:
    versions = [found.version for text in networks if (found := syntax.parse_network(text)) is not None]
    if len(networks) > 2 or len(versions) != len(set(versions)):
        text = "may specify no more than one CIDR for each IP family"
        yield invalid_value("spec.podCIDRs", networks, text)


def _resources_causes(resources: dict[str, str], field: str) -> Iterator[Cause]:
    for name, amount in resources.items():
        is_extended = "/" in name and not any(word in name for word in _DIVISIBLE)
        if (name in _COUNTED or is_extended) and quantity.amount(amount) % 1:
            yield invalid_value(below(field, causes.printable(name)), amount, "must be an integer")


def _features_causes(names: list[str]) -> Iterator[Cause]:
    field = "status.declaredFeatures"
    for i, name in enumerate(names):
        if len(name) > _LONGEST_FEATURE or not _FEATURE.fullmatch(name):
            yield invalid_value(f"{field}[{i}]", name, "must be UpperCamelCase segments with / between them")
    for i, (before, name) in enumerate(itertools.pairwise(names), 1):
        if before == name:
            yield causes.duplicate(f"{field}[{i}]", name)
        elif before > name:
            yield invalid_value(f"{field}[{i}]", name, "list must be sorted alphabetically")


def _addresses_causes(addresses: list[dict[str, Any]]) -> Iterator[Cause]:
    seen = set()
    for i, entry in enumerate(addresses):
        known = (entry.get("type", ""), entry.get("address", ""))
        if known in seen:
            yield causes.duplicate(f"status.addresses[{i}]", " ".join(known))
        seen.add(known)


def _update_causes(spec: dict[str, Any], old: dict[str, Any]) -> Iterator[Cause]:
    """What names a Node elsewhere stays once it was said."""
    if old.get("podCIDRs") and spec.get("podCIDRs") != old["podCIDRs"]:
        text = 'node updates may not change podCIDR except from "" to valid'
        yield forbidden("spec.podCIDRs", text)
    if old.get("providerID") and spec.get("providerID") != old["providerID"]:
        text = 'node updates may not change providerID except from "" to valid'
        yield forbidden("spec.providerID", text)
    if spec.get("externalID", "") != old.get("externalID", ""):
        yield forbidden("spec.externalID", "may not be updated")
