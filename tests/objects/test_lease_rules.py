"""What Leases may mean."""

from __future__ import annotations

from typing import Any

import pytest
from objects.samples import changed
from objects.test_other_rules import found

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import LEASE
from svcdns.objects.schema import structure

SAMPLE: dict[str, Any] = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "a.leader", "namespace": "default"},
    "spec": {
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    },
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec", ...),
        ("spec.holderIdentity", ""),  # who steps down gives it back so
        ("spec.strategy", "OldestEmulationVersion"),
        ("spec", {"strategy": "example.org/mine", "preferredHolder": "two"}),
    ],
)
def test_right_leases(path: str, value: Any) -> None:
    assert found(LEASE, changed(SAMPLE, path, value)) == []


@pytest.mark.parametrize(
    ("path", "value", "field", "reason"),
    [
        ("metadata.name", "A", "metadata.name", "Invalid"),
        ("spec.leaseDurationSeconds", 0, "spec.leaseDurationSeconds", "Invalid"),
        ("spec.leaseDurationSeconds", -1, "spec.leaseDurationSeconds", "Invalid"),
        ("spec.leaseTransitions", -1, "spec.leaseTransitions", "Invalid"),
        ("spec.strategy", "Mine", "spec.strategy", "NotSupported"),
        ("spec.strategy", "", "spec.strategy", "NotSupported"),
        ("spec.strategy", "example.org/a b", "spec.strategy", "Invalid"),
        ("spec.preferredHolder", "two", "spec.preferredHolder", "Forbidden"),
    ],
)
def test_wrong_leases(path: str, value: Any, field: str, reason: str) -> None:
    assert found(LEASE, changed(SAMPLE, path, value)) == [(field, reason)]


@pytest.mark.parametrize("time", ["2026-01-01T00:00:00Z", "now", 5])
def test_times_that_go_cannot_read_are_refused(time: Any) -> None:
    with pytest.raises(StatusError) as caught:
        structure(LEASE, changed(SAMPLE, "spec.renewTime", time))
    assert caught.value.code == 400 and "spec.renewTime" in caught.value.message
