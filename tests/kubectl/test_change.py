"""patch in its three types, label, annotate, set selector."""

import json
from typing import Any

import pytest
from toolbox.builders import pod
from toolbox.running_kubectl import Kubectl, service
from toolbox.running_server import RunningServer


def ports(kubectl: Kubectl) -> list[tuple[str, int]]:
    listed = kubectl.json("get", "svc", "web")["spec"]["ports"]
    return [(port.get("name", ""), port["port"]) for port in listed]


def patch(document: Any) -> tuple[str, str]:
    return "-p", json.dumps(document)


def test_a_strategic_merge_patch_merges_ports_by_their_number(kubectl: Kubectl, web: object) -> None:
    more = {"spec": {"ports": [{"name": "metrics", "port": 9090}]}}
    assert kubectl("patch", "svc", "web", *patch(more)) == "service/web patched\n"
    assert sorted(ports(kubectl)) == [("http", 80), ("metrics", 9090)]
    gone = {"spec": {"ports": [{"port": 80, "$patch": "delete"}]}}
    kubectl("patch", "svc", "web", *patch(gone))
    assert ports(kubectl) == [("metrics", 9090)]


def test_a_merge_patch_replaces_lists(kubectl: Kubectl, web: object) -> None:
    only = {"spec": {"ports": [{"name": "metrics", "port": 9090}]}, "metadata": {"labels": {"app": None}}}
    assert kubectl("patch", "svc", "web", "--type=merge", *patch(only)) == "service/web patched\n"
    assert ports(kubectl) == [("metrics", 9090)]
    assert not kubectl.json("get", "svc", "web")["metadata"].get("labels")


def test_a_json_patch(kubectl: Kubectl, web: object) -> None:
    steps = [
        {"op": "test", "path": "/spec/ports/0/port", "value": 80},
        {"op": "replace", "path": "/spec/ports/0/port", "value": 81},
        {"op": "add", "path": "/metadata/labels/example.org~1tier", "value": "front"},
    ]
    assert kubectl("patch", "svc", "web", "--type=json", *patch(steps)) == "service/web patched\n"
    assert ports(kubectl) == [("http", 81)]
    assert kubectl.json("get", "svc", "web")["metadata"]["labels"]["example.org/tier"] == "front"


def test_a_json_patch_whose_test_fails(kubectl: Kubectl, web: object) -> None:
    steps = [{"op": "test", "path": "/spec/ports/0/port", "value": 9}]
    assert kubectl.refused("patch", "svc", "web", "--type=json", *patch(steps)) == (
        "The request is invalid: the server rejected our request due to an error in our request: "
        'operation 0 (test "/spec/ports/0/port"): the test failed\n'
    )


def test_a_patch_that_changes_nothing(kubectl: Kubectl, web: dict[str, Any]) -> None:
    same = {"metadata": {"labels": {"app": "web"}}}
    assert kubectl("patch", "svc", "web", *patch(same)) == "service/web patched (no change)\n"
    assert (
        kubectl.json("get", "svc", "web")["metadata"]["resourceVersion"]
        == (web["metadata"]["resourceVersion"])
    )


def test_a_patch_that_makes_no_sense(kubectl: Kubectl, web: object) -> None:
    wrong = {"spec": {"ports": [{"port": 80, "protocol": "ICMP"}]}}
    assert kubectl.refused("patch", "svc", "web", *patch(wrong)) == (
        'The Service "web" is invalid: spec.ports[0].protocol: Unsupported value: "ICMP": '
        'supported values: "SCTP", "TCP", "UDP"\n'
    )


def test_a_patch_of_what_is_not_there(kubectl: Kubectl) -> None:
    told = kubectl.refused("patch", "svc", "web", *patch({}))
    assert told == 'Error from server (NotFound): services "web" not found\n'


@pytest.mark.parametrize("kind", ["strategic", "merge"])
def test_readiness_through_the_status(
    kubectl: Kubectl, server: RunningServer, web: object, kind: str
) -> None:
    """The way to take a Pod out of DNS and put it back, whichever patch kubectl is told to send."""
    name = f"web.{kubectl.namespace}.svc.cluster.local"
    kubectl("delete", "svc", "web")
    kubectl.apply(service("web", clusterIP="None"))
    assert server.answers(name) == ["10.1.0.1", "10.1.0.2"]
    for said, answers in (("False", ["10.1.0.2"]), ("True", ["10.1.0.1", "10.1.0.2"])):
        status = {"status": {"conditions": [{"type": "Ready", "status": said}]}}
        told = kubectl("patch", "pod", "web-1", "--subresource=status", f"--type={kind}", *patch(status))
        assert told == "pod/web-1 patched\n"
        assert server.answers(name) == answers


