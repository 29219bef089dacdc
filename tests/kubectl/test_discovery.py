"""What kubectl finds out about the server: version, kinds, documentation."""

import json
from pathlib import Path

import pytest
from toolbox.running_kubectl import Kubectl, table
from toolbox.running_server import RunningServer

from svcdns.objects.kinds import KINDS


def test_version(kubectl: Kubectl) -> None:
    lines = dict(line.split(": ") for line in kubectl("version").splitlines())
    assert lines["Client Version"] == "v1.37.1"
    assert lines["Server Version"].startswith("v1.37.")
    assert "+svcdns-" in lines["Server Version"]


def test_client_and_server_are_of_one_kubernetes_version(kubectl: Kubectl) -> None:
    told = json.loads(kubectl("version", "-o", "json"))
    assert told["clientVersion"]["minor"] == told["serverVersion"]["minor"]


def test_api_versions(kubectl: Kubectl) -> None:
    assert {"discovery.k8s.io/v1", "v1"} <= set(kubectl("api-versions").split())


def test_api_resources(kubectl: Kubectl) -> None:
    head, *rows = kubectl.table("api-resources", "-o", "wide")
    assert head == ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND", "VERBS", "CATEGORIES"]
    found = {row[0]: row[1:] for row in rows}
    every = "create,delete,deletecollection,get,list,patch,update,watch"
    assert found["services"] == ["svc", "v1", "true", "Service", every, "all"]
    assert found["pods"] == ["po", "v1", "true", "Pod", every, "all"]
    assert found["endpointslices"] == ["", "discovery.k8s.io/v1", "true", "EndpointSlice", every, ""]
    assert found["endpoints"] == ["ep", "v1", "true", "Endpoints", "get,list,watch", ""]
    namespaces = "create,delete,get,list,patch,update,watch"
    assert found["namespaces"] == ["ns", "v1", "false", "Namespace", namespaces, ""]
    assert {kind.plural for kind in KINDS} <= set(found)


def test_api_resources_of_a_group_and_of_a_verb(kubectl: Kubectl) -> None:
    names = kubectl("api-resources", "--api-group", "discovery.k8s.io", "-o", "name")
    assert names == "endpointslices.discovery.k8s.io\n"
    namespaced = kubectl("api-resources", "--namespaced=false", "--verbs=list", "-o", "name")
    assert sorted(namespaced.split()) == [
        "ipaddresses.networking.k8s.io", "namespaces", "nodes", "servicecidrs.networking.k8s.io",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["svc", "service", "services", "services.v1.", "Service"])
def test_every_way_to_call_a_kind(kubectl: Kubectl, name: str) -> None:
    told = kubectl.warned("get", name)
    assert told == ("", f"No resources found in {kubectl.namespace} namespace.\n")


def test_an_unknown_kind(kubectl: Kubectl) -> None:
    wanted = 'error: the server doesn\'t have a resource type "deployments"\n'
    assert kubectl.refused("get", "deployments") == wanted


def test_discovery_in_the_legacy_form(kubectl: Kubectl) -> None:
    """What clients from before aggregated discovery ask for."""
    told = json.loads(kubectl("get", "--raw", "/apis"))
    assert "discovery.k8s.io" in [group["name"] for group in told["groups"]]
    core = json.loads(kubectl("get", "--raw", "/api/v1"))
    assert {"services", "services/status"} <= {resource["name"] for resource in core["resources"]}


def test_without_any_configuration(server: RunningServer, kubectl: Kubectl) -> None:
    """Only --server, with a cold cache: what the README shows."""
    nothing = {"KUBECONFIG": "/nonexistent", "KUBECACHEDIR": str(kubectl.folder / "cold")}
    ended = kubectl.run("--server", server.api, "get", "namespaces", "-o", "name", environ=nothing)
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert {"namespace/default", "namespace/kube-system"} <= set(ended.stdout.split())
    assert Path(nothing["KUBECACHEDIR"]).is_dir()


def test_cluster_info(server: RunningServer, kubectl: Kubectl) -> None:
    """Colours or none: kubectl writes escapes when it pleases; the words are what counts."""
    told = kubectl("cluster-info")
    assert f"running at {server.api}" in told.replace("\x1b[0m", "").replace("\x1b[0;33m", "")


def test_explain(kubectl: Kubectl) -> None:
    told = kubectl("explain", "service.spec.ports.targetPort")
    assert told.startswith("KIND:       Service\nVERSION:    v1\n\nFIELD: targetPort <IntOrString>\n")
    assert "Number or name of the port to access on the pods" in told
    endpoints = kubectl("explain", "endpointslices.endpoints.conditions.ready")
    assert endpoints.startswith("GROUP:      discovery.k8s.io\nKIND:       EndpointSlice\nVERSION:    v1\n")
    assert "FIELD: ready <boolean>" in endpoints


def test_explain_recursively(kubectl: Kubectl) -> None:
    told = kubectl("explain", "svc", "--recursive")
    assert "\n  spec\t<ServiceSpec>\n" in told
    assert "\n    type\t<string>\n" in told


def test_explain_an_unknown_field(kubectl: Kubectl) -> None:
    assert kubectl.refused("explain", "svc.spec.nope") == 'error: field "nope" does not exist\n'


def test_what_is_not_there_is_said_plainly(kubectl: Kubectl, web: object) -> None:
    missing = "the server could not find the requested resource"
    assert missing in kubectl.refused("logs", "web-1")
    assert missing in kubectl.refused("exec", "web-1", "--", "true")
    assert missing in kubectl.refused("port-forward", "pod/web-1", ":80")
    assert missing in kubectl.refused("scale", "pod/web-1", "--replicas=2")
    assert kubectl.refused("top", "pods") == "error: Metrics API not available\n"


def test_table_parts() -> None:
    """The reader of tables itself: heads of two words, empty cells."""
    text = "NAMESPACE   NAME   NOMINATED NODE   AGE\n            a      <none>           5m3s\n"
    assert table(text)[1] == ["", "a", "<none>", "AGE"]
