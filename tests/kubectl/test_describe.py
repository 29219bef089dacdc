"""describe: what kubectl makes of an object and of what belongs to it."""

import re
from typing import Any

from toolbox.builders import pod
from toolbox.running_kubectl import Kubectl, service
from toolbox.running_server import RunningServer


def without_events(text: str) -> str:
    """Return a description up to its events, with single spaces between words."""
    text, _, _ = text.partition("\nEvents:")
    return "\n".join(re.sub(r" {2,}", "  ", line).rstrip() for line in text.splitlines())


def test_a_service(kubectl: Kubectl, web: dict[str, Any]) -> None:
    """The endpoints come from its EndpointSlices."""
    address = web["spec"]["clusterIP"]
    assert without_events(kubectl("describe", "svc", "web")).splitlines() == [
        "Name:  web",
        f"Namespace:  {kubectl.namespace}",
        "Labels:  app=web",
        "Annotations:  <none>",
        "Selector:  app=web",
        "Type:  ClusterIP",
        "IP Family Policy:  SingleStack",
        "IP Families:  IPv4",
        f"IP:  {address}",
        f"IPs:  {address}",
        "Port:  http  80/TCP",
        "TargetPort:  8080/TCP",
        "Endpoints:  10.1.0.1:8080,10.1.0.2:8080",
        "Session Affinity:  None",
        "Internal Traffic Policy:  Cluster",
    ]


def test_a_headless_service_that_nobody_serves(kubectl: Kubectl) -> None:
    kubectl.apply(service("db", clusterIP="None"))
    told = without_events(kubectl("describe", "svc", "db")).splitlines()
    assert {"IP:  None", "IPs:  None", "Endpoints:"} <= {line.strip() for line in told}


def test_a_node_port(kubectl: Kubectl) -> None:
    kubectl.apply(service("shop", type="NodePort", ports=[{"port": 80, "nodePort": 31777}]))
    told = without_events(kubectl("describe", "svc", "shop")).splitlines()
    assert {"Type:  NodePort", "NodePort:  <unset>  31777/TCP", "External Traffic Policy:  Cluster"} <= set(
        told
    )


def test_an_external_name(kubectl: Kubectl) -> None:
    kubectl.apply(service("docs", type="ExternalName", externalName="www.example.org", ports=[]))
    told = without_events(kubectl("describe", "svc", "docs")).splitlines()
    assert {"Type:  ExternalName", "External Name:  www.example.org"} <= set(told)


def test_a_pod(kubectl: Kubectl) -> None:
    kubectl.apply(pod("web-1", "10.1.0.1", nodeName="n1"))
    told = without_events(kubectl("describe", "pod", "web-1"))
    assert told.startswith(f"Name:  web-1\nNamespace:  {kubectl.namespace}\n")
    lines = told.splitlines()
    assert {"Node:  n1/", "Labels:  app=web", "Status:  Running", "IP:  10.1.0.1"} <= set(lines)
    conditions = lines[lines.index("Conditions:") :]
    assert conditions[1:3] == ["  Type  Status", "  Ready  True"]


def test_a_namespace(kubectl: Kubectl) -> None:
    told = kubectl("describe", "ns", kubectl.namespace)
    assert without_events(told).splitlines()[:4] == [
        f"Name:  {kubectl.namespace}",
        f"Labels:  kubernetes.io/metadata.name={kubectl.namespace}",
        "Annotations:  <none>",
        "Status:  Active",
    ]


def test_an_endpoint_slice(kubectl: Kubectl, web: object) -> None:
    told = without_events(kubectl("describe", "endpointslices", "-l", "kubernetes.io/service-name=web"))
    lines = told.splitlines()
    assert {"AddressType:  IPv4", "Endpoints:", "  - Addresses:  10.1.0.1"} <= set(lines)
    assert {"  TargetRef:  Pod/web-1", "  TargetRef:  Pod/web-2"} <= set(lines)
    assert lines[lines.index("Ports:") + 3] == "  http  8080  TCP"


def test_endpoints(kubectl: Kubectl, web: object) -> None:
    lines = without_events(kubectl("describe", "endpoints", "web")).splitlines()
    assert "  Addresses:  10.1.0.1,10.1.0.2" in lines
    assert "  NotReadyAddresses:  <none>" in lines


def test_several_by_prefix(kubectl: Kubectl, web: object) -> None:
    told = kubectl("describe", "pods", "web")
    assert re.findall(r"^Name: +(\S+)", told, re.MULTILINE) == ["web-1", "web-2"]


def test_what_is_not_there(kubectl: Kubectl, server: RunningServer) -> None:
    assert kubectl.refused("describe", "svc", "x") == 'Error from server (NotFound): services "x" not found\n'
