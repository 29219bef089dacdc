"""Single fields are read and checked as Kubernetes does, wherever their type stands in our kinds."""

from __future__ import annotations

from typing import Any

import pytest
from objects.samples import POD, SERVICE, changed

from svcdns.objects import kinds, openapi
from svcdns.objects.defaults import default
from svcdns.objects.errors import StatusError
from svcdns.objects.field_rules import _ENUMS, _RULES, field_causes
from svcdns.objects.kinds import Kind
from svcdns.objects.schema import structure
from svcdns.objects.validation import validate

CONTAINER = "spec.containers.0"


def found(kind: Kind, obj: dict[str, Any]) -> list[tuple[str, str]]:
    body, _ = structure(kind, obj)
    return [(c.field, c.reason.removeprefix("FieldValue")) for c in validate(kind, default(kind, body))]


def container(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "a", **fields}]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"containers": container(resources={"requests": {"cpu": "abc"}})},
         'spec.containers[0].resources.requests.cpu: "abc" quantities must match the regular expression'),
        ({"containers": container(resources={"limits": {"cpu": ""}})}, "quantities must match"),
        ({"overhead": {"cpu": "1.5 Gi"}}, 'spec.overhead.cpu: "1.5 Gi" quantities must match'),
        ({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "x"}}]}, "spec.volumes[0].emptyDir.sizeLimit"),
        ({"ephemeralContainers": [{"name": "d", "resources": {"limits": {"cpu": "1K"}}}]}, "suffix"),
    ],
)  # fmt: skip
def test_unreadable_quantities_are_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(StatusError) as caught:
        structure(kinds.POD, {**POD, "spec": {"containers": container(), **spec}})
    assert caught.value.code == 400
    assert message in caught.value.message


@pytest.mark.parametrize("time", ["2026-01-01t00:00:00z", "2026-06-30T23:59:60Z", "yesterday", "2026-01-01"])
def test_unreadable_times_are_refused(time: str) -> None:
    with pytest.raises(StatusError) as caught:
        structure(kinds.POD, changed(POD, "status.startTime", time))
    assert caught.value.code == 400
    assert "status.startTime" in caught.value.message


def test_what_is_read_is_written_as_kubernetes_does() -> None:
    resources = {"limits": {"cpu": 0.5, "memory": "1.5Gi"}, "requests": {"cpu": None}}
    pod = changed(POD, "spec.containers", container(resources=resources))
    body, _ = structure(kinds.POD, changed(pod, "status.startTime", "2026-01-01T01:00:00.5+01:00"))
    assert body["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "500m", "memory": "1536Mi"},
        "requests": {"cpu": "0"},
    }
    assert body["status"]["startTime"] == "2026-01-01T00:00:00Z"
    assert structure(kinds.POD, body)[0] is body, "what is right is not copied"


def test_the_zero_time_is_none() -> None:
    body, _ = structure(kinds.POD, changed(POD, "status.startTime", "0001-01-01T00:00:00Z"))
    assert "startTime" not in body["status"]


