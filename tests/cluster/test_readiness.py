"""Readiness of a Pod: who has the last word."""

from __future__ import annotations

from typing import Any

import pytest

from svcdns.cluster.readiness import addresses, is_ready


def pod(
    conditions: dict[str, str] | None = None, spec: dict[str, Any] | None = None, ready: str = ""
) -> dict[str, Any]:
    annotations = {"svcdns.io/ready": ready} if ready else {}
    listed = [{"type": kind, "status": status} for kind, status in (conditions or {}).items()]
    return {
        "metadata": {"name": "p", "namespace": "n", "annotations": annotations},
        "spec": spec or {},
        "status": {"podIP": "10.0.0.1", "conditions": listed},
    }


PROBED = {"containers": [{"name": "c", "readinessProbe": {"tcpSocket": {"port": 1}}}]}
GATED = {"readinessGates": [{"conditionType": "lb"}]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod(), True),
        (pod({"Ready": "True"}), True),
        (pod({"Ready": "False"}), False),
        (pod({"Ready": "Unknown"}), False),
        (pod(spec=PROBED), False),
        (pod({"Ready": "True"}, PROBED), True),
        (pod(spec=GATED), False),
        (pod({"lb": "True"}, GATED), True),
        (pod({"lb": "False"}, GATED), False),
        (pod({"Ready": "True"}, ready="false"), False),
        (pod({"Ready": "False"}, ready="true"), True),
    ],
)
def test_ready(given: dict[str, Any], expected: bool) -> None:
    assert is_ready(given) is expected


def test_addresses_come_from_pod_ips_and_else_from_pod_ip() -> None:
    both = {"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}}
    assert [str(a) for a in addresses(both)] == ["10.0.0.1", "fd00::1"]
    assert [str(a) for a in addresses({"status": {"podIP": "10.0.0.2"}})] == ["10.0.0.2"]
    assert addresses({}) == []
