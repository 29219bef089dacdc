"""Defaults of Pods and Services beside those of a kube-apiserver."""

from __future__ import annotations

from typing import Any

import pytest
from objects.samples import NAMESPACE, POD, SERVICE, SLICE, changed

from svcdns.objects import kinds, openapi
from svcdns.objects.defaults import default
from svcdns.objects.kinds import Kind
from svcdns.objects.type_defaults import _WHERE_ABSENT, _WHERE_EMPTY

CONTAINER = {
    "name": "a",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "imagePullPolicy": "IfNotPresent",
}
PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def spec_of(**spec: Any) -> dict[str, Any]:
    made: dict[str, Any] = default(kinds.POD, {"metadata": {"name": "a"}, "spec": spec})["spec"]
    return made


def first(**fields: Any) -> dict[str, Any]:
    """A container with its defaults."""
    made: dict[str, Any] = spec_of(containers=[{"name": "a", **fields}])["containers"][0]
    return made


def volume(**source: Any) -> dict[str, Any]:
    made: dict[str, Any] = spec_of(volumes=[{"name": "v", **source}])["volumes"][0]
    return made


def test_pod_spec() -> None:
    tolerated = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    assert spec_of(containers=[{"name": "a"}]) == {
        "containers": [CONTAINER],
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "enableServiceLinks": True,
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
        "tolerations": [
            {"key": "node.kubernetes.io/not-ready", **tolerated},
            {"key": "node.kubernetes.io/unreachable", **tolerated},
        ],
    }


def test_what_is_given_stays() -> None:
    given = {
        "terminationGracePeriodSeconds": 0,
        "enableServiceLinks": False,
        "tolerations": [{"operator": "Exists"}],
        "securityContext": {"runAsUser": 1},
    }
    assert {key: spec_of(**given)[key] for key in given} == given


@pytest.mark.parametrize("containers", [..., []])
def test_a_pod_without_containers_is_shown_with_one(containers: Any) -> None:
    made = default(kinds.POD, changed(POD, "spec.containers", containers))
    assert made["spec"]["containers"] == [{**CONTAINER, "name": "registered", "image": ""}]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("web", "Always"),
        ("web:latest", "Always"),
        ("registry.example:5000/web", "Always"),
        ("registry.example:5000/web:1", "IfNotPresent"),
        ("web:1.2", "IfNotPresent"),
        ("web@sha256:0123", "IfNotPresent"),
        ("web:latest@sha256:0123", "Always"),
        ("", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    assert first(image=image)["imagePullPolicy"] == policy


def test_probes() -> None:
    assert first(livenessProbe={"grpc": {"port": 1}})["livenessProbe"] == {
        "grpc": {"port": 1, "service": ""},
        **PROBE,
    }
    assert first(readinessProbe={"httpGet": {"port": 1}, "periodSeconds": 0})["readinessProbe"] == {
        "httpGet": {"port": 1, "path": "/", "scheme": "HTTP"},
        **PROBE,
    }


@pytest.mark.parametrize(
    ("source", "filled"),
    [
        ({}, {"emptyDir": {}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 420}}),
        ({"configMap": {"defaultMode": 0}}, {"configMap": {"defaultMode": 0}}),
        ({"hostPath": {"path": "/"}}, {"hostPath": {"path": "/", "type": ""}}),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {"projected": {"defaultMode": 420,
                           "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}},
        ),
        (
            {"downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"downwardAPI": {"defaultMode": 420, "items": [
                {"path": "a", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}]}},
        ),
        (
            {"image": {"reference": "a"}}, {"image": {"reference": "a", "pullPolicy": "Always"}},
        ),
    ],
)  # fmt: skip
def test_volumes(source: dict[str, Any], filled: dict[str, Any]) -> None:
    assert volume(**source) == {"name": "v", **filled}


def test_requests_follow_limits() -> None:
    made = first(resources={"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})
    assert made["resources"]["requests"] == {"cpu": "500m", "memory": "1Gi"}


def test_ports_of_the_hosts_network() -> None:
    made = spec_of(hostNetwork=True, containers=[{"name": "a", "ports": [{"containerPort": 80}]}])
    assert made["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]
    assert first(ports=[{"containerPort": 80}])["ports"] == [{"containerPort": 80, "protocol": "TCP"}]


def test_both_names_of_a_service_account() -> None:
    made = spec_of(serviceAccount="web")
    assert (made["serviceAccount"], made["serviceAccountName"]) == ("web", "web")


LIMITS = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"limits": {"example.com/gpu": "1"}}, "BestEffort"),
        ({"limits": {"cpu": "0"}}, "BestEffort"),
        ({"limits": LIMITS}, "Guaranteed"),
        ({"limits": LIMITS, "requests": {"cpu": "1000m"}}, "Guaranteed"),
        ({"limits": LIMITS, "requests": {"cpu": "500m"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"requests": LIMITS}, "Burstable"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], quality: str) -> None:
    pod = changed(POD, "spec.containers", [{"name": "a", "resources": resources}])
    assert default(kinds.POD, pod)["status"]["qosClass"] == quality


def test_status_has_what_the_schema_requires() -> None:
    pod = changed(POD, "status", {"containerStatuses": [{"name": "a", "state": {"terminated": {}}}]})
    assert default(kinds.POD, pod)["status"]["containerStatuses"] == [
        {
            "name": "a",
            "ready": False,
            "restartCount": 0,
            "image": "",
            "imageID": "",
            "state": {"terminated": {"exitCode": 0}},
        }
    ]
    condition = {"type": "A", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    service = changed(SERVICE, "status", {"conditions": [condition]})
    assert default(kinds.SERVICE, service)["status"]["conditions"] == [
        {**condition, "reason": "", "message": ""}
    ]


def test_ingress_has_a_mode() -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "a.example"}]}}
    service = changed(changed(SERVICE, "spec.type", "LoadBalancer"), "status", status)
    ingress = default(kinds.SERVICE, service)["status"]["loadBalancer"]["ingress"]
    assert ingress == [{"ip": "192.0.2.1", "ipMode": "VIP"}, {"hostname": "a.example"}]


def test_each_default_belongs_to_a_field_of_the_schema() -> None:
    fields = {
        f"{component.rpartition('.')[2]}.{field}"
        for component, schema in openapi.schemas().items()
        for field in schema.get("properties", {})
    }
    assert {*_WHERE_ABSENT, *_WHERE_EMPTY} <= fields


@pytest.mark.parametrize(
    ("kind", "obj"),
    [(kinds.POD, POD), (kinds.SERVICE, SERVICE), (kinds.ENDPOINTSLICE, SLICE), (kinds.NAMESPACE, NAMESPACE)],
)
def test_defaults_are_filled_in_once(kind: Kind, obj: dict[str, Any]) -> None:
    once = default(kind, obj)
    assert default(kind, once) == once
