"""Golden tables: what `kubectl get` shows has Kubernetes' own columns and words.

The heads are those of pkg/printers/internalversion/printers.go in Kubernetes 1.37.
"""

import json
from typing import Any

import pytest
from toolbox.builders import pod
from toolbox.running_kubectl import Kubectl, service, tables
from toolbox.running_server import RunningServer

SERVICE = ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"]
POD = [
    "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES",
]  # fmt: skip
ENDPOINTSLICE = ["NAME", "ADDRESSTYPE", "PORTS", "ENDPOINTS", "AGE"]
ENDPOINTS = ["NAME", "ENDPOINTS", "AGE"]
NAMESPACE = ["NAME", "STATUS", "AGE"]
NARROW = {"services": SERVICE[:6], "pods": POD[:5]}


def test_all_kinds_of_all_namespaces(kubectl: Kubectl, web: dict[str, Any]) -> None:
    """The golden tables; only the rows of this test's namespace are looked at."""
    told = tables(kubectl("get", "svc,pods,endpointslices,endpoints,ns", "-A", "-o", "wide"))
    assert [part[0] for part in told] == [
        ["NAMESPACE", *head] for head in (SERVICE, POD, ENDPOINTSLICE, ENDPOINTS, NAMESPACE)
    ]
    ours = [[row for row in part[1:] if kubectl.namespace in row[0] + row[1]] for part in told]
    space, address = kubectl.namespace, web["spec"]["clusterIP"]
    assert ours[0] == [
        [space, "service/web", "ClusterIP", address, "<none>", "80/TCP", "AGE", "app=web"],
    ]
    assert ours[1] == [
        [space, f"pod/web-{n}", "1/1", "Running", "0", "AGE", f"10.1.0.{n}", *["<none>"] * 3] for n in (1, 2)
    ]
    (slice_row,) = ours[2]
    assert slice_row[1].startswith("endpointslice.discovery.k8s.io/web-")
    assert slice_row[2:] == ["IPv4", "8080", "10.1.0.1,10.1.0.2", "AGE"]
    assert ours[3] == [[space, "endpoints/web", "10.1.0.1:8080,10.1.0.2:8080", "AGE"]]
    assert ours[4] == [["", f"namespace/{space}", "Active", "AGE"]]


@pytest.mark.parametrize("plural", NARROW)
def test_without_wide(kubectl: Kubectl, web: object, plural: str) -> None:
    assert kubectl.table("get", plural)[0] == NARROW[plural]


def test_get_all(kubectl: Kubectl, web: dict[str, Any]) -> None:
    pods, services = tables(kubectl("get", "all"))
    assert [row[0] for row in pods] == ["NAME", "pod/web-1", "pod/web-2"]
    assert [row[0] for row in services] == ["NAME", "service/web"]


def test_every_type_of_service(kubectl: Kubectl) -> None:
    two = [{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}]
    kubectl.apply(
        service("headless", clusterIP="None", ports=two),
        service("node", type="NodePort", ports=[{"port": 80, "nodePort": 31999}]),
        service("balanced", type="LoadBalancer", ports=[{"port": 80, "nodePort": 31998}]),
        service("outside", type="ExternalName", externalName="www.example.org", ports=[]),
    )
    fixed = service("fixed", clusterIP="10.96.0.251", externalIPs=["192.0.2.1", "192.0.2.2"])
    _, warned = kubectl.warned("apply", "-f", "-", stdin=json.dumps(fixed))
    assert warned == "Warning: spec.externalIPs is deprecated\n"
    rows = {row[0]: row[1:5] for row in kubectl.table("get", "svc")[1:]}
    address = kubectl("get", "svc", "node", "-o", "jsonpath={.spec.clusterIP}")
    balanced = kubectl("get", "svc", "balanced", "-o", "jsonpath={.spec.clusterIP}")
    assert rows == {
        "headless": ["ClusterIP", "None", "<none>", "80/TCP,53/UDP"],
        "node": ["NodePort", address, "<none>", "80:31999/TCP"],
        "balanced": ["LoadBalancer", balanced, "<pending>", "80:31998/TCP"],
        "outside": ["ExternalName", "<none>", "www.example.org", "<none>"],
        "fixed": ["ClusterIP", "10.96.0.251", "192.0.2.1,192.0.2.2", "80/TCP"],
    }


def test_a_load_balancers_address(kubectl: Kubectl) -> None:
    kubectl.apply(service("lb", type="LoadBalancer"))
    status = '{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.10"}]}}}'
    kubectl("patch", "svc", "lb", "--subresource=status", "--type=merge", "-p", status)
    assert kubectl.table("get", "svc", "lb")[1][3] == "192.0.2.10"


def test_pods_of_every_state(kubectl: Kubectl) -> None:
    def state(name: str, **status: Any) -> dict[str, Any]:
        made = pod(name, "10.1.1.1", readinessGates=[{"conditionType": "example.org/up"}])
        return {**made, "status": status}

    gate = {"type": "example.org/up", "status": "True"}
    kubectl.apply(
        state("failed", phase="Failed", reason="Evicted"),
        state("not-ready", podIP="10.1.1.2", conditions=[{"type": "Ready", "status": "False"}]),
        state("pending"),
        state("ready", podIP="10.1.1.3", conditions=[{"type": "Ready", "status": "True"}, gate]),
    )
    rows = kubectl.table("get", "pods", "-o", "wide")[1:]
    assert [[row[column] for column in (0, 1, 2, 5, 8)] for row in rows] == [
        ["failed", "0/1", "Evicted", "<none>", "0/1"],
        ["not-ready", "0/1", "Running", "10.1.1.2", "0/1"],
        ["pending", "0/1", "Pending", "<none>", "0/1"],
        ["ready", "1/1", "Running", "10.1.1.3", "1/1"],
    ]


def test_a_terminating_pod(kubectl: Kubectl, web: object) -> None:
    kubectl("delete", "pod", "web-1", "--grace-period=300", "--wait=false")
    assert kubectl.table("get", "pod", "web-1")[1][2] == "Terminating"


def test_many_endpoints_are_counted(kubectl: Kubectl, server: RunningServer) -> None:
    kubectl.apply(
        service("db", clusterIP="None"), *(pod(f"db-{n}", f"10.1.2.{n}", "db") for n in range(1, 6))
    )
    (_, row) = kubectl.table("get", "endpointslices")
    assert row[3] == "10.1.2.1,10.1.2.2,10.1.2.3 + 2 more..."
    (_, row) = kubectl.table("get", "endpoints")
    assert row[1] == "10.1.2.1:8080,10.1.2.2:8080,10.1.2.3:8080 + 2 more..."


def test_nothing_is_there(kubectl: Kubectl) -> None:
    assert kubectl.warned("get", "pods") == ("", f"No resources found in {kubectl.namespace} namespace.\n")
    assert kubectl.warned("get", "pods", "-A", "-l", "no=such") == ("", "No resources found\n")
