"""What single fields may hold, wherever their type stands: enums of the schema, and the rules of one table.

Each rule belongs to a field of a type ("HostAlias.ip"), not to a path, as in Kubernetes'
pkg/apis/core/validation, whose texts are used. What depends on other fields is a matter of service_rules,
pod_rules and so on. An empty word is an absent one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from . import quantity, syntax
from .causes import invalid_value, not_supported
from .errors import Cause
from .kinds import Kind
from .schema_tree import SchemaNode, schema_of
from .schema_walks import Walk, compile_walk

Rule = Callable[[Any], list[str]]
"""From a value to Kubernetes' texts about what is wrong with it, [] if nothing is."""
Leaf = Rule | frozenset[str]

_INT32_MAX = 2**31 - 1


def field_causes(kind: Kind, obj: dict[str, Any]) -> Iterator[Cause]:
    """Yield what is wrong with single fields of a structured and defaulted object."""
    walk = _walk(kind)
    if walk is None or _is_right(walk, obj):
        return
    for leaf, path, value in walk.places(obj):
        if isinstance(leaf, frozenset):
            if value and value not in leaf:
                yield not_supported(path, value, leaf - {""})
        else:
            for text in leaf(value):
                yield invalid_value(path, value, text)


def _is_right(walk: Walk[Leaf], value: Any) -> bool:
    """Whether there is nothing to say: most objects are right, and need no paths."""
    leaf = walk.leaf
    if leaf is not None:
        if isinstance(leaf, frozenset):
            return not value or value in leaf
        if leaf(value):
            return False
    if isinstance(value, dict):
        fields, inner = walk.fields, walk.values
        for key, element in value.items():
            branch = fields.get(key, inner)
            if branch is not None and not _is_right(branch, element):
                return False
    elif walk.items is not None and isinstance(value, list):
        return all(_is_right(walk.items, element) for element in value)
    return True


@functools.cache
def _walk(kind: Kind) -> Walk[Leaf] | None:
    return compile_walk(schema_of(kind), _leaf_of)


def _leaf_of(name: str, node: SchemaNode) -> Leaf | None:
    words = _ENUMS.get(name, node.enum)
    return frozenset(words) if words else _RULES.get(name)


def _between(low: int, high: int) -> Rule:
    text = f"must be between {low} and {high}, inclusive"
    return lambda number: [] if low <= number <= high else [text]


def _at_least(low: int) -> Rule:
    text = f"must be greater than or equal to {low}" if low != 1 else "must be greater than zero"
    return lambda number: [] if number >= low else [text]


def _optional(rule: Rule) -> Rule:
    """A rule for a field whose zero value (0, "") says the same as its absence."""
    return lambda value: rule(value) if value else []


def _port_or_name(value: int | str) -> list[str]:
    return syntax.port_errors(value) if isinstance(value, int) else syntax.port_name_errors(value)


def _environment_name(name: str) -> list[str]:
    if name and all(" " <= letter <= "~" and letter != "=" for letter in name):
        return []
    return [
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
    ]


def _header_name(name: str) -> list[str]:
    if re.fullmatch("[-A-Za-z0-9]+", name):
        return []
    return [
        "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', "
        "regex used for validation is '[-A-Za-z0-9]+')"
    ]


def _not_negative(text: str) -> list[str]:
    return [] if quantity.amount(text) >= Decimal(0) else ["must be greater than or equal to 0"]


def _cidr(text: str) -> list[str]:
    network = syntax.parse_network(text)
    return [] if network is not None else ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]


def _ingress_host(name: str) -> list[str]:
    if syntax.parse_address(name) is not None:
        return ["must be a DNS name, not an IP address"]
    return syntax.subdomain_errors(name)


_PORT = syntax.port_errors
_COUNT = _at_least(0)
_MODE = _between(0, 0o777)
_ID = _between(0, _INT32_MAX)
_LABEL = _optional(syntax.label_errors)
_SUBDOMAIN = _optional(syntax.subdomain_errors)
_KEY = _optional(syntax.key_errors)
_ADDRESS = _optional(syntax.address_errors)

_ENUMS: dict[str, tuple[str, ...]] = {
    # Of packages that the data of enums doesn't cover, or checked by Kubernetes beside their types.
    "LabelSelectorRequirement.operator": ("In", "NotIn", "Exists", "DoesNotExist"),
    "Condition.status": ("True", "False", "Unknown"),
    "Toleration.operator": ("Exists", "Equal", "Lt", "Gt"),
    "ServiceSpec.trafficDistribution": ("PreferClose", "PreferSameZone", "PreferSameNode"),
}

