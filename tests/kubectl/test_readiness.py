"""What is said of a Pod by kubectl, and what kubectl and DNS say then."""

import json
import re
import time
from typing import Any

import pytest
from toolbox.builders import headless, pod
from toolbox.running_kubectl import Kubectl, manifest
from toolbox.running_server import RunningServer, svcdns
from toolbox.waiting import wait_for

READY = {"type": "Ready", "status": "True"}
SSA = ("apply", "--server-side", "-f", "-")


@pytest.fixture
def web(kubectl: Kubectl) -> None:
    kubectl.apply(headless("web"), pod("web-1", "10.1.0.1"))


def conditions(kubectl: Kubectl, name: str = "web-1") -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in kubectl.json("get", "pod", name)["status"]["conditions"]}


def described(kubectl: Kubectl, name: str = "web-1") -> dict[str, str]:
    """The conditions as `kubectl describe` shows them."""
    text = kubectl("describe", "pod", name).partition("\nConditions:\n")[2]
    rows = [line.split() for line in text.splitlines()[1:]]
    return {row[0]: row[1] for row in rows if len(row) == 2 and row[1] in ("True", "False", "Unknown")}


def shown(kubectl: Kubectl) -> str:
    return kubectl.table("get", "pod", "web-1")[1][1]


def answered(kubectl: Kubectl, server: RunningServer) -> list[str]:
    return server.answers(f"web.{kubectl.namespace}.svc.cluster.local")


def patch(kubectl: Kubectl, document: Any, kind: str = "strategic") -> None:
    text = json.dumps(document)
    kubectl("patch", "pod", "web-1", "--subresource=status", f"--type={kind}", "-p", text)


def status(**said: str) -> dict[str, Any]:
    return {"status": {"conditions": [{"type": "Ready", **said}]}}


def why(server: RunningServer, kubectl: Kubectl) -> str:
    return svcdns("why", "web-1", "-n", kubectl.namespace, "--api", server.api).stdout


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("kind", ["strategic", "merge", "json"])
def test_patches_report(kubectl: Kubectl, server: RunningServer, kind: str) -> None:
    def report(said: str) -> None:
        types = list(conditions(kubectl))
        path = f"/status/conditions/{types.index('Ready')}/status"
        operation = {"op": "replace", "path": path, "value": said}
        patch(kubectl, [operation] if kind == "json" else status(status=said), kind)

    if kind != "json":  # which can only say what differs
        report("True")
        assert "svcdns.io/Reported" in conditions(kubectl), "said, though it was taken for ready anyway"
    report("False")
    assert (shown(kubectl), answered(kubectl, server)) == ("0/1", [])
    assert described(kubectl) == {"Ready": "False", "ContainersReady": "False", "svcdns.io/Reported": "False"}
    report("True")
    assert (shown(kubectl), answered(kubectl, server)) == ("1/1", ["10.1.0.1"])
    assert conditions(kubectl)["Ready"]["reason"] == "AsReported"


@pytest.mark.usefixtures("web")
def test_a_report_is_withdrawn(kubectl: Kubectl, server: RunningServer) -> None:
    for document, kind in (
        ({"status": {"conditions": [{"type": "Ready", "$patch": "delete"}]}}, "strategic"),
        ({"status": {"conditions": None}}, "merge"),
        ([{"op": "remove", "path": "/status/conditions/0"}], "json"),
    ):
        patch(kubectl, status(status="False", reason="Disk", message="swap"))
        assert answered(kubectl, server) == []
        assert "reported: not ready since" in (told := why(server, kubectl)) and "(Disk swap)" in told
        patch(kubectl, document, kind)
        assert answered(kubectl, server) == ["10.1.0.1"]
        assert conditions(kubectl)["Ready"]["reason"] == "AssumedReady"
        assert described(kubectl) == {"Ready": "True", "ContainersReady": "True"}


