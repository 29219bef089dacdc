"""Hints: what kubectl prints, and shows later, of what has no answer yet."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toolbox.builders import pod, service
from toolbox.running_kubectl import Kubectl, find_kubectl, manifest
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A server that gives hints, as it does by itself."""
    with RunningServer(workers=1) as running:
        yield running


@pytest.fixture
def kubectl(need: Callable[..., str], server: RunningServer, kubectl_folder: Path) -> Kubectl:
    if not find_kubectl():
        need("kubectl of the dev extra")
    return Kubectl(server.api, kubectl_folder, "default")


def test_a_wrong_selector_is_said_by_apply_and_by_describe(kubectl: Kubectl) -> None:
    assert kubectl.warned("apply", "-f", "-", stdin=manifest(pod("y2-1", app="y3")))[1] == ""
    printed, said = kubectl.warned("apply", "-f", "-", stdin=manifest(service("y2")))
    assert printed == "service/y2 created\n"
    assert said == "Warning: Service y2: selector app=y2 matches no Pod yet; Pod y2-1 has app=y3\n"
    assert kubectl.apply(service("y2")) == "service/y2 unchanged\n"
    assert kubectl("annotate", "service", "y2", "a=b") == "service/y2 annotated\n"
    wait_for(lambda: "NoPodMatches" in kubectl("describe", "service", "y2"), "the Event")
    described = kubectl("describe", "service", "y2")
    assert "selector app=y2 matches no Pod; Pod y2-1 has app=y3" in described
    kubectl.warned("delete", "service/y2", "pod/y2-1")


def test_the_usual_order_leaves_no_event(kubectl: Kubectl) -> None:
    bare = {**pod("bare"), "status": {}}
    kubectl.warned("apply", "-f", "-", stdin=manifest(service("web"), pod("web-1")))
    said = kubectl.warned("apply", "-f", "-", stdin=manifest(bare))[1]
    assert said.startswith("Warning: Pod bare has no address yet: set status.podIP")
    wait_for(lambda: "NoAddress" in kubectl("get", "events"), "the Event of what came last")
    assert "NoPodMatches" not in kubectl("describe", "service", "web")
    kubectl.warned("delete", "service/web", "pod/web-1", "pod/bare")


def test_a_missing_namespace_comes_with_the_command_that_makes_it(
    kubectl: Kubectl, server: RunningServer
) -> None:
    said = kubectl.refused("apply", "-n", "nope", "-f", "-", stdin=manifest(service("web")))
    assert 'namespaces "nope" not found' in said
    warning = next(line for line in said.splitlines() if line.startswith("Warning:"))
    command = warning.split("`")[1]
    answer = server.post("/api/v1/namespaces/nope/services", service("web"))
    assert (answer.status, answer.json["message"]) == (404, 'namespaces "nope" not found')
    assert command in answer.json["details"]["causes"][0]["message"]
    kubectl(*command.split()[1:])
    kubectl.warned("apply", "-n", "nope", "-f", "-", stdin=manifest(service("web")))
