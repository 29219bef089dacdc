"""What Pods, EndpointSlices, Namespaces and everybody's metadata may mean."""

from __future__ import annotations

from typing import Any

import pytest
from objects.samples import NAMESPACE, POD, SERVICE, SLICE, changed

from svcdns.objects import kinds
from svcdns.objects.defaults import default
from svcdns.objects.kinds import Kind
from svcdns.objects.validation import validate


def found(kind: Kind, obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    """Return (field, reason without FieldValue) of every cause."""
    before = None if old is None else default(kind, old)
    causes = validate(kind, default(kind, obj, before), before)
    return [(cause.field, cause.reason.removeprefix("FieldValue")) for cause in causes]


def ips(*addresses: str) -> list[dict[str, str]]:
    return [{"ip": address} for address in addresses]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec", ...),
        ("spec", {}),
        ("status", ...),
        ("spec.containers", ...),
        ("spec.containers", []),
        ("status.podIP", "127.0.0.1"),
        ("status.podIP", "::1"),
        ("status.podIPs", ips("10.1.0.1", "fd00::1")),
        ("status.conditions", []),
        ("spec.readinessGates", [{"conditionType": "svcdns.io/probe"}]),
        ("metadata.name", "a.b.c"),
    ],
)
def test_right_pods(path: str, value: Any) -> None:
    assert found(kinds.POD, changed(POD, path, value)) == []


@pytest.mark.parametrize(
    ("path", "value", "field", "reason"),
    [
        ("status.podIP", "10.1.0.256", "status.podIPs[0].ip", "Invalid"),
        ("status.podIP", "localhost", "status.podIPs[0].ip", "Invalid"),
        ("status.podIP", "0.0.0.0", "status.podIPs[0].ip", "Invalid"),
        ("status.podIP", "ff02::1", "status.podIPs[0].ip", "Invalid"),
        ("status.podIPs", ips("10.1.0.2"), "status.podIP", "Invalid"),
        ("status.podIPs", ips("10.1.0.1", "10.1.0.2"), "status.podIPs", "Invalid"),
        ("status.podIPs", [{}, {"ip": "10.1.0.1"}], "status.podIPs[0].ip", "Required"),
        ("status.phase", "Ready", "status.phase", "NotSupported"),
        ("status.conditions.0.status", "true", "status.conditions[0].status", "NotSupported"),
        ("status.conditions.0.status", ..., "status.conditions[0].status", "Required"),
        ("status.conditions.0.type", "", "status.conditions[0].type", "Required"),
        (
            "status.conditions",
            [{"type": "A", "status": "True"}] * 2,
            "status.conditions[1].type",
            "Duplicate",
        ),
        ("spec.hostname", "a.b", "spec.hostname", "Invalid"),
        ("spec.subdomain", "A", "spec.subdomain", "Invalid"),
        ("spec.restartPolicy", "Sometimes", "spec.restartPolicy", "NotSupported"),
        ("spec.terminationGracePeriodSeconds", -1, "spec.terminationGracePeriodSeconds", "Invalid"),
        (
            "spec.readinessGates",
            [{"conditionType": "a b"}],
            "spec.readinessGates[0].conditionType",
            "Invalid",
        ),
        ("spec.readinessGates", [{}], "spec.readinessGates[0].conditionType", "Required"),
        ("spec.containers.0.name", ..., "spec.containers[0].name", "Required"),
        ("spec.containers.0.name", "A", "spec.containers[0].name", "Invalid"),
        ("spec.containers", [{"name": "a"}] * 2, "spec.containers[1].name", "Duplicate"),
        ("spec.containers.0.ports.0.name", "Http", "spec.containers[0].ports[0].name", "Invalid"),
        (
            "spec.containers.0.ports.0.containerPort",
            0,
            "spec.containers[0].ports[0].containerPort",
            "Invalid",
        ),
        (
            "spec.containers.0.ports.0.containerPort",
            ...,
            "spec.containers[0].ports[0].containerPort",
            "Required",
        ),
        ("spec.containers.0.ports.0.protocol", "X", "spec.containers[0].ports[0].protocol", "NotSupported"),
        (
            "spec.containers.0.ports",
            [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}],
            "spec.containers[0].ports[1].name",
            "Duplicate",
        ),
    ],
)
def test_wrong_pods(path: str, value: Any, field: str, reason: str) -> None:
    assert (field, reason) in found(kinds.POD, changed(POD, path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("endpoints", ...),
        ("ports", ...),
        ("endpoints.0.addresses", ["127.0.0.1"]),
        ("endpoints.0.hostname", ...),
        ("ports.0.port", ...),
        ("metadata.labels", {}),
    ],
)
def test_right_slices(path: str, value: Any) -> None:
    assert found(kinds.ENDPOINTSLICE, changed(SLICE, path, value)) == []


