"""get in every output but tables (test_tables.py) and watches (test_get_watch.py)."""

import json
from typing import Any

import pytest
import yaml
from toolbox.builders import pod
from toolbox.running_kubectl import Kubectl, service
from toolbox.running_server import RunningServer


def names(text: str) -> list[str]:
    return text.split()


@pytest.fixture
def pods(kubectl: Kubectl) -> None:
    """Pods a to e, each with its labels."""
    labels: dict[str, dict[str, str]] = {
        "a": {"app": "web", "tier": "front"},
        "b": {"app": "web"},
        "c": {"app": "db", "tier": "back"},
        "d": {"app": "db"},
        "e": {},
    }
    made = []
    for number, (name, given) in enumerate(labels.items(), start=1):
        one = pod(name, f"10.1.3.{9 - number}")
        made.append({**one, "metadata": {"name": name, "labels": given}})
    kubectl.apply(*made, command="create")


def test_yaml(kubectl: Kubectl, web: dict[str, Any]) -> None:
    told = yaml.safe_load(kubectl("get", "svc", "web", "-o", "yaml"))
    metadata = told["metadata"]
    assert (told["apiVersion"], told["kind"], metadata["name"]) == ("v1", "Service", "web")
    assert {"uid", "resourceVersion", "creationTimestamp", "namespace"} <= set(metadata)
    assert told["spec"] == {
        "clusterIP": web["spec"]["clusterIP"],
        "clusterIPs": [web["spec"]["clusterIP"]],
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
        "selector": {"app": "web"},
        "sessionAffinity": "None",
        "type": "ClusterIP",
    }
    assert told["status"] == {"loadBalancer": {}}


def test_json_of_one_and_of_many(kubectl: Kubectl, web: object) -> None:
    assert kubectl.json("get", "pod", "web-1")["status"]["podIP"] == "10.1.0.1"
    many = kubectl.json("get", "pods")
    assert (many["kind"], [item["kind"] for item in many["items"]]) == ("List", ["Pod", "Pod"])
    raw = json.loads(kubectl("get", "--raw", f"/api/v1/namespaces/{kubectl.namespace}/pods"))
    assert (raw["kind"], raw["apiVersion"]) == ("PodList", "v1")
    assert int(raw["metadata"]["resourceVersion"]) > 0


def test_name(kubectl: Kubectl, web: object) -> None:
    told = names(kubectl("get", "svc,pods,endpointslices", "-o", "name"))
    assert told[:3] == ["service/web", "pod/web-1", "pod/web-2"]
    assert told[3].startswith("endpointslice.discovery.k8s.io/web-")


def test_jsonpath(kubectl: Kubectl, web: object) -> None:
    path = '{range .items[*]}{.metadata.name}={.status.podIP}{"\\n"}{end}'
    assert kubectl("get", "pods", "-o", f"jsonpath={path}") == "web-1=10.1.0.1\nweb-2=10.1.0.2\n"


def test_go_template(kubectl: Kubectl, web: object) -> None:
    told = kubectl("get", "svc", "web", "-o", "go-template={{(index .spec.ports 0).port}}")
    assert told == "80"


def test_custom_columns(kubectl: Kubectl, web: object) -> None:
    told = kubectl.table("get", "pods", "-o", "custom-columns=POD:.metadata.name,ADDRESS:.status.podIP")
    assert told == [["POD", "ADDRESS"], ["web-1", "10.1.0.1"], ["web-2", "10.1.0.2"]]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("app=web", "ab"),
        ("app==web,tier", "a"),
        ("app!=web", "cde"),
        ("app in (web, db),!tier", "bd"),
        ("app notin (web)", "cde"),
        ("tier=front,app=db", ""),
    ],
)
def test_label_selectors(kubectl: Kubectl, pods: None, selector: str, found: str) -> None:
    told, _ = kubectl.warned("get", "pods", "-l", selector, "-o", "name")
    assert names(told) == [f"pod/{name}" for name in found]


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("metadata.name=c", "c"),
        ("metadata.name!=c", "abde"),
        ("status.phase=Running", "abcde"),
        ("status.phase!=Running", ""),
        ("status.podIP=10.1.3.8", "a"),
        ("metadata.name=a,status.phase=Running", "a"),
    ],
)
def test_field_selectors(kubectl: Kubectl, pods: None, selector: str, found: str) -> None:
    told, _ = kubectl.warned("get", "pods", "--field-selector", selector, "-o", "name")
    assert names(told) == [f"pod/{name}" for name in found]