def test_the_status_and_labels_are_written_through_the_status(kubectl: Kubectl, web: object) -> None:
    both = {"metadata": {"labels": {"x": "y"}}, "status": {"podIP": "10.1.0.9"}, "spec": {"hostname": "h"}}
    kubectl("patch", "pod", "web-1", "--subresource=status", *patch(both))
    made = kubectl.json("get", "pod", "web-1")
    assert (made["metadata"]["labels"], made["status"]["podIP"]) == ({"app": "web", "x": "y"}, "10.1.0.9")
    assert "hostname" not in made["spec"]


def test_patch_as_a_dry_run(kubectl: Kubectl, web: object) -> None:
    labels = {"metadata": {"labels": {"x": "y"}}}
    told = kubectl.json("patch", "svc", "web", "--dry-run=server", *patch(labels))
    assert told["metadata"]["labels"] == {"app": "web", "x": "y"}
    assert kubectl.json("get", "svc", "web")["metadata"]["labels"] == {"app": "web"}


def test_label(kubectl: Kubectl, web: object) -> None:
    assert kubectl("label", "pod", "web-1", "tier=front") == "pod/web-1 labeled\n"
    assert kubectl("label", "pod", "web-1", "tier=front") == "pod/web-1 not labeled\n"
    told = kubectl.refused("label", "pod", "web-1", "tier=back")
    assert told == "error: 'tier' already has a value (front), and --overwrite is false\n"
    assert kubectl("label", "pod", "web-1", "tier=back", "--overwrite") == "pod/web-1 labeled\n"
    listed = kubectl("label", "pod", "web-1", "--list").splitlines()
    assert sorted(listed) == ["app=web", "tier=back"]  # kubectl goes through a Go map, in any order
    assert kubectl("label", "pod", "web-1", "tier-") == "pod/web-1 unlabeled\n"


def test_label_many(kubectl: Kubectl, web: object) -> None:
    assert kubectl("label", "pods", "--all", "x=y") == "pod/web-1 labeled\npod/web-2 labeled\n"
    assert kubectl("label", "pods", "-l", "x=y", "x=z", "--overwrite") == (
        "pod/web-1 labeled\npod/web-2 labeled\n"
    )


def test_a_label_changes_who_serves(kubectl: Kubectl, server: RunningServer, web: object) -> None:
    kubectl("label", "pod", "web-1", "app=other", "--overwrite")
    assert kubectl.table("get", "endpoints", "web")[1][1] == "10.1.0.2:8080"


def test_a_label_that_cannot_be(kubectl: Kubectl, web: object) -> None:
    body = {"metadata": {"labels": {"x": "not a label"}}}
    told = kubectl.refused("patch", "svc", "web", "--type=merge", *patch(body))
    assert told.startswith('The Service "web" is invalid: metadata.labels[x]: Invalid value: "not a label": ')


def test_annotate(kubectl: Kubectl, web: object) -> None:
    assert kubectl("annotate", "svc", "web", "note=a b c") == "service/web annotated\n"
    assert kubectl("annotate", "svc", "web", "--list") == "note=a b c\n"
    assert kubectl("annotate", "svc", "web", "note-") == "service/web annotated\n"
    assert kubectl("annotate", "svc", "web", "--list") == ""


def test_ready_by_an_annotation(kubectl: Kubectl, server: RunningServer, web: object) -> None:
    kubectl("annotate", "pod", "web-1", "svcdns.io/ready=false")
    assert kubectl.table("get", "endpoints", "web")[1][1] == "10.1.0.2:8080"
    assert kubectl.table("get", "pod", "web-1")[1][1] == "0/1"


def test_set_selector(kubectl: Kubectl, web: object) -> None:
    kubectl.apply(pod("db-1", "10.1.0.7", "db"))
    assert kubectl("set", "selector", "svc", "web", "app=db") == "service/web selector updated\n"
    assert kubectl.json("get", "svc", "web")["spec"]["selector"] == {"app": "db"}
    assert kubectl.table("get", "endpoints", "web")[1][1] == "10.1.0.7:8080"


def test_set_image(kubectl: Kubectl, web: object) -> None:
    assert kubectl("set", "image", "pod/web-1", "main=other") == "pod/web-1 image updated\n"
    assert kubectl("get", "pod", "web-1", "-o", "jsonpath={.spec.containers[0].image}") == "other"


def test_what_svcdns_makes_is_not_for_others_to_change(kubectl: Kubectl, web: object) -> None:
    name = kubectl("get", "endpointslices", "-o", "name").strip()
    told = kubectl.refused("patch", name, "--type=merge", *patch({"endpoints": []}))
    assert told.startswith("Error from server (Forbidden): ")
    told = kubectl.refused("label", "endpoints", "web", "x=y")
    assert told.startswith("Error from server (Forbidden): ")
