"""Nodes, Leases, and the views of addresses: what kubectl shows and does with them."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from toolbox.builders import lease, newer_event, node
from toolbox.running_kubectl import Kubectl, service
from toolbox.running_server import RunningServer

NODE = ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
WIDE = ["INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"]


@pytest.fixture
def here(kubectl: Kubectl, server: RunningServer) -> Iterator[str]:
    """A Node of the test's own, which goes with it."""
    name = f"here-{kubectl.namespace}"
    made = node(name)
    made["metadata"]["labels"] = {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}
    info = {
        "kubeletVersion": "v1.37.0",
        "osImage": "Debian",
        "kernelVersion": "6.18",
        "architecture": "amd64",
    }
    made["status"]["nodeInfo"] = info
    assert server.post("/api/v1/nodes", made).status == 201
    yield name
    server.delete(f"/api/v1/nodes/{name}")


def test_columns_of_nodes(kubectl: Kubectl, here: str) -> None:
    assert kubectl.table("get", "no", here) == [NODE, [here, "Ready", "edge,worker", "AGE", "v1.37.0"]]
    wide = [*NODE, *WIDE]
    shown = ["192.0.2.1", "<none>", "Debian", "6.18 (amd64)", "<unknown>"]
    assert kubectl.table("get", "node", here, "-o", "wide") == [
        wide, [here, "Ready", "edge,worker", "AGE", "v1.37.0", *shown],
    ]  # fmt: skip


def test_a_node_is_cordoned_tainted_labelled_and_drained(kubectl: Kubectl, here: str) -> None:
    def state() -> str:
        return kubectl.table("get", "nodes", here)[1][1]

    assert kubectl("cordon", here) == f"node/{here} cordoned\n"
    assert state() == "Ready,SchedulingDisabled"
    assert "drained" in kubectl("drain", here)
    kubectl("uncordon", here)
    assert state() == "Ready"
    kubectl("taint", "nodes", here, "a=b:NoSchedule")
    kubectl("label", "node", here, "topology.kubernetes.io/zone=z1")
    told = kubectl("describe", "node", here)
    assert re.search(r"Taints: +a=b:NoSchedule", told)
    assert "topology.kubernetes.io/zone=z1" in told and "192.0.2.1" in told
    kubectl("patch", "node", here, "--subresource=status", "-p", not_ready())
    assert state() == "NotReady"


def not_ready() -> str:
    return json.dumps({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})


def test_a_node_is_applied(kubectl: Kubectl, here: str) -> None:
    manifest = node(here)
    manifest["spec"] = {"podCIDR": "10.244.0.0/24"}
    text = json.dumps(manifest)
    assert kubectl("apply", "--server-side", "-f", "-", stdin=text) == f"node/{here} serverside-applied\n"
    stored = json.loads(kubectl("get", "node", here, "-o", "json"))
    assert stored["spec"]["podCIDRs"] == ["10.244.0.0/24"]
    manifest["spec"] = {"podCIDR": "10.245.0.0/24"}
    refused = kubectl.refused("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    assert "node updates may not change podCIDR" in refused


def test_columns_of_leases(kubectl: Kubectl, server: RunningServer) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{kubectl.namespace}/leases"
    assert server.post(path, lease("leader", "one")).status == 201
    assert kubectl.table("get", "leases") == [["NAME", "HOLDER", "AGE"], ["leader", "one", "AGE"]]
    assert "Holder Identity:" in kubectl("describe", "lease", "leader")


def test_columns_of_address_views(kubectl: Kubectl, server: RunningServer) -> None:
    made = server.post(f"/api/v1/namespaces/{kubectl.namespace}/services", service("web"))
    address = made.json["spec"]["clusterIP"]
    assert kubectl.table("get", "ip", address) == [
        ["NAME", "PARENTREF"], [address, f"services/{kubectl.namespace}/web"],
    ]  # fmt: skip
    assert kubectl.table("get", "servicecidrs") == [
        ["NAME", "CIDRS", "AGE"], ["kubernetes", "10.96.0.0/12", "AGE"],
    ]  # fmt: skip
    refused = kubectl.refused("delete", "servicecidr", "kubernetes")
    assert "the server does not allow this method" in refused


def test_events_are_the_same_by_both_names(kubectl: Kubectl, server: RunningServer) -> None:
    path = f"/apis/events.k8s.io/v1/namespaces/{kubectl.namespace}/events"
    about: dict[str, Any] = {"kind": "Pod", "namespace": kubectl.namespace, "name": "web-1"}
    assert server.post(path, newer_event("a", regarding=about)).status == 201
    for kind in ("events", "events.v1.", "events.v1.events.k8s.io"):
        head, row = kubectl.table("get", kind)
        assert head == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
        assert row[1:] == ["Normal", "Starting", "pod/web-1", "it starts"]
    assert "it starts" in kubectl("events")
    chosen = kubectl(
        "get", "events.v1.events.k8s.io", "--field-selector", "regarding.name=web-1", "-o", "name"
    )
    assert chosen == "event.events.k8s.io/a\n"


@pytest.mark.parametrize(
    "field", ["nodes.spec.taints.effect", "lease.spec.holderIdentity", "servicecidr.spec"]
)
def test_explain(kubectl: Kubectl, field: str) -> None:
    assert "DESCRIPTION" in kubectl("explain", field)
