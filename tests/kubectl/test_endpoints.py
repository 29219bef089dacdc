"""Endpoints that somebody writes with kubectl, and what it shows of them."""

import json
import re
import sys
from pathlib import Path
from typing import Any

from toolbox.builders import endpoints
from toolbox.running_kubectl import Kubectl, manifest, service

LEGACY = service("legacy", selector={}, clusterIP="None", ipFamilyPolicy="SingleStack")


def slice_addresses(kubectl: Kubectl) -> list[str]:
    items = kubectl.json("get", "endpointslices")["items"]
    return [address for item in items for each in item["endpoints"] for address in each["addresses"]]


def test_apply_a_service_with_its_endpoints(kubectl: Kubectl) -> None:
    """Created, unchanged, configured, and deleted again by the same file."""
    port = {
        "name": "http",
        "port": 8080,
        "protocol": "TCP",
    }  # a list is compared as a whole, defaults included
    both = (LEGACY, endpoints("legacy", "192.0.2.1", "192.0.2.2", ports=[port]))
    assert kubectl.apply(*both) == "service/legacy created\nendpoints/legacy created\n"
    assert kubectl.apply(*both) == "service/legacy unchanged\nendpoints/legacy unchanged\n"
    assert slice_addresses(kubectl) == ["192.0.2.1", "192.0.2.2"]
    other = endpoints("legacy", "192.0.2.3", ports=[port])
    assert kubectl.apply(other) == "endpoints/legacy configured\n"
    assert slice_addresses(kubectl) == ["192.0.2.3"]
    assert kubectl("diff", "-f", "-", stdin=manifest(other)) == ""
    gone = kubectl("delete", "-f", "-", stdin=manifest(*both))
    space = f"from {kubectl.namespace} namespace"
    assert gone == f'service "legacy" deleted {space}\nendpoints "legacy" deleted {space}\n'
    assert slice_addresses(kubectl) == []


def test_get_and_describe(kubectl: Kubectl) -> None:
    subset: dict[str, Any] = {
        "addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}],
        "notReadyAddresses": [{"ip": "192.0.2.9"}],
        "ports": [{"name": "http", "port": 8080}, {"name": "dns", "port": 53, "protocol": "UDP"}],
    }
    kubectl.apply(LEGACY, endpoints("legacy", labels={"tier": "front"}) | {"subsets": [subset]})
    rows = kubectl.table("get", "endpoints")
    assert [row[:2] for row in rows] == [
        ["NAME", "ENDPOINTS"],
        ["legacy", "192.0.2.1:8080,[2001:db8::1]:8080,192.0.2.1:53 + 1 more..."],
    ]
    told = kubectl("describe", "endpoints", "legacy").replace(kubectl.namespace, "NAMESPACE")
    assert re.sub(r"(?m)[ \t]+$", "", told) == (
        "Name:         legacy\n"
        "Namespace:    NAMESPACE\n"
        "Labels:       tier=front\n"
        "Annotations:  <none>\n"
        "Subsets:\n"
        "  Addresses:          192.0.2.1,2001:db8::1\n"
        "  NotReadyAddresses:  192.0.2.9\n"
        "  Ports:\n"
        "    Name  Port  Protocol\n"
        "    ----  ----  --------\n"
        "    http  8080  TCP\n"
        "    dns   53    UDP\n"
        "\n"
        "Events:  <none>\n"
    )
    served = kubectl("describe", "service", "legacy")
    (listed,) = re.findall(r"(?m)^Endpoints: +(.*)", served)
    assert "192.0.2.1:" in listed, "in the order of the slices' names"


def test_create_patch_edit_and_replace(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl.apply(LEGACY)
    made = kubectl("create", "-f", "-", stdin=manifest(endpoints("legacy", "192.0.2.1")))
    assert made == "endpoints/legacy created\n"
    patch = json.dumps({"subsets": [{"addresses": [{"ip": "192.0.2.2"}]}]})
    assert kubectl("patch", "endpoints", "legacy", "-p", patch) == "endpoints/legacy patched\n"
    assert slice_addresses(kubectl) == ["192.0.2.2"]
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "file.write_text(file.read_text().replace('192.0.2.2', '192.0.2.3'))\n"
    )
    environ = {"KUBE_EDITOR": f"{sys.executable} {editor}"}
    assert kubectl("edit", "endpoints", "legacy", environ=environ) == "endpoints/legacy edited\n"
    assert slice_addresses(kubectl) == ["192.0.2.3"]
    assert kubectl("label", "ep", "legacy", "tier=front") == "endpoints/legacy labeled\n"
    new = manifest(endpoints("legacy", "192.0.2.4"))
    assert kubectl("replace", "-f", "-", stdin=new) == "endpoints/legacy replaced\n"
    assert slice_addresses(kubectl) == ["192.0.2.4"]
    both = manifest(LEGACY, endpoints("legacy", "192.0.2.5"))
    assert kubectl("replace", "--force", "-f", "-", stdin=both).endswith("endpoints/legacy replaced\n")
    assert slice_addresses(kubectl) == ["192.0.2.5"]


def test_apply_on_the_server(kubectl: Kubectl) -> None:
    for address in ("192.0.2.1", "192.0.2.2"):
        told = kubectl(
            "apply", "--server-side", "-f", "-", stdin=manifest(LEGACY, endpoints("legacy", address))
        )
        assert told == "service/legacy serverside-applied\nendpoints/legacy serverside-applied\n"
        assert slice_addresses(kubectl) == [address]


def test_the_endpoints_of_pods_are_not_for_others(kubectl: Kubectl, web: object) -> None:
    told = kubectl.refused("apply", "-f", "-", stdin=manifest(endpoints("web", "192.0.2.1")))
    assert "(Forbidden)" in told or "is forbidden" in told
    assert "register Pods, or take the selector away" in told
    told = kubectl.refused("delete", "endpoints", "web")
    assert told.startswith('Error from server (Forbidden): endpoints "web" is forbidden: ')