def test_selectors_that_do_not_parse(kubectl: Kubectl) -> None:
    """kubectl reads label selectors itself; field selectors that the server lacks come back as 400."""
    told = kubectl.refused("get", "pods", "--field-selector", "spec.nope=1")
    assert told.startswith("Error from server (BadRequest): ")
    assert "spec.nope" in told


def test_labels_as_columns(kubectl: Kubectl, pods: None) -> None:
    told = kubectl.table("get", "pods", "-L", "app,tier", "-l", "tier")
    assert told[0][-2:] == ["APP", "TIER"]
    assert [row[-2:] for row in told[1:]] == [["web", "front"], ["db", "back"]]
    shown = kubectl.table("get", "pod", "a", "--show-labels")
    assert shown[1][-1] == "app=web,tier=front"


def test_chunks(kubectl: Kubectl, pods: None) -> None:
    whole = kubectl("get", "pods", "--chunk-size=0", "-o", "name")
    assert kubectl("get", "pods", "--chunk-size=2", "-o", "name") == whole
    assert [row[0] for row in kubectl.table("get", "pods", "--chunk-size=2")[1:]] == list("abcde")
    first = json.loads(kubectl("get", "--raw", f"/api/v1/namespaces/{kubectl.namespace}/pods?limit=2"))
    assert first["metadata"]["remainingItemCount"] == 3


@pytest.mark.parametrize("output", [(), ("-o", "wide"), ("-o", "name")])
def test_sorted(kubectl: Kubectl, pods: None, output: tuple[str, ...]) -> None:
    told = kubectl("get", "pods", "--sort-by=.status.podIP", "--no-headers", *output)
    assert [line.split()[0].removeprefix("pod/") for line in told.splitlines()] == list("edcba")


def test_sorted_by_age(kubectl: Kubectl, pods: None) -> None:
    told = kubectl("get", "pods", "--sort-by=.metadata.creationTimestamp", "-o", "name")
    assert sorted(names(told)) == [f"pod/{name}" for name in "abcde"]


def test_several_kinds_by_name(kubectl: Kubectl, web: object) -> None:
    assert names(kubectl("get", "svc/web", "pod/web-2", "-o", "name")) == ["service/web", "pod/web-2"]


def test_all_namespaces(kubectl: Kubectl, web: object) -> None:
    told = kubectl.table("get", "svc", "-A", "--field-selector", f"metadata.namespace={kubectl.namespace}")
    assert [row[:2] for row in told] == [["NAMESPACE", "NAME"], [kubectl.namespace, "web"]]


def test_of_a_manifest(kubectl: Kubectl, web: object) -> None:
    told = kubectl("get", "-o", "name", "-f", "-", stdin=json.dumps(service("web")))
    assert told == "service/web\n"


def test_the_status_subresource(kubectl: Kubectl, web: object) -> None:
    told = kubectl.json("get", "pod", "web-1", "--subresource=status")
    assert told["status"]["podIP"] == "10.1.0.1"


def test_what_is_not_there(kubectl: Kubectl) -> None:
    wanted = 'Error from server (NotFound): services "nope" not found\n'
    assert kubectl.refused("get", "svc", "nope") == wanted
    assert kubectl("get", "svc", "nope", "--ignore-not-found") == ""
    group = 'Error from server (NotFound): endpointslices.discovery.k8s.io "nope" not found\n'
    assert kubectl.refused("get", "endpointslice", "nope") == group


def test_some_are_there(kubectl: Kubectl, web: object) -> None:
    ended = kubectl.run("get", "svc", "web", "nope", "-o", "name")
    assert (ended.stdout, ended.returncode) == ("service/web\n", 1)
    assert ended.stderr == 'Error from server (NotFound): services "nope" not found\n'


def test_the_server_is_gone(kubectl: Kubectl) -> None:
    told = kubectl.refused("--server", "http://127.0.0.1:9", "get", "svc")
    assert "The connection to the server 127.0.0.1:9 was refused" in told


def test_the_address_in_dns_is_the_one_shown(kubectl: Kubectl, server: RunningServer, web: object) -> None:
    shown = kubectl("get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}")
    assert server.answers(f"web.{kubectl.namespace}.svc.cluster.local") == [shown]
