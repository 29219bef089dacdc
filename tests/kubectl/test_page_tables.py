"""docs/kubectl.md: what its table and lists say that is not there, or differs from a kube-apiserver."""

import re
from typing import Any

import pytest
from toolbox.running_kubectl import Kubectl
from toolbox.running_server import SOURCE

PAGE = (SOURCE / "docs" / "kubectl.md").read_text()

RUN_AS = {
    "logs": "logs web-1",
    "exec": "exec web-1 -- true",
    "attach": "attach web-1",
    "port-forward": "port-forward web-1 0:80",
    "cp": "cp web-1:/etc/hosts copy-of-hosts",
    "debug": "debug web-1 --image=busybox",
    "scale": "scale deployment/web --replicas=2",
    "rollout": "rollout status deployment/web",
    "autoscale": "autoscale deployment web --max=2",
    "top": "top pods",
    "create token": "create token default",
    "create role": "create role reader --verb=get --resource=pods",
    "create serviceaccount": "create serviceaccount robot",
    "apply --prune": "apply --prune -l app=web -f -",
    "explain --output=plaintext-openapiv2": "explain pods --output=plaintext-openapiv2",
}
"""How the commands of the table are run; one that is not here is run as it stands."""

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: pruned, labels: {app: web}}
spec: {ports: [{port: 1}]}
"""


def not_there() -> list[tuple[str, str]]:
    """Return (command, what it says) of the table "What is not there"."""
    table = PAGE.split("## What is not there")[1].split("\n\nAnd what differs")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", table, re.MULTILINE)[1:]
    return [(command, said) for commands, said in rows for command in re.findall(r"`([^`]+)`", commands)]


@pytest.mark.parametrize(("command", "said"), not_there())
def test_what_is_not_there_says_what_the_page_says(
    kubectl: Kubectl, web: object, command: str, said: str
) -> None:
    message = re.match(r"`([^`]+)`", said)
    assert message, f"{command}: the table says no message"
    ended = kubectl.run(*RUN_AS.get(command, command).split(), stdin=SERVICE)
    assert message[1] in ended.stderr
    assert ended.returncode != 0


def test_the_table_has_its_rows() -> None:
    assert {"logs", "get configmaps", "top", "apply --prune"} <= {command for command, _ in not_there()}


def test_endpoints_of_a_service_with_a_selector_follow_from_its_pods(kubectl: Kubectl, web: object) -> None:
    assert "Forbidden" in kubectl.refused("label", "endpoints", "web", "a=b")
    assert "Forbidden" in kubectl.refused("delete", "endpoints", "web")


def test_slices_that_svcdns_makes_stay(kubectl: Kubectl, web: object) -> None:
    (name,) = kubectl("get", "endpointslices", "-o", "name").split()
    assert "Forbidden" in kubectl.refused("label", name, "a=b")


def test_prune_with_an_allowlist(kubectl: Kubectl) -> None:
    prune = ("apply", "--prune", "--prune-allowlist=core/v1/Service", "-l", "app=web", "-f", "-")
    assert kubectl(*prune, stdin=SERVICE) == "service/pruned created\n"
    assert "service/pruned pruned" in kubectl(*prune, stdin=SERVICE.replace("name: pruned", "name: kept"))


def test_only_a_grace_period_in_the_deletion_counts(kubectl: Kubectl, web: object) -> None:
    patch = '{"spec": {"terminationGracePeriodSeconds": 3600}}'
    kubectl("patch", "pod", "web-1", "-p", patch)
    kubectl("delete", "pod", "web-1")
    assert kubectl("get", "pods", "-o", "name") == "pod/web-2\n"


# Beside a kube-apiserver


def test_debug_says_that_there_are_no_ephemeral_containers(kubectl: Kubectl, web: object) -> None:
    assert "ephemeral containers are disabled" in kubectl.refused("debug", "web-1", "--image=busybox")
    kubectl("debug", "web-1", "--image=busybox", "--copy-to=web-copy", "--container=debugger")
    assert "pod/web-copy" in kubectl("get", "pods", "-o", "name").split()


def test_describe_shows_defaults(kubectl: Kubectl, web: object) -> None:
    shown = kubectl("describe", "pod", "web-1")
    assert "node.kubernetes.io/unreachable:NoExecute" in shown and "QoS Class:" in shown


def test_explain_shows_enums(kubectl: Kubectl) -> None:
    shown = kubectl("explain", "service.spec.type")
    assert "ENUM:" in shown and "ClusterIP" in shown


def test_replace_with_an_older_export_brings_its_addresses_back_and_no_computed_ready(
    kubectl: Kubectl, web: object
) -> None:
    def ready() -> str:
        return kubectl("get", "pod", "web-1", "--no-headers").split()[1]

    export = kubectl("get", "pod", "web-1", "-o", "yaml")
    assert ready() == "1/1"
    condition: dict[str, Any] = {"type": "Ready", "status": "False"}
    kubectl(
        "patch",
        "pod",
        "web-1",
        "--subresource=status",
        "-p",
        f'{{"status": {{"conditions": [{condition}]}}}}'.replace("'", '"'),
    )
    assert ready() == "0/1"
    export = re.sub(r"\n  resourceVersion: .*", "", export).replace("10.1.0.1", "10.1.0.9")
    kubectl("replace", "-f", "-", stdin=export)
    assert kubectl.json("get", "pod", "web-1")["status"]["podIP"] == "10.1.0.9"
    assert ready() == "0/1", "that it was taken for ready then is nobody's report"