@pytest.mark.parametrize(
    ("path", "value", "field", "reason"),
    [
        (f"{CONTAINER}.imagePullPolicy", "Sometimes", "spec.containers[0].imagePullPolicy", "NotSupported"),
        (f"{CONTAINER}.ports.0.hostPort", 70000, "spec.containers[0].ports[0].hostPort", "Invalid"),
        (f"{CONTAINER}.env", [{"name": "a=b"}], "spec.containers[0].env[0].name", "Invalid"),
        (f"{CONTAINER}.livenessProbe", {"httpGet": {"port": 0}},
         "spec.containers[0].livenessProbe.httpGet.port", "Invalid"),
        (f"{CONTAINER}.livenessProbe", {"grpc": {"port": 99999}},
         "spec.containers[0].livenessProbe.grpc.port", "Invalid"),
        (f"{CONTAINER}.lifecycle", {"preStop": {"tcpSocket": {"port": "A"}}},
         "spec.containers[0].lifecycle.preStop.tcpSocket.port", "Invalid"),
        (f"{CONTAINER}.resources", {"limits": {"cpu": "-1"}}, "spec.containers[0].resources.limits.cpu",
         "Invalid"),
        ("spec.hostAliases", [{"ip": "1.2.3", "hostnames": ["a"]}], "spec.hostAliases[0].ip", "Invalid"),
        ("spec.hostAliases", [{"ip": "1.2.3.4", "hostnames": ["A"]}], "spec.hostAliases[0].hostnames[0]",
         "Invalid"),
        ("spec.dnsConfig", {"nameservers": ["x"]}, "spec.dnsConfig.nameservers[0]", "Invalid"),
        ("spec.os", {"name": "plan9"}, "spec.os.name", "NotSupported"),
        ("spec.volumes", [{"name": "v", "secret": {"secretName": "s", "defaultMode": 0o1000}}],
         "spec.volumes[0].secret.defaultMode", "Invalid"),
        ("spec.tolerations", [{"operator": "Some"}], "spec.tolerations[0].operator", "NotSupported"),
        ("status.hostIP", "1.2.3.4/24", "status.hostIP", "Invalid"),
        ("status.hostIPs", [{"ip": "01.2.3.4"}], "status.hostIPs[0].ip", "Invalid"),
    ],
)  # fmt: skip
def test_fields_of_pods(path: str, value: Any, field: str, reason: str) -> None:
    assert (field, reason) in found(kinds.POD, changed(POD, path, value))


@pytest.mark.parametrize("address", ["192.0.2.300", "1.2.3", "01.2.3.4", "1.2.3.4/24", "x", "::ffff:1.2.3.4"])
def test_addresses_of_load_balancers(address: str) -> None:
    service = changed(changed(SERVICE, "spec.type", "LoadBalancer"), "status", balanced(ip=address))
    assert ("status.loadBalancer.ingress[0].ip", "Invalid") in found(kinds.SERVICE, service)


@pytest.mark.parametrize(
    ("ingress", "field", "reason"),
    [
        ({"ip": "192.0.2.1", "ipMode": "Foo"}, "ipMode", "NotSupported"),
        ({"hostname": "a.example", "ipMode": "VIP"}, "ipMode", "Forbidden"),
        ({"hostname": "A b"}, "hostname", "Invalid"),
        ({"hostname": "192.0.2.1"}, "hostname", "Invalid"),
        ({"ip": "192.0.2.1", "ports": [{"port": 0, "protocol": "TCP"}]}, "ports[0].port", "Invalid"),
    ],
)
def test_status_of_load_balancers(ingress: dict[str, Any], field: str, reason: str) -> None:
    service = changed(changed(SERVICE, "spec.type", "LoadBalancer"), "status", balanced(**ingress))
    assert (f"status.loadBalancer.ingress[0].{field}", reason) in found(kinds.SERVICE, service)


def test_only_load_balancers_have_ingress() -> None:
    service = changed(SERVICE, "status", balanced(ip="192.0.2.1"))
    assert ("status.loadBalancer.ingress", "Forbidden") in found(kinds.SERVICE, service)


def balanced(**ingress: Any) -> dict[str, Any]:
    return {"loadBalancer": {"ingress": [ingress]}}


def test_each_rule_belongs_to_a_field_of_the_schema() -> None:
    fields = {
        f"{component.rpartition('.')[2]}.{field}"
        for component, schema in openapi.schemas().items()
        for field in schema.get("properties", {})
    }
    assert {name.removesuffix("[]") for name in (*_RULES, *_ENUMS)} <= fields


def test_right_objects_have_no_causes() -> None:
    assert list(field_causes(kinds.POD, default(kinds.POD, POD))) == []
    assert list(field_causes(kinds.SERVICE, default(kinds.SERVICE, SERVICE))) == []
