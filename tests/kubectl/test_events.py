"""events, get events and what describe shows below "Events:"."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from toolbox.builders import pod
from toolbox.running_kubectl import Kubectl, manifest, service
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for

AGE = r"(?:(?:\d+[smh])+|<invalid>)(?: \(x\d+ over .+\))?"
READY = "nobody has set its Ready condition, so it is taken as ready"


def settled(kubectl: Kubectl, count: int, *arguments: str) -> list[dict[str, Any]]:
    """Return the Events of the namespace when there are so many."""

    def look() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = kubectl.json("get", "events", *arguments)["items"]
        return found if len(found) >= count else []

    return wait_for(look, f"{count} events")


def described(kubectl: Kubectl, *what: str) -> list[list[str]]:
    """Return the cells below "Events:", heads first; ages as AGE, "AGE xN" when it happened N times."""
    text = kubectl("describe", *what)
    lines = text[text.index("\nEvents:") :].strip().split("\n")
    if lines[0].split() == ["Events:", "<none>"]:
        return []
    return [[_without_age(cell) for cell in re.split(r"\s{2,}", line.strip())] for line in lines[1:]]


def _without_age(cell: str) -> str:
    if not re.fullmatch(AGE, cell):
        return cell
    times = re.search(r"\((x\d+)", cell)
    return f"AGE {times[1]}" if times else "AGE"


def ready(kubectl: Kubectl, name: str, value: str) -> None:
    condition = {"type": "Ready", "status": value, "reason": "Probe", "message": "HTTP 503"}
    patch = json.dumps({"status": {"conditions": [condition]}})
    kubectl("patch", "pod", name, "--subresource=status", "-p", patch)


def test_describe_a_service_and_its_pod(kubectl: Kubectl) -> None:
    kubectl.apply(service("web", ports=[{"name": "http", "port": 80, "targetPort": "http"}]))
    kubectl.apply(pod("web-1", "10.1.0.1"))
    for value in ("False", "True", "False"):
        ready(kubectl, "web-1", value)
    address = kubectl("get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}")
    wait_for(
        lambda: (
            len(kubectl.json("get", "events", "--field-selector", "reason=EndpointNotReady")["items"]) == 2
            and any("AGE x2" in row for row in described(kubectl, "pod", "web-1"))
        ),
        "both flips to be counted",
    )
    head, rule, *rows = described(kubectl, "svc", "web")
    assert head == ["Type", "Reason", "Age", "From", "Message"]
    assert rule == ["----", "------", "----", "----", "-------"]
    no_port = "Port http: Pod web-1 has no container port 'http' (TCP): the port is left out there"
    not_ready = "not ready: condition Ready is False, Probe (HTTP 503)"
    now_ready = "ready: condition Ready is True, Probe (HTTP 503)"
    assert sorted(rows) == sorted(
        [
            ["Normal", "ClusterIPAllocated", "AGE", "svcdns", f"Cluster IP {address} allocated"],
            ["Normal", "EndpointReady", "AGE", "svcdns", f"Pod web-1 (10.1.0.1) is ready: {READY}"],
            ["Warning", "TargetPortNotFound", "AGE", "svcdns", no_port],
            ["Warning", "EndpointNotReady", "AGE x2", "svcdns", f"Pod web-1 (10.1.0.1) is {not_ready}"],
            ["Normal", "EndpointReady", "AGE", "svcdns", f"Pod web-1 (10.1.0.1) is {now_ready}"],
        ]
    )
    where = "Address 10.1.0.1 in Service web is"
    assert sorted(described(kubectl, "pod", "web-1")[2:]) == sorted(
        [
            ["Normal", "EndpointReady", "AGE", "svcdns", f"{where} {READY_TEXT}"],
            ["Warning", "TargetPortNotFound", "AGE", "svcdns", no_port],
            ["Warning", "EndpointNotReady", "AGE x2", "svcdns", f"{where} {not_ready}"],
            ["Normal", "EndpointReady", "AGE", "svcdns", f"{where} {now_ready}"],
        ]
    )


READY_TEXT = f"ready: {READY}"


def test_describe_without_events(kubectl: Kubectl) -> None:
    kubectl.apply(service("web", clusterIP="None"))
    assert described(kubectl, "svc", "web") == []


def test_get_events_as_kubernetes_shows_them(kubectl: Kubectl) -> None:
    assert kubectl.warned("get", "events") == ("", f"No resources found in {kubectl.namespace} namespace.\n")
    kubectl.apply(service("web"))
    [event] = settled(kubectl, 1)
    reason, message = "ClusterIPAllocated", event["message"]
    assert kubectl.table("get", "events") == [
        ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"],
        ["AGE", "Normal", reason, "service/web", message],
    ]
    heads = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "SUBOBJECT", "SOURCE", "MESSAGE", "FIRST SEEN", "COUNT"]
    assert kubectl.table("get", "ev", "-o", "wide") == [
        [*heads, "NAME"],
        [
            "AGE",
            "Normal",
            reason,
            "service/web",
            "",
            "svcdns",
            message,
            "AGE",
            "1",
            event["metadata"]["name"],
        ],
    ]


def test_events(kubectl: Kubectl) -> None:
    assert kubectl.warned("events") == ("", f"No events found in {kubectl.namespace} namespace.\n")
    kubectl.apply(service("a"))
    external = service("b", type="ExternalName", externalName="192.0.2.1", ports=[])
    _, warning = kubectl.warned("create", "-f", "-", stdin=manifest(external))
    assert "spec.externalName is an address" in warning
    settled(kubectl, 2)
    head, *rows = kubectl.table("events")
    assert head == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert {(row[1], row[2], row[3]) for row in rows} == {
        ("Normal", "ClusterIPAllocated", "Service/a"),
        ("Warning", "ExternalNameIsAddress", "Service/b"),
    }
    for chosen in (("--for", "svc/b"), ("--types", "Warning")):
        _, [_, *row] = kubectl.table("events", *chosen)
        assert row[:3] == ["Warning", "ExternalNameIsAddress", "Service/b"]
    selector = "involvedObject.kind=Service,involvedObject.name=b,type=Warning,source=svcdns"
    _, [_, *row] = kubectl.table("get", "events", "--field-selector", selector)
    assert row[:3] == ["Warning", "ExternalNameIsAddress", "service/b"]


def test_watching(kubectl: Kubectl) -> None:
    """`events -w` and `get events -w` begin with what there is and go on."""
    kubectl.apply(service("web", clusterIP="None"), pod("web-1", "10.1.0.1"))
    settled(kubectl, 2)
    only = ("--field-selector", "involvedObject.kind=Pod")
    with kubectl.started("events", "-w") as told, kubectl.started("get", "events", "-w", *only) as shown:
        assert told.next().split()[:2] == ["LAST", "SEEN"]
        assert {told.next().split()[3] for _ in range(2)} == {"Service/web", "Pod/web-1"}
        assert shown.next().split()[:2] == ["LAST", "SEEN"]
        assert shown.next().split()[2:4] == ["EndpointReady", "pod/web-1"]
        ready(kubectl, "web-1", "False")
        assert {told.next().split()[2] for _ in range(2)} == {"EndpointNotReady"}
        assert shown.next().split()[2:4] == ["EndpointNotReady", "pod/web-1"]


def test_events_that_others_tell(kubectl: Kubectl) -> None:
    """A controller beside svcdns tells its own; the older and the newer form."""
    kubectl.apply(service("web", clusterIP="None"))
    uid = kubectl("get", "svc", "web", "-o", "jsonpath={.metadata.uid}")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "web.1", "namespace": kubectl.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Service",
            "name": "web",
            "namespace": kubectl.namespace,
            "uid": uid,
        },
        "type": "Warning",
        "reason": "Tested",
        "message": "told by a test",
        "source": {"component": "tester", "host": "here"},
        "firstTimestamp": "2020-01-01T00:00:00Z",
        "count": 3,
    }
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    newer = {key: event[key] for key in ("apiVersion", "kind", "involvedObject", "type", "reason")} | {
        "metadata": {"name": "web.2", "namespace": kubectl.namespace},
        "eventTime": now,
        "reportingComponent": "tester.example/x",
        "reportingInstance": "it",
        "action": "Testing",
        "series": {"count": 7, "lastObservedTime": now},
    }
    kubectl.apply(event, newer, command="create")
    rows = described(kubectl, "svc", "web")[2:]
    assert [row[:2] + row[3:4] for row in rows] == [
        ["Warning", "Tested", "tester"],
        ["Warning", "Tested", "tester.example/x"],
    ]
    table = kubectl.table("get", "events", "-o", "wide")[1:]
    assert [(row[3], row[5], row[8]) for row in table] == [
        ("service/web", "tester, here", "3"),
        ("service/web", "tester.example/x, it", "7"),
    ]
    wrong = {**event, "involvedObject": {**event["involvedObject"], "namespace": "elsewhere"}}
    refusal = kubectl.refused("create", "-f", "-", stdin=json.dumps(wrong | {"metadata": {"name": "web.3"}}))
    assert "involvedObject.namespace" in refusal and "does not match event.namespace" in refusal
    gone = kubectl("delete", "events", "--all").splitlines()
    assert [line.partition(" from ")[0] for line in gone] == [
        'event "web.1" deleted',
        'event "web.2" deleted',
    ]


def test_a_refused_zone_file_is_told_in_kube_system(kubectl: Kubectl) -> None:
    with RunningServer(workers=1, config='[dns]\nzones = "zones"\n') as server:
        folder = server.folder / "zones"
        folder.mkdir()
        (folder / "corp.example.zone").write_text("what is this\n")
        other = Kubectl(server.api, kubectl.folder, "kube-system", kubectl.program)
        [event] = settled(other, 1, "--field-selector", "reason=ZoneFileRefused")
        _, row = other.table("get", "events")
        assert row[1:4] == ["Warning", "ZoneFileRefused", "zonefile/corp.example.zone"]
        assert event["message"].startswith("corp.example.zone:1: ")


def test_explain_and_discovery(kubectl: Kubectl) -> None:
    assert "involvedObject" in kubectl("explain", "events")
    assert "events" in kubectl("api-resources", "--namespaced", "--verbs=watch,create", "-o", "name").split()