@pytest.mark.parametrize(
    ("path", "value", "field", "reason"),
    [
        ("addressType", ..., "addressType", "Required"),
        ("addressType", "", "addressType", "Required"),
        ("addressType", "ipv4", "addressType", "NotSupported"),
        ("addressType", "IPv6", "endpoints[0].addresses[0]", "Invalid"),
        ("endpoints.0.addresses", ..., "endpoints[0].addresses", "Required"),
        ("endpoints.0.addresses", [], "endpoints[0].addresses", "Required"),
        ("endpoints.0.addresses", ["10.0.0.1", "x"], "endpoints[0].addresses[1]", "Invalid"),
        ("endpoints.0.addresses", ["224.0.0.1"], "endpoints[0].addresses[0]", "Invalid"),
        ("endpoints.0.addresses", ["10.0.0.1"] * 101, "endpoints[0].addresses", "TooMany"),
        ("endpoints", [{"addresses": ["10.0.0.1"]}] * 1001, "endpoints", "TooMany"),
        ("endpoints.0.hostname", "a.b", "endpoints[0].hostname", "Invalid"),
        ("endpoints.0.nodeName", "A", "endpoints[0].nodeName", "Invalid"),
        ("ports", [{"port": 1}, {"port": 2}], "ports[1].name", "Duplicate"),
        ("ports.0.name", "Http", "ports[0].name", "Invalid"),
        ("ports.0.port", 70000, "ports[0].port", "Invalid"),
        ("ports.0.protocol", "X", "ports[0].protocol", "NotSupported"),
        (
            "metadata.labels",
            {"kubernetes.io/service-name": "a.b"},
            "metadata.labels[kubernetes.io/service-name]",
            "Invalid",
        ),
    ],
)
def test_wrong_slices(path: str, value: Any, field: str, reason: str) -> None:
    assert (field, reason) in found(kinds.ENDPOINTSLICE, changed(SLICE, path, value))


@pytest.mark.parametrize(("ports", "expected"), [(100, []), (101, [("ports", "Invalid")])])
def test_a_slice_has_a_bounded_number_of_records(ports: int, expected: list[tuple[str, str]]) -> None:
    endpoints = [{"addresses": [f"10.1.{n // 250}.{n % 250 + 1}"]} for n in range(1000)]
    many = changed(SLICE, "endpoints", endpoints)
    named = [{"name": f"p{number}", "port": number} for number in range(1, ports + 1)]
    assert found(kinds.ENDPOINTSLICE, changed(many, "ports", named)) == expected


def test_slices_of_names() -> None:
    named = changed(SLICE, "addressType", "FQDN")
    assert found(kinds.ENDPOINTSLICE, changed(named, "endpoints.0.addresses", ["a.example"])) == []
    assert found(kinds.ENDPOINTSLICE, changed(named, "endpoints.0.addresses", ["example"])) == [
        ("endpoints[0].addresses[0]", "Invalid")
    ]


def test_address_type_is_immutable() -> None:
    after = changed(changed(SLICE, "addressType", "IPv6"), "endpoints", [])
    assert found(kinds.ENDPOINTSLICE, after, SLICE) == [("addressType", "Invalid")]


@pytest.mark.parametrize("name", ["a.b", "A", "a" * 64, "-a"])
def test_namespace_names_are_labels(name: str) -> None:
    fields = {field for field, _ in found(kinds.NAMESPACE, changed(NAMESPACE, "metadata.name", name))}
    assert "metadata.name" in fields


def test_a_namespace_has_no_namespace() -> None:
    obj = changed(NAMESPACE, "metadata.namespace", "x")
    assert found(kinds.NAMESPACE, obj) == [("metadata.namespace", "Forbidden")]


@pytest.mark.parametrize(
    ("path", "value", "field", "reason"),
    [
        ("metadata", ..., "metadata.name", "Required"),
        ("metadata.name", "", "metadata.name", "Required"),
        ("metadata.name", "a" * 254, "metadata.name", "Invalid"),
        ("metadata.generateName", "A_", "metadata.generateName", "Invalid"),
        ("metadata.namespace", "", "metadata.namespace", "Required"),
        ("metadata.namespace", "A", "metadata.namespace", "Invalid"),
        ("metadata.labels", {"a b": ""}, "metadata.labels", "Invalid"),
        ("metadata.labels", {"a": "b c"}, "metadata.labels[a]", "Invalid"),
        ("metadata.annotations", {"a/b/c": ""}, "metadata.annotations", "Invalid"),
        ("metadata.annotations", {"a": "x" * 262144}, "metadata.annotations", "TooLong"),
        ("metadata.annotations", {"a": "é" * 131072}, "metadata.annotations", "TooLong"),
        ("metadata.finalizers", ["ok", "no no"], "metadata.finalizers[1]", "Invalid"),
    ],
)
def test_wrong_metadata(path: str, value: Any, field: str, reason: str) -> None:
    assert (field, reason) in found(kinds.POD, changed(POD, path, value))


def test_annotations_may_hold_256_kib() -> None:
    assert found(kinds.POD, changed(POD, "metadata.annotations", {"a": "x" * 262143})) == []


def test_generate_name_stands_for_a_name() -> None:
    obj = changed(changed(SERVICE, "metadata.name", ...), "metadata.generateName", "web-")
    assert found(kinds.SERVICE, obj) == []
