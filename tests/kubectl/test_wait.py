"""wait: client-go's own list and watch."""

import threading

import pytest
from toolbox.builders import pod
from toolbox.running_kubectl import Kubectl, service
from toolbox.running_server import RunningServer

READY = '{"status":{"podIP":"10.1.0.8","conditions":[{"type":"Ready","status":"True"}]}}'
LISTS = {"KUBE_FEATURE_WatchListClient": "false"}
STREAMS = {"KUBE_FEATURE_WatchListClient": "true"}


def test_what_is_so_already(kubectl: Kubectl, web: object) -> None:
    assert kubectl("wait", "pod/web-1", "--for=condition=Ready") == "pod/web-1 condition met\n"
    told = kubectl("wait", "pods", "-l", "app=web", "--for=condition=Ready")
    assert told == "pod/web-1 condition met\npod/web-2 condition met\n"


@pytest.mark.parametrize("features", [LISTS, STREAMS], ids=["list and watch", "WatchList"])
def test_a_condition_that_comes(kubectl: Kubectl, server: RunningServer, features: dict[str, str]) -> None:
    kubectl("run", "web", "--image=none")
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/web/status"
    timer = threading.Timer(0.5, server.patch, (path, READY.encode(), "application/merge-patch+json"))
    timer.start()
    try:
        told = kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=60s", environ=features)
    finally:
        timer.join()
    assert told == "pod/web condition met\n"


def test_a_condition_that_does_not_come(kubectl: Kubectl) -> None:
    kubectl("run", "web", "--image=none")
    told = kubectl.refused("wait", "pod/web", "--for=condition=Ready", "--timeout=5s")
    assert told.splitlines()[-1] == "error: timed out waiting for the condition on pods/web"


def test_a_value(kubectl: Kubectl, web: object) -> None:
    path = "jsonpath={.spec.ports[0].port}"
    assert kubectl("wait", "svc/web", f"--for={path}=80") == "service/web condition met\n"
    phase = "--for=jsonpath={.status.phase}=Active"
    assert kubectl("wait", f"ns/{kubectl.namespace}", phase) == (
        f"namespace/{kubectl.namespace} condition met\n"
    )


def test_a_value_that_comes(kubectl: Kubectl, server: RunningServer) -> None:
    """A load balancer's address, which somebody else reports."""
    kubectl.apply(service("lb", type="LoadBalancer"))
    path = f"/api/v1/namespaces/{kubectl.namespace}/services/lb/status"
    body = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.3"}]}}}
    timer = threading.Timer(0.5, server.patch, (path, body))
    timer.start()
    try:
        told = kubectl("wait", "svc/lb", "--for=jsonpath={.status.loadBalancer.ingress}", "--timeout=60s")
    finally:
        timer.join()
    assert told == "service/lb condition met\n"


def test_a_deletion(kubectl: Kubectl, server: RunningServer, web: object) -> None:
    path = f"/api/v1/namespaces/{kubectl.namespace}/services/web"
    timer = threading.Timer(0.5, server.delete, (path,))
    timer.start()
    try:
        assert kubectl("wait", "svc/web", "--for=delete", "--timeout=60s") == "service/web condition met\n"
    finally:
        timer.join()
    assert kubectl("wait", "svc/web", "--for=delete") == ""


def test_a_creation(kubectl: Kubectl) -> None:
    with kubectl.started("wait", "pod/late", "--for=create", "--timeout=60s") as lines:
        kubectl.apply(pod("late", "10.1.0.4"))
        assert lines.next() == "pod/late condition met"


def test_what_is_not_there(kubectl: Kubectl) -> None:
    told = kubectl.refused("wait", "pod/nope", "--for=condition=Ready")
    assert told == 'Error from server (NotFound): pods "nope" not found\n'
