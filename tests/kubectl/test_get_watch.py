"""get -w: a table that grows."""

import json

from toolbox.builders import pod
from toolbox.running_kubectl import Kubectl, service
from toolbox.running_server import RunningServer


def test_a_table_that_grows(kubectl: Kubectl, web: object) -> None:
    with kubectl.started("get", "pods", "-w") as lines:
        head, first, second = lines.take(3)
        assert head.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
        assert (first.split()[0], second.split()[0]) == ("web-1", "web-2")
        kubectl.apply(pod("web-3", "10.1.0.3"))
        assert lines.next().split()[:3] == ["web-3", "1/1", "Running"]
        status = '{"status":{"conditions":[{"type":"Ready","status":"False"}]}}'
        kubectl("patch", "pod", "web-3", "--subresource=status", "-p", status)
        assert lines.next().split()[:3] == ["web-3", "0/1", "Running"]
        kubectl("delete", "pod", "web-3", "--now", "--wait=false")
        assert lines.next().split()[:3] == ["web-3", "0/1", "Terminating"]


def test_only_what_is_new(kubectl: Kubectl, web: object) -> None:
    with kubectl.started("get", "svc", "--watch-only", "-o", "name") as lines:
        rounds = 0
        while (line := lines.poll(0.2)) is None:  # nothing says when the watch has begun
            rounds += 1
            kubectl("label", "svc", "web", f"round={rounds}", "--overwrite")
        assert line == "service/web"


def test_one_object(kubectl: Kubectl, web: object) -> None:
    """A watch with a field selector on the name; others are not seen."""
    flags = ("--output-watch-events", "-o", "jsonpath={.type} {.object.metadata.labels.round}{'\\n'}")
    with kubectl.started("get", "pod", "web-2", "-w", *flags) as lines:
        assert lines.next() == "ADDED "
        kubectl("label", "pod", "web-1", "round=1")
        kubectl("label", "pod", "web-2", "round=2")
        assert lines.next() == "MODIFIED 2"
        kubectl.warned("delete", "pod", "web-2", "--grace-period=0", "--force")
        assert lines.next() == "DELETED 2"


def test_entering_and_leaving_a_selection(kubectl: Kubectl, web: object) -> None:
    flags = ("--output-watch-events", "-o", "jsonpath={.type} {.object.metadata.name}{'\\n'}")
    with kubectl.started("get", "pods", "-l", "tier=front", "-w", *flags) as lines:
        kubectl("label", "pod", "web-1", "tier=front")
        assert lines.next() == "ADDED web-1"
        kubectl("annotate", "pod", "web-1", "note=yes")
        assert lines.next() == "MODIFIED web-1"
        kubectl("label", "pod", "web-1", "tier=back", "--overwrite")
        assert lines.next() == "DELETED web-1"


def test_all_namespaces(kubectl: Kubectl, server: RunningServer) -> None:
    name = f"{kubectl.namespace}-x"
    with kubectl.started("get", "svc", "-A", "-w", "--no-headers", "-l", f"of={name}") as lines:
        assert server.post("/api/v1/namespaces", {"metadata": {"name": name}}).status == 201
        made = service("web")
        made["metadata"]["labels"] = {"of": name}
        kubectl("-n", name, "apply", "-f", "-", stdin=json.dumps(made))
        assert lines.next().split()[:3] == [name, "web", "ClusterIP"]
    server.delete(f"/api/v1/namespaces/{name}")


def test_endpoints(kubectl: Kubectl, web: object) -> None:
    """The view of core/v1 Endpoints can be watched as if it were stored."""
    with kubectl.started("get", "endpoints", "-w", "--no-headers") as lines:
        assert lines.next().split()[:2] == ["web", "10.1.0.1:8080,10.1.0.2:8080"]
        kubectl("delete", "pod", "web-1", "--now")
        assert lines.next().split()[:2] == ["web", "10.1.0.2:8080"]
        kubectl("delete", "svc", "web")
        shown = lines.next().split()[:2]
        while shown[1] == "10.1.0.2:8080":  # of the Pod again: terminating, then gone
            shown = lines.next().split()[:2]
        assert shown == ["web", "<none>"]
