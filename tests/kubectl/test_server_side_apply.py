"""apply --server-side: owners of fields, conflicts, and the way there from client-side apply."""

import json
from typing import Any

from toolbox.builders import pod
from toolbox.running_kubectl import Kubectl, manifest, service
from toolbox.running_server import RunningServer

SERVER_SIDE = ("apply", "--server-side", "-f", "-")
PORT_80 = 'k:{"port":80,"protocol":"TCP"}'
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def applied(kubectl: Kubectl, obj: dict[str, Any], *flags: str) -> str:
    return kubectl(*SERVER_SIDE, *flags, stdin=manifest(obj))


def port(number: int, **fields: Any) -> dict[str, Any]:
    return {"name": f"p{number}", "port": number, **fields}


def owners(kubectl: Kubectl, name: str = "web", kind: str = "svc") -> dict[tuple[str, str], Any]:
    found = kubectl.json("get", kind, name, "--show-managed-fields")["metadata"].get("managedFields", [])
    return {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in found}


def ports(kubectl: Kubectl) -> dict[int, Any]:
    listed = kubectl.json("get", "svc", "web")["spec"]["ports"]
    return {each["port"]: each["targetPort"] for each in listed}


def test_new_unchanged_changed(kubectl: Kubectl) -> None:
    assert applied(kubectl, service("web")) == "service/web serverside-applied\n"
    before = kubectl.json("get", "svc", "web", "--show-managed-fields")
    assert applied(kubectl, service("web")) == "service/web serverside-applied\n"
    assert kubectl.json("get", "svc", "web", "--show-managed-fields") == before
    applied(kubectl, service("web", ports=[port(80, targetPort=9090)]))
    assert ports(kubectl) == {80: 9090}


def test_owners_are_shown_when_asked_for(kubectl: Kubectl) -> None:
    applied(kubectl, service("web"))
    assert "managedFields" not in kubectl("get", "svc", "web", "-o", "yaml")
    assert owners(kubectl) == {
        ("kubectl", "Apply"): {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:ports": {PORT_80: {".": {}, "f:name": {}, "f:port": {}, "f:targetPort": {}}},
                "f:selector": {},
            },
        }
    }


def test_what_leaves_the_manifest_leaves_the_object(kubectl: Kubectl) -> None:
    applied(kubectl, service("web", ports=[port(80), port(81)], type="NodePort"))
    address = kubectl.json("get", "svc", "web")["spec"]["clusterIP"]
    applied(kubectl, service("web", ports=[port(81)]))
    spec = kubectl.json("get", "svc", "web")["spec"]
    assert (ports(kubectl), spec["type"], spec["clusterIP"]) == ({81: 81}, "ClusterIP", address)
    assert "nodePort" not in spec["ports"][0]


def test_two_managers_own_different_ports(kubectl: Kubectl) -> None:
    applied(kubectl, service("web", ports=[port(80)]))
    second = {**service("web"), "metadata": {"name": "web"}, "spec": {"ports": [port(81)]}}
    applied(kubectl, second, "--field-manager=metrics")
    assert ports(kubectl) == {80: 80, 81: 81}
    applied(kubectl, service("web", ports=[port(82)]))
    assert ports(kubectl) == {81: 81, 82: 82}
    applied(kubectl, {**second, "spec": {}}, "--field-manager=metrics")
    assert ports(kubectl) == {82: 82}
    assert set(owners(kubectl)) == {("kubectl", "Apply")}


def test_a_conflict_and_force(kubectl: Kubectl) -> None:
    applied(kubectl, service("web", ports=[port(80, targetPort=1)]))
    told = kubectl.refused(
        *SERVER_SIDE,
        "--field-manager=other",
        stdin=manifest(service("web", ports=[port(80, targetPort=2)])),
    )
    first, *rest = told.split("\n")
    field = '.spec.ports[port=80,protocol="TCP"].targetPort'
    assert first == f'error: Apply failed with 1 conflict: conflict with "kubectl": {field}'
    assert "--force-conflicts" in "\n".join(rest)
    assert ports(kubectl) == {80: 1}
    flags = ("--field-manager=other", "--force-conflicts")
    applied(kubectl, service("web", ports=[port(80, targetPort=2)]), *flags)
    assert ports(kubectl) == {80: 2}
    assert "f:targetPort" not in owners(kubectl)["kubectl", "Apply"]["f:spec"]["f:ports"][PORT_80]


def test_a_conflict_with_a_write_that_was_no_apply(kubectl: Kubectl) -> None:
    kubectl.apply(service("web", type="ClusterIP"), command="create")
    kubectl("label", "svc", "web", "tier=front")
    other = service("web", type="NodePort")
    other["metadata"]["labels"]["tier"] = "back"
    told = kubectl.refused(*SERVER_SIDE, stdin=manifest(other))
    assert told.startswith("error: Apply failed with 2 conflicts: ")
    assert 'conflicts with "kubectl-create" using v1 at ' in told and "- .spec.type" in told
    assert 'conflicts with "kubectl-label" using v1 at ' in told and "- .metadata.labels.tier" in told


