"""delete, in every form, and what is gone with it."""

import json
from pathlib import Path

from toolbox.builders import pod
from toolbox.running_kubectl import Kubectl, manifest, service
from toolbox.running_server import RunningServer

NOT_WAITED = (
    "Warning: Immediate deletion does not wait for confirmation that the running resource has been "
    "terminated. The resource may continue to run on the cluster indefinitely.\n"
)


def deleted(kubectl: Kubectl, *names: str) -> str:
    """What kubectl says of objects in the test's namespace: `service/web` as its own words."""
    parts = (name.partition("/") for name in names)
    return "".join(f'{kind} "{name}" deleted from {kubectl.namespace} namespace\n' for kind, _, name in parts)


def test_by_name(kubectl: Kubectl, server: RunningServer, web: object) -> None:
    assert kubectl("delete", "svc", "web") == deleted(kubectl, "service/web")
    assert "NotFound" in kubectl.refused("get", "svc", "web")
    assert server.answers(f"web.{kubectl.namespace}.svc.cluster.local") == []
    told = kubectl.refused("delete", "svc", "web")
    assert told == 'Error from server (NotFound): services "web" not found\n'
    told = kubectl.warned("delete", "svc", "web", "--ignore-not-found")
    assert told == ("", "")


def test_a_pod_at_once(kubectl: Kubectl, web: object) -> None:
    assert kubectl("delete", "pod", "web-1", "--now") == deleted(kubectl, "pod/web-1")
    told = kubectl.warned("delete", "pod", "web-2", "--grace-period=0", "--force")
    assert told == (f'pod "web-2" force deleted from {kubectl.namespace} namespace\n', NOT_WAITED)
    assert kubectl("get", "pods", "-o", "name") == ""


def test_a_pod_with_grace(kubectl: Kubectl, server: RunningServer, web: object) -> None:
    """It leaves DNS at once and the registry when its time is over."""
    kubectl("delete", "svc", "web")
    kubectl.apply(service("web", clusterIP="None"))
    kubectl("delete", "pod", "web-1", "--grace-period=600", "--wait=false")
    assert server.answers(f"web.{kubectl.namespace}.svc.cluster.local") == ["10.1.0.2"]
    metadata = kubectl.json("get", "pod", "web-1")["metadata"]
    assert metadata["deletionGracePeriodSeconds"] == 600
    kubectl.warned("delete", "pod", "web-1", "--grace-period=0", "--force")
    assert kubectl("get", "pods", "-o", "name") == "pod/web-2\n"


def test_by_label_and_all(kubectl: Kubectl) -> None:
    kubectl.apply(service("a"), service("b"), service("c"))
    assert kubectl("delete", "svc", "-l", "app=b") == deleted(kubectl, "service/b")
    assert kubectl("delete", "svc", "--all") == deleted(kubectl, "service/a", "service/c")
    assert kubectl("delete", "svc", "--all") == "No resources found\n"


def test_several_kinds(kubectl: Kubectl, web: object) -> None:
    told = kubectl("delete", "pods,services", "-l", "app=web", "--now")
    assert told == deleted(kubectl, "pod/web-1", "pod/web-2", "service/web")
    assert kubectl.warned("get", "all")[0] == ""


def test_of_a_manifest(kubectl: Kubectl, tmp_path: Path) -> None:
    file = tmp_path / "web.json"
    file.write_text(manifest(service("web"), pod("web-1", "10.1.0.1")))
    kubectl("apply", "-f", str(file))
    told = kubectl("delete", "-f", str(file), "--now")
    assert told == deleted(kubectl, "service/web", "pod/web-1")


def test_as_a_dry_run(kubectl: Kubectl, web: object) -> None:
    told = kubectl("delete", "svc", "web", "--dry-run=server")
    assert told == deleted(kubectl, "service/web").replace(" namespace\n", " namespace (server dry run)\n")
    assert kubectl("get", "svc", "-o", "name") == "service/web\n"


def test_a_namespace_with_all_that_is_in_it(kubectl: Kubectl, server: RunningServer) -> None:
    name = f"{kubectl.namespace}-x"
    assert server.post("/api/v1/namespaces", {"metadata": {"name": name}}).status == 201
    kubectl("-n", name, "apply", "-f", "-", stdin=manifest(service("web"), pod("web-1", "10.1.0.1")))
    assert server.answers(f"web.{name}.svc.cluster.local") != []
    assert kubectl("delete", "namespace", name) == f'namespace "{name}" deleted\n'
    assert kubectl.warned("-n", name, "get", "svc,pods,endpointslices,endpoints", "-o", "name")[0] == ""
    assert server.answers(f"web.{name}.svc.cluster.local") == []
    told = kubectl.refused("-n", name, "create", "-f", "-", stdin=json.dumps(service("web")))
    assert f'namespaces "{name}" not found' in told


def test_namespaces_that_stay(kubectl: Kubectl) -> None:
    told = kubectl.refused("delete", "ns", "default")
    reason = 'namespaces "default" is forbidden: this namespace may not be deleted'
    assert told == f"Error from server (Forbidden): {reason}\n"


def test_what_svcdns_makes_comes_and_goes_with_its_service(kubectl: Kubectl, web: object) -> None:
    name = kubectl("get", "endpointslices", "-o", "name").strip()
    assert kubectl.refused("delete", name).startswith("Error from server (Forbidden): ")
    kubectl("delete", "svc", "web")
    assert kubectl("get", "endpointslices", "-o", "name") == ""
