"""What Endpoints may mean: Kubernetes' rules, and bounds of our own."""

from __future__ import annotations

from typing import Any

import pytest

from svcdns.objects.defaults import default
from svcdns.objects.kinds import ENDPOINTS
from svcdns.objects.schema import structure
from svcdns.objects.validation import validate

Object = dict[str, Any]


def of(*subsets: Object) -> Object:
    body = {"metadata": {"name": "web", "namespace": "default"}, "subsets": list(subsets)}
    cleaned, _ = structure(ENDPOINTS, body, "Strict", fill_kind=True)
    return default(ENDPOINTS, cleaned)


def found(obj: Object, old: Object | None = None) -> list[tuple[str, str]]:
    return [(cause.field, cause.reason.removeprefix("FieldValue")) for cause in validate(ENDPOINTS, obj, old)]


def addresses(*given: Object) -> Object:
    return {"addresses": list(given)}


def ports(*given: Object) -> Object:
    return {"addresses": [{"ip": "192.0.2.1"}], "ports": list(given)}


A, B = {"name": "a", "port": 1}, {"name": "b", "port": 2}


@pytest.mark.parametrize(
    "subsets",
    [
        [],
        [addresses({"ip": "192.0.2.1"})],
        [{"notReadyAddresses": [{"ip": "2001:DB8::1", "hostname": "a", "nodeName": "n.example"}]}],
        [addresses({"ip": "127.0.0.1"}), addresses({"ip": "169.254.1.1"})],
        [addresses({"ip": "192.0.2.1", "hostname": "", "targetRef": {"kind": "Pod", "name": "x"}})],
        [ports({"port": 1})],
        [ports(A, B)],
        [ports(A, {**A, "protocol": "UDP", "appProtocol": "example.com/x"})],
        [ports(A), ports(A)],
    ],
)
def test_right_ones(subsets: list[Object]) -> None:
    assert found(of(*subsets)) == []


@pytest.mark.parametrize(
    ("subset", "field", "reason"),
    [
        ({}, "subsets[0]", "Required"),
        ({"addresses": [], "ports": [A]}, "subsets[0]", "Required"),
        (addresses({"ip": "x"}), "subsets[0].addresses[0].ip", "Invalid"),
        (addresses({"ip": ""}), "subsets[0].addresses[0].ip", "Invalid"),
        (addresses({"ip": "192.0.2.1"}, {}), "subsets[0].addresses[1].ip", "Required"),
        (addresses({"ip": "192.0.2.01"}), "subsets[0].addresses[0].ip", "Invalid"),
        (addresses({"ip": "::ffff:192.0.2.1"}), "subsets[0].addresses[0].ip", "Invalid"),
        (addresses({"ip": "0.0.0.0"}), "subsets[0].addresses[0].ip", "Invalid"),
        ({"notReadyAddresses": [{"ip": "ff02::1"}]}, "subsets[0].notReadyAddresses[0].ip", "Invalid"),
        (addresses({"ip": "192.0.2.1", "hostname": "a.b"}), "subsets[0].addresses[0].hostname", "Invalid"),
        (addresses({"ip": "192.0.2.1", "nodeName": "A"}), "subsets[0].addresses[0].nodeName", "Invalid"),
        (ports({"port": 0}), "subsets[0].ports[0].port", "Invalid"),
        (ports({"port": 65536}), "subsets[0].ports[0].port", "Invalid"),
        (ports({"name": "a"}), "subsets[0].ports[0].port", "Required"),
        (ports(A, {"port": 2}), "subsets[0].ports[1].name", "Required"),
        (ports({"name": "A", "port": 2}), "subsets[0].ports[0].name", "Invalid"),
        (ports({"port": 2, "protocol": "tcp"}), "subsets[0].ports[0].protocol", "NotSupported"),
        (ports({"port": 2, "appProtocol": "a b"}), "subsets[0].ports[0].appProtocol", "Invalid"),
    ],
)
def test_wrong_ones(subset: Object, field: str, reason: str) -> None:
    assert (field, reason) in found(of(subset))


def test_bounds() -> None:
    many = {"addresses": [{"ip": "192.0.2.1"}] * 1001, "ports": [{"name": "a", "port": 1}] * 100}
    assert found(of(*[addresses({"ip": "192.0.2.1"})] * 1001)) == [("subsets", "TooMany")]
    assert found(of(addresses(*[{"ip": "192.0.2.1"}] * 10_001))) == [("subsets", "Invalid")]
    assert found(of(many)) == [("subsets", "Invalid")]


def test_what_stands_as_it_stood_is_not_looked_at_again() -> None:
    """As in Kubernetes: a label can be changed on Endpoints that older rules took."""
    old = of(addresses({"ip": "x"}))
    assert found({**old, "metadata": {**old["metadata"], "labels": {"a": "b"}}}, old) == []
    assert found(of(addresses({"ip": "y"})), old) == [("subsets[0].addresses[0].ip", "Invalid")]
