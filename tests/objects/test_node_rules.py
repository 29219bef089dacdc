"""What Nodes may mean."""

from __future__ import annotations

from typing import Any

import pytest
from objects.samples import changed
from objects.test_other_rules import found

from svcdns.objects.defaults import default
from svcdns.objects.kinds import NODE

SAMPLE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "here.example.org", "labels": {"kubernetes.io/hostname": "here"}},
    "spec": {
        "podCIDRs": ["10.244.0.0/24", "fd00:244::/64"],
        "taints": [{"key": "example.org/a", "value": "b", "effect": "NoSchedule"}],
    },
    "status": {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
        "capacity": {"cpu": "4", "memory": "16Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec", ...),
        ("status", ...),
        ("spec.podCIDRs", ["10.244.0.7/24"]),
        ("spec.podCIDR", "10.244.0.0/24"),
        ("spec.unschedulable", True),
        ("spec.taints", [{"key": "a", "effect": "NoExecute"}, {"key": "a", "effect": "NoSchedule"}]),
        ("status.conditions.0.type", "ProblemOfSomeDetector"),
        ("status.addresses.0", {"type": "Anything", "address": "not checked"}),
        ("status.capacity", {"cpu": "1500m", "hugepages-2Mi": "0.5Gi", "example.org/gpu": "2"}),
        ("status.declaredFeatures", ["A", "Bc/d"]),
    ],
)
def test_right_nodes(path: str, value: Any) -> None:
    assert found(NODE, changed(SAMPLE, path, value)) == []


@pytest.mark.parametrize(
    ("path", "value", "field", "reason"),
    [
        ("metadata.name", "Here", "metadata.name", "Invalid"),
        ("metadata.namespace", "default", "metadata.namespace", "Forbidden"),
        ("spec.podCIDRs", ["10.244.0.0"], "spec.podCIDRs[0]", "Invalid"),
        ("spec.podCIDRs", ["10.244.0.0/33"], "spec.podCIDRs[0]", "Invalid"),
        ("spec.podCIDRs", ["10.244.0.0/255.255.255.0"], "spec.podCIDRs[0]", "Invalid"),
        ("spec.podCIDRs", ["10.244.0.0/24", "10.245.0.0/24"], "spec.podCIDRs", "Invalid"),
        ("spec.podCIDR", "10.244.0.0/a", "spec.podCIDRs[0]", "Invalid"),
        ("spec.taints.0.key", "a b", "spec.taints[0].key", "Invalid"),
        ("spec.taints.0.value", "a b", "spec.taints[0].value", "Invalid"),
        ("spec.taints.0.effect", "Never", "spec.taints[0].effect", "NotSupported"),
        ("spec.taints.0.effect", "", "spec.taints[0].effect", "Required"),
        ("spec.taints", [{"key": "a", "effect": "NoExecute"}] * 2, "spec.taints[1]", "Duplicate"),
        ("status.conditions.0.status", "Yes", "status.conditions[0].status", "NotSupported"),
        ("status.capacity", {"cpu": "-1"}, "status.capacity.cpu", "Invalid"),
        ("status.capacity", {"pods": "1500m"}, "status.capacity.pods", "Invalid"),
        ("status.allocatable", {"example.org/gpu": "0.5"}, "status.allocatable[example.org/gpu]", "Invalid"),
        ("status.addresses", [{"type": "Hostname", "address": "a"}] * 2, "status.addresses[1]", "Duplicate"),
        ("status.declaredFeatures", ["a"], "status.declaredFeatures[0]", "Invalid"),
        ("status.declaredFeatures", ["B", "A"], "status.declaredFeatures[1]", "Invalid"),
        ("status.declaredFeatures", ["A", "A"], "status.declaredFeatures[1]", "Duplicate"),
    ],
)
def test_wrong_nodes(path: str, value: Any, field: str, reason: str) -> None:
    assert (field, reason) in found(NODE, changed(SAMPLE, path, value))


@pytest.mark.parametrize(
    ("path", "before", "after", "field"),
    [
        ("spec.podCIDRs", ["10.244.0.0/24"], ["10.245.0.0/24"], "spec.podCIDRs"),
        ("spec.podCIDRs", ["10.244.0.0/24"], ..., "spec.podCIDRs"),
        ("spec.providerID", "a", "b", "spec.providerID"),
        ("spec.externalID", "a", "b", "spec.externalID"),
    ],
)
def test_what_names_a_node_stays(path: str, before: Any, after: Any, field: str) -> None:
    old, new = changed(SAMPLE, path, before), changed(SAMPLE, path, after)
    assert found(NODE, new, old) == [(field, "Forbidden")]


def test_it_can_be_said_later() -> None:
    assert found(NODE, SAMPLE, changed(SAMPLE, "spec.podCIDRs", ...)) == []
    assert found(NODE, changed(SAMPLE, "spec.providerID", "a"), SAMPLE) == []


def test_defaults() -> None:
    made = default(NODE, changed(SAMPLE, "spec", {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.2.0.0/24"]}))
    assert made["spec"] == {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"]}, "podCIDR counts"
    assert made["status"]["allocatable"] == made["status"]["capacity"]
    assert made["status"]["nodeInfo"]["kubeletVersion"] == ""
    assert made["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 0}}
    assert default(NODE, made) == made
    removed = {"configMap": {"name": "a"}}
    assert "configSource" not in default(NODE, changed(SAMPLE, "spec.configSource", removed))["spec"]