@pytest.mark.usefixtures("web")
def test_what_was_read_and_is_written_back_pins_nothing(kubectl: Kubectl, server: RunningServer) -> None:
    before = kubectl("get", "pod", "web-1", "-o", "json")
    plain = json.loads(before)
    for word in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
        plain["metadata"].pop(word, None)
    older = json.dumps(plain)
    for arguments, text in (
        (("replace", "-f", "-"), before),
        (("replace", "--subresource=status", "-f", "-"), older),
        ((*SSA, "--force-conflicts"), older),
    ):
        kubectl(*arguments, stdin=text)
        assert "svcdns.io/Reported" not in conditions(kubectl), arguments
    patch(kubectl, status(status="False"))
    kubectl("replace", "-f", "-", stdin=older)
    assert answered(kubectl, server) == [], "that it was taken for ready is no report"
    kubectl.run("apply", "-f", "-", stdin=older)
    assert answered(kubectl, server) == []


@pytest.mark.usefixtures("web")
def test_a_manager_that_applies_it_has_its_word_until_it_takes_it_back(
    kubectl: Kubectl, server: RunningServer
) -> None:
    def apply(*said: dict[str, str]) -> str:
        config = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1"}}
        config["status"] = {"conditions": list(said)}  # type: ignore[assignment]
        kubectl(*SSA, "--subresource=status", "--field-manager=keeper", stdin=manifest(config))
        return str(kubectl.json("get", "pod", "web-1")["metadata"]["resourceVersion"])

    apply(READY)
    assert conditions(kubectl)["svcdns.io/Reported"]["status"] == "True"
    kubectl("annotate", "pod", "web-1", "svcdns.io/ready=false")
    first, second = apply(READY), int(time.time())
    wait_for(lambda: int(time.time()) > second, "another time to write")
    assert apply(READY) == first, "applied again, though Ready is False: nothing changes"
    assert answered(kubectl, server) == []
    kubectl("annotate", "pod", "web-1", "svcdns.io/ready-")
    assert answered(kubectl, server) == ["10.1.0.1"]
    apply({"type": "Ready", "status": "False", "reason": "Keeper"})
    assert conditions(kubectl)["Ready"]["reason"] == "Keeper"
    apply({"type": "example.org/other", "status": "True"})
    assert "svcdns.io/Reported" not in conditions(kubectl)
    assert answered(kubectl, server) == ["10.1.0.1"]