def test_after_client_side_apply(kubectl: Kubectl) -> None:
    """One command takes over: what was applied on the client's side and is not applied any more goes."""
    kubectl.apply(service("web", ports=[port(80, targetPort=8080), port(81)]))
    assert ("kubectl-client-side-apply", "Update") in owners(kubectl)
    applied(kubectl, service("web", ports=[port(80, targetPort=9090)]))
    assert ports(kubectl) == {80: 9090}
    found = owners(kubectl)
    assert set(found) == {("kubectl", "Apply"), ("kubectl-last-applied", "Apply")}
    text = kubectl.json("get", "svc", "web")["metadata"]["annotations"][LAST_APPLIED]
    assert json.loads(text)["spec"]["ports"] == [port(80, targetPort=9090)]
    applied(kubectl, service("web", ports=[port(82)]))
    assert ports(kubectl) == {82: 82}


def test_and_back_to_client_side_apply(kubectl: Kubectl) -> None:
    applied(kubectl, service("web", ports=[port(80)]))
    out, err = kubectl.warned("apply", "-f", "-", stdin=manifest(service("web", ports=[port(80), port(81)])))
    assert out == "service/web configured\n" and LAST_APPLIED in err
    assert ports(kubectl) == {80: 80, 81: 81}
    assert kubectl.apply(service("web", ports=[port(81)])) == "service/web configured\n"
    assert ports(kubectl) == {81: 81}


def test_a_pod_and_its_status(kubectl: Kubectl, server: RunningServer) -> None:
    """One apply registers a Pod with its address; the manifest without a status leaves that."""
    applied(kubectl, service("web", clusterIP="None"))
    name = f"web.{kubectl.namespace}.svc.cluster.local"
    assert applied(kubectl, pod("web-1", "10.7.0.1")) == "pod/web-1 serverside-applied\n"
    assert server.answers(name) == ["10.7.0.1"]
    plain = {key: value for key, value in pod("web-1", "").items() if key != "status"}
    applied(kubectl, plain)
    assert server.answers(name) == ["10.7.0.1"]
    applied(kubectl, pod("web-1", "10.7.0.2"))
    assert server.answers(name) == ["10.7.0.2"]


def test_status_is_applied_by_itself(kubectl: Kubectl) -> None:
    kubectl.apply(pod("web-1", "10.7.0.1"))
    since = "2026-01-02T03:04:05Z"
    ready = {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": since}]}
    config = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1"}, "status": ready}
    applied(kubectl, config, "--subresource=status", "--field-manager=prober")
    found = kubectl.json("get", "pod", "web-1", "--show-managed-fields")
    served, *_ = found["status"]["conditions"]
    assert served == {**ready["conditions"][0], "reason": "AsReported"}
    entry = next(each for each in found["metadata"]["managedFields"] if each["manager"] == "prober")
    assert entry["subresource"] == "status"


def test_a_dry_run(kubectl: Kubectl) -> None:
    flags = ("--dry-run=server", "-o", "jsonpath={.spec.clusterIP}")
    assert applied(kubectl, service("web"), *flags)
    assert kubectl("get", "svc", "-o", "name") == ""


def test_diff(kubectl: Kubectl) -> None:
    applied(kubectl, service("web"))
    assert kubectl("diff", "--server-side", "-f", "-", stdin=manifest(service("web"))) == ""
    ended = kubectl.run("diff", "--server-side", "-f", "-", stdin=manifest(service("web", type="NodePort")))
    assert ended.returncode == 1 and "+  type: NodePort" in ended.stdout


def test_unknown_fields(kubectl: Kubectl) -> None:
    told = kubectl.refused(*SERVER_SIDE, stdin=manifest(service("web", nope=1)))
    assert 'strict decoding error: unknown field "spec.nope"' in told
    assert kubectl("get", "svc", "-o", "name") == ""


def test_every_kind(kubectl: Kubectl) -> None:
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "own", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.7.0.9"]}],
        "ports": [{"port": 80}],
    }
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{kubectl.namespace}-b"}}
    for obj in (endpoint_slice, space):
        for _ in range(2):
            assert applied(kubectl, obj).endswith(" serverside-applied\n")
    fields = owners(kubectl, "own", "endpointslice")["kubectl", "Apply"]
    assert fields["f:endpoints"] == {} and fields["f:ports"] == {}
    kubectl("delete", "namespace", space["metadata"]["name"])  # type: ignore[index]
