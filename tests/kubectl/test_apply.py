"""apply, diff, edit and replace: manifests and what becomes of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from toolbox.builders import pod
from toolbox.running_kubectl import Kubectl, manifest, service
from toolbox.running_server import SOURCE, RunningServer

EXAMPLES = SOURCE / "examples"


def ports(kubectl: Kubectl, name: str = "web") -> list[int]:
    return [port["port"] for port in kubectl.json("get", "svc", name)["spec"]["ports"]]


def test_new_unchanged_changed(kubectl: Kubectl) -> None:
    assert kubectl.apply(service("web")) == "service/web created\n"
    revision = kubectl("get", "svc", "web", "-o", "jsonpath={.metadata.resourceVersion}")
    assert kubectl.apply(service("web")) == "service/web unchanged\n"
    assert kubectl("get", "svc", "web", "-o", "jsonpath={.metadata.resourceVersion}") == revision
    changed = service("web", ports=[{"name": "http", "port": 80, "targetPort": 9090}])
    assert kubectl.apply(changed) == "service/web configured\n"
    assert kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports[0].targetPort}") == "9090"


def test_what_leaves_the_manifest_leaves_the_object(kubectl: Kubectl) -> None:
    """A port is dropped with `$patch: delete`; an address that was allocated stays."""
    two = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    kubectl.apply(service("web", ports=two))
    address = kubectl("get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}")
    assert kubectl.apply(service("web", ports=two[:1])) == "service/web configured\n"
    assert ports(kubectl) == [80]
    assert kubectl("get", "svc", "web", "-o", "jsonpath={.spec.clusterIP}") == address


def test_what_others_set_stays(kubectl: Kubectl) -> None:
    kubectl.apply(service("web"))
    kubectl("label", "svc", "web", "added=by-hand")
    kubectl.apply(service("web", ports=[{"name": "http", "port": 8080}]))
    labels = kubectl.json("get", "svc", "web")["metadata"]["labels"]
    assert labels == {"app": "web", "added": "by-hand"}


def test_ports_keep_the_order_of_the_manifest(kubectl: Kubectl) -> None:
    kubectl.apply(service("web", ports=[{"name": "a", "port": 80}, {"name": "b", "port": 81}]))
    new = [{"name": "c", "port": 82}, {"name": "b", "port": 81}, {"name": "a", "port": 80}]
    kubectl.apply(service("web", ports=new))
    assert ports(kubectl) == [82, 81, 80]


def test_several_objects_of_several_files(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(manifest(service("a"), service("b")))
    (tmp_path / "c.json").write_text(json.dumps(pod("c", "10.1.0.1")))
    flags = ("-f", str(tmp_path / "a.yaml"), "-f", str(tmp_path / "c.json"))
    assert kubectl("apply", *flags) == "service/a created\nservice/b created\npod/c created\n"
    assert (
        kubectl("apply", "-f", str(tmp_path)) == "service/a unchanged\nservice/b unchanged\npod/c unchanged\n"
    )


def test_what_get_writes_can_be_applied(kubectl: Kubectl, web: object) -> None:
    """A manifest of kind List, and a backup that is put back."""
    listed = kubectl("get", "svc,pods", "-o", "yaml")
    assert listed.endswith('kind: List\nmetadata:\n  resourceVersion: ""\n')
    kubectl("delete", "svc,pods", "--all", "--now")
    assert kubectl("create", "-f", "-", stdin=listed) == (
        "service/web created\npod/web-1 created\npod/web-2 created\n"
    )
    wrong = {"apiVersion": "v1", "kind": "List", "items": [service("a"), service("b", nope=1)]}
    told = kubectl.run("apply", "-f", "-", stdin=manifest(wrong))
    assert told.stdout == "service/a created\n"
    assert 'strict decoding error: unknown field "spec.nope"' in told.stderr


def test_a_kustomization(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(manifest(service("web")))
    (tmp_path / "kustomization.yaml").write_text("resources: [web.yaml]\nnamePrefix: my-\n")
    assert kubectl("apply", "-k", str(tmp_path)) == "service/my-web created\n"


def test_the_examples(kubectl: Kubectl) -> None:
    """A namespace in a manifest is made before what is in it; a second time all is unchanged."""
    first = kubectl("apply", "-f", str(EXAMPLES))
    assert "namespace/infra created\nservice/dns created\n" in first
    assert {line.rpartition(" ")[2] for line in first.splitlines()} == {"created"}
    second = kubectl("apply", "-f", str(EXAMPLES))
    assert second == first.replace(" created", " unchanged")


def test_dry_run_on_the_server_stores_nothing(kubectl: Kubectl) -> None:
    told = kubectl("apply", "--dry-run=server", "-f", "-", stdin=manifest(service("web")))
    assert told == "service/web created (server dry run)\n"
    assert "NotFound" in kubectl.refused("get", "svc", "web")


@pytest.mark.parametrize("mode", ["true", "strict"])
def test_an_unknown_field_is_refused(kubectl: Kubectl, mode: str) -> None:
    told = kubectl.refused(
        "apply", f"--validate={mode}", "-f", "-", stdin=manifest(service("web", clusterIp="None"))
    )
    assert told == (
        'Error from server (BadRequest): error when creating "STDIN": '
        'Service in version "v1" cannot be handled as a Service: '
        'strict decoding error: unknown field "spec.clusterIp"\n'
    )


def test_an_unknown_field_is_a_warning_or_ignored(kubectl: Kubectl) -> None:
    wrong = manifest(service("web", clusterIp="None"))
    told = kubectl.warned("apply", "--validate=warn", "-f", "-", stdin=wrong)
    assert told == ("service/web created\n", 'Warning: unknown field "spec.clusterIp"\n')
    told = kubectl.warned("create", "--validate=ignore", "-f", "-", stdin=wrong.replace('"web"', '"web2"'))
    assert told == ("service/web2 created\n", "")


def test_what_cannot_be_is_refused_with_the_field(kubectl: Kubectl) -> None:
    told = kubectl.refused("apply", "-f", "-", stdin=manifest(service("web", type="Cluster", ports=[])))
    assert told.startswith('The Service "web" is invalid: \n* ')
    assert '* spec.type: Unsupported value: "Cluster": supported values: "ClusterIP", "ExternalName"' in told
    assert "* spec.ports: Required value" in told


def test_the_address_of_a_service_does_not_change(kubectl: Kubectl) -> None:
    kubectl.apply(service("web", clusterIP="10.96.0.245"))
    told = kubectl.refused("apply", "-f", "-", stdin=manifest(service("web", clusterIP="10.96.0.246")))
    assert told == (
        'The Service "web" is invalid: '
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.246"]: may not change once set\n'
    )


def test_diff(kubectl: Kubectl) -> None:
    kubectl.apply(service("web"))
    assert kubectl("diff", "-f", "-", stdin=manifest(service("web"))) == ""
    changed = manifest(service("web", ports=[{"name": "http", "port": 80, "targetPort": 9090}]))
    lines = kubectl.run("diff", "-f", "-", stdin=changed)
    assert lines.returncode == 1
    assert "-    targetPort: 8080\n+    targetPort: 9090\n" in lines.stdout
    new = kubectl.run("diff", "-f", "-", stdin=manifest(service("new")))
    assert "+  name: new\n" in new.stdout


def test_edit(kubectl: Kubectl, web: object) -> None:
    editor = {"KUBE_EDITOR": "sed -i 's/targetPort: 8080/targetPort: 9090/'"}
    assert kubectl("edit", "svc", "web", environ=editor) == "service/web edited\n"
    assert kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports[0].targetPort}") == "9090"
    nothing = kubectl.run("edit", "svc", "web", environ={"KUBE_EDITOR": "true"})
    assert (nothing.returncode, nothing.stderr) == (0, "Edit cancelled, no changes made.\n")


def test_an_edit_that_makes_no_sense_is_kept_in_a_file(kubectl: Kubectl, web: object) -> None:
    ended = kubectl.run("edit", "svc", "web", environ={"KUBE_EDITOR": "sed -i 's/port: 80$/port: 99999/'"})
    first, second, third = ended.stderr.splitlines()
    assert first == 'error: services "web" is invalid'
    assert second.startswith("A copy of your changes has been stored to ")
    assert third == "error: Edit cancelled, no valid changes were saved."
    kept = Path(second.split('"')[1]).read_text()
    assert '# services "web" was not valid:\n# * spec.ports[0].port: Invalid value: 99999: must be' in kept


def test_edit_of_the_status(kubectl: Kubectl, web: object) -> None:
    editor = {"KUBE_EDITOR": "sed -i 's/phase: Running/phase: Failed/'"}
    assert kubectl("edit", "pod", "web-1", "--subresource=status", environ=editor) == "pod/web-1 edited\n"
    assert kubectl("get", "pod", "web-1", "-o", "jsonpath={.status.phase}") == "Failed"


def test_set_last_applied_and_view(kubectl: Kubectl) -> None:
    kubectl.apply(service("web"))
    told = json.loads(kubectl("apply", "view-last-applied", "svc", "web", "-o", "json"))
    assert told["spec"]["selector"] == {"app": "web"}


def test_replace_keeps_what_was_allocated(kubectl: Kubectl) -> None:
    kubectl.apply(service("web"), command="create")
    before = kubectl.json("get", "svc", "web")
    assert kubectl.apply(service("web", ports=[{"port": 81}]), command="replace") == "service/web replaced\n"
    after = kubectl.json("get", "svc", "web")
    assert (after["spec"]["clusterIP"], ports(kubectl)) == (before["spec"]["clusterIP"], [81])
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_replace_by_force_is_a_new_object(kubectl: Kubectl) -> None:
    kubectl.apply(service("web"), command="create")
    uid = kubectl("get", "svc", "web", "-o", "jsonpath={.metadata.uid}")
    told = kubectl("replace", "--force", "-f", "-", stdin=manifest(service("web")))
    assert told == f'service "web" deleted from {kubectl.namespace} namespace\nservice/web replaced\n'
    assert kubectl("get", "svc", "web", "-o", "jsonpath={.metadata.uid}") != uid


def test_replace_of_an_older_state_is_a_conflict(kubectl: Kubectl) -> None:
    kubectl.apply(service("web"), command="create")
    old: dict[str, Any] = kubectl.json("get", "svc", "web")
    kubectl("label", "svc", "web", "newer=yes")
    told = kubectl.refused("replace", "-f", "-", stdin=manifest(old))
    assert told == (
        'Error from server (Conflict): error when replacing "STDIN": Operation cannot be fulfilled on '
        'services "web": the object has been modified; please apply your changes to the latest version '
        "and try again\n"
    )


def test_replace_of_what_is_not_there(kubectl: Kubectl) -> None:
    assert kubectl("replace", "-f", "-", stdin=manifest(service("web"))) == "service/web replaced\n"
    assert kubectl.json("get", "service", "web")["metadata"]["uid"]
    told = kubectl.refused("replace", "-f", "-", stdin=manifest(pod("web-1")))
    assert told == 'Error from server (NotFound): error when replacing "STDIN": pods "web-1" not found\n'


def test_prune_needs_a_list_of_kinds(kubectl: Kubectl, server: RunningServer) -> None:
    """Without one kubectl asks for all kinds that Kubernetes has; with one it prunes."""
    kubectl.apply(service("old"), service("web"))
    flags = ("apply", "--prune", "-l", "app", "-f", "-", "-n", kubectl.namespace)
    told, _ = kubectl.warned(*flags, "--prune-allowlist=core/v1/Service", stdin=manifest(service("web")))
    assert told == "service/web unchanged\nservice/old pruned\n"


def test_a_namespace_that_is_not_there(kubectl: Kubectl) -> None:
    told = kubectl.refused("-n", "nowhere", "apply", "-f", "-", stdin=manifest(service("web")))
    assert told == (
        'Error from server (NotFound): error when creating "STDIN": namespaces "nowhere" not found\n'
    )