def test_each_source_holds_a_pod_back(kubectl: Kubectl, server: RunningServer) -> None:
    gated = pod("web-1", "10.1.0.1", readinessGates=[{"conditionType": "example.org/lb"}])
    gated["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["true"]}}
    _, warned = kubectl.warned("apply", "-f", "-", stdin=manifest(headless("web"), gated))
    assert "readinessProbe.exec is not run here" in warned
    assert conditions(kubectl)["Ready"]["reason"] == "ProbeNotRun"
    patch(kubectl, status(status="True"))
    assert conditions(kubectl)["Ready"]["reason"] == "ReadinessGatesNotReady"
    patch(kubectl, {"status": {"conditions": [{"type": "example.org/lb", "status": "True"}]}})
    assert answered(kubectl, server) == ["10.1.0.1"]
    patch(
        kubectl,
        {"status": {"conditions": [{"type": "svcdns.io/Probe", "status": "False", "message": "HTTP 503"}]}},
    )
    ready = conditions(kubectl)["Ready"]
    assert (ready["reason"], ready["message"]) == ("NotReadyByProbe", "HTTP 503")
    assert "probe: not ready (HTTP 503)" in why(server, kubectl)
    kubectl("annotate", "pod", "web-1", "svcdns.io/ready=true")
    assert answered(kubectl, server) == ["10.1.0.1"], "the override wins"
    kubectl("annotate", "pod", "web-1", "--overwrite", "svcdns.io/ready=false")
    told = why(server, kubectl)
    assert "override: not ready (annotation svcdns.io/ready: false)" in told
    assert "kubectl annotate pod web-1 svcdns.io/ready-" in told
    assert "reported: ready since" in told and "gates: ready" in told
    _, warned = kubectl.warned("apply", "-f", "-", stdin=manifest(gated))
    assert warned == "", "the same probe is warned of once"


def test_heartbeats(kubectl: Kubectl, server: RunningServer) -> None:
    made = pod("web-1", "10.1.0.1")
    made["metadata"]["annotations"] = {"svcdns.io/heartbeat": "1s", "svcdns.io/expire-after": "1h"}
    kubectl.apply(headless("web"), made)
    kubectl("wait", "pod/web-1", "--for=condition=Ready=false", "--timeout=60s")
    assert answered(kubectl, server) == []
    assert shown(kubectl) == "0/1" and described(kubectl)["svcdns.io/Heartbeat"] == "False"
    assert re.search(r"heartbeat: not ready since \S+ \(no heartbeat for 1s\)", why(server, kubectl))
    # From now on it has time: longer than kubectl takes to end.
    kubectl("annotate", "pod", "web-1", "--overwrite", "svcdns.io/heartbeat=30m")
    assert answered(kubectl, server) == []
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/web-1/heartbeat"
    kubectl("create", "--raw", path, "-f", "/dev/null")
    assert answered(kubectl, server) == ["10.1.0.1"]
    wait_for(lambda: "HeartbeatLate" in kubectl("get", "events"), "the Event")
    assert kubectl("auth", "can-i", "update", "pods/heartbeat") == "yes\n"
    listed = server.post("/svcdns/v1/heartbeats", [{"namespace": kubectl.namespace, "name": "web-1"}])
    assert (listed.status, listed.json) == (200, {"counted": 1, "refused": []})


def test_a_wrong_promise_is_refused(kubectl: Kubectl) -> None:
    made = pod("web-1", "10.1.0.1")
    made["metadata"]["annotations"] = {"svcdns.io/heartbeat": "soon"}
    told = kubectl.refused("apply", "-f", "-", stdin=manifest(made))
    assert 'metadata.annotations[svcdns.io/heartbeat]: Invalid value: "soon"' in told


@pytest.mark.usefixtures("web")
def test_who_is_leaving_has_left(kubectl: Kubectl, server: RunningServer) -> None:
    kubectl("delete", "pod", "web-1", "--grace-period=300", "--wait=false")
    assert answered(kubectl, server) == []
    assert kubectl.table("get", "pod", "web-1")[1][1:3] == ["1/1", "Terminating"]
    ready = conditions(kubectl)["Ready"]
    assert (ready["status"], ready["reason"]) == ("False", "NotReadyByDeletion")
    kubectl.warned("delete", "pod", "web-1", "--grace-period=0", "--force")
    assert kubectl("get", "pods", "-o", "name") == ""


@pytest.mark.usefixtures("web")
def test_a_service_that_answers_with_all(kubectl: Kubectl, server: RunningServer) -> None:
    kubectl("annotate", "service", "web", "svcdns.io/when-none-ready=all")
    patch(kubectl, status(status="False"))
    assert answered(kubectl, server) == ["10.1.0.1"]
    told = svcdns("why", "web", "-n", kubectl.namespace, "--api", server.api).stdout
    assert "no endpoint is ready: all of them are answered" in told
    _, warned = kubectl.warned("annotate", "service", "web", "--overwrite", "svcdns.io/when-none-ready=some")
    assert "known: none, all, last" in warned
    assert answered(kubectl, server) == []


@pytest.mark.usefixtures("web")
def test_a_service_that_answers_who_was_ready_last(kubectl: Kubectl, server: RunningServer) -> None:
    kubectl("annotate", "service", "web", "svcdns.io/when-none-ready=last")
    patch(kubectl, status(status="False"))
    assert answered(kubectl, server) == ["10.1.0.1"]
    told = svcdns("why", "web", "-n", kubectl.namespace, "--api", server.api).stdout
    assert "web-1, ready last, is answered on" in told
    kubectl("delete", "pod", "web-1")
    assert answered(kubectl, server) == []