_RULES: dict[str, Rule] = {
    "ConfigMapVolumeSource.defaultMode": _MODE,
    "Container.name": _LABEL,
    "ContainerPort.containerPort": _PORT,
    "ContainerPort.hostPort": _optional(_PORT),
    "ContainerPort.name": _optional(syntax.port_name_errors),
    "DownwardAPIVolumeFile.mode": _MODE,
    "DownwardAPIVolumeSource.defaultMode": _MODE,
    "EmptyDirVolumeSource.sizeLimit": _not_negative,
    "EnvVar.name": _environment_name,
    "EphemeralContainer.name": _LABEL,
    "GRPCAction.port": _PORT,
    "HTTPGetAction.port": _port_or_name,
    "HTTPHeader.name": _header_name,
    "HostAlias.hostnames[]": syntax.subdomain_errors,
    "HostAlias.ip": syntax.address_errors,
    "HostIP.ip": _ADDRESS,
    "KeyToPath.mode": _MODE,
    "LabelSelectorRequirement.key": syntax.key_errors,
    "LoadBalancerIngress.hostname": _optional(_ingress_host),
    "LeaseSpec.leaseDurationSeconds": _at_least(1),
    "LeaseSpec.leaseTransitions": _COUNT,
    "LoadBalancerIngress.ip": _ADDRESS,
    "NodeSelectorRequirement.key": syntax.key_errors,
    "NodeSpec.podCIDRs[]": _cidr,
    "NodeStatus.allocatable[]": _not_negative,
    "NodeStatus.capacity[]": _not_negative,
    "NodeSwapStatus.capacity": _COUNT,
    "PodAffinityTerm.topologyKey": syntax.key_errors,
    "PodDNSConfig.nameservers[]": syntax.address_errors,
    "PodReadinessGate.conditionType": syntax.key_errors,
    "PodSchedulingGate.name": syntax.key_errors,
    "PodSecurityContext.fsGroup": _ID,
    "PodSecurityContext.runAsGroup": _ID,
    "PodSecurityContext.runAsUser": _ID,
    "PodSecurityContext.supplementalGroups[]": _ID,
    "PodSpec.activeDeadlineSeconds": _between(1, _INT32_MAX),
    "PodSpec.hostname": _LABEL,
    "PodSpec.hostnameOverride": _SUBDOMAIN,
    "PodSpec.nodeName": _SUBDOMAIN,
    "PodSpec.overhead[]": _not_negative,
    "PodSpec.priorityClassName": _SUBDOMAIN,
    "PodSpec.runtimeClassName": syntax.subdomain_errors,
    "PodSpec.serviceAccountName": _SUBDOMAIN,
    "PodSpec.subdomain": _LABEL,
    "PodSpec.terminationGracePeriodSeconds": _COUNT,
    "PodStatus.hostIP": _ADDRESS,
    "PodStatus.nominatedNodeName": _SUBDOMAIN,
    "PortStatus.port": _PORT,
    "PreferredSchedulingTerm.weight": _between(1, 100),
    "Probe.failureThreshold": _COUNT,
    "Probe.initialDelaySeconds": _COUNT,
    "Probe.periodSeconds": _COUNT,
    "Probe.successThreshold": _COUNT,
    "Probe.terminationGracePeriodSeconds": _at_least(1),
    "Probe.timeoutSeconds": _COUNT,
    "ProjectedVolumeSource.defaultMode": _MODE,
    "ResourceRequirements.limits[]": _not_negative,
    "ResourceRequirements.requests[]": _not_negative,
    "SecretVolumeSource.defaultMode": _MODE,
    "SecurityContext.runAsGroup": _ID,
    "SecurityContext.runAsUser": _ID,
    "ServiceAccountTokenProjection.expirationSeconds": _between(600, 2**32),
    "TCPSocketAction.port": _port_or_name,
    "Taint.key": syntax.key_errors,
    "Taint.value": syntax.label_value_errors,
    "Toleration.key": _KEY,
    "TopologySpreadConstraint.maxSkew": _at_least(1),
    "TopologySpreadConstraint.minDomains": _at_least(1),
    "TopologySpreadConstraint.topologyKey": syntax.key_errors,
    "Volume.name": syntax.label_errors,
    "WeightedPodAffinityTerm.weight": _between(1, 100),
}
