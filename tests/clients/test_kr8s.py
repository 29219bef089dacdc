"""kr8s: objects with methods, over its own discovery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toolbox.running_server import RunningServer

kr8s = pytest.importorskip("kr8s")

pytestmark = pytest.mark.filterwarnings("ignore:Kubernetes version")

from kr8s.objects import Namespace, Pod, Service  # noqa: E402


@pytest.fixture
def api(server: RunningServer, tmp_path: Path, namespace: str) -> Any:
    """A client from a kubeconfig, as users have one."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "svcdns", "cluster": {"server": server.api}}],
        "users": [{"name": "tester", "user": {}}],
        "contexts": [
            {"name": "svcdns", "context": {"cluster": "svcdns", "user": "tester", "namespace": namespace}}
        ],
        "current-context": "svcdns",
    }
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    return kr8s.api(kubeconfig=str(file))


def service(api: Any, namespace: str) -> Any:
    spec = {"ports": [{"name": "http", "port": 80}], "selector": {"app": "web"}}
    metadata = {"name": "web", "namespace": namespace, "labels": {"app": "web"}}
    return Service({"metadata": metadata, "spec": spec}, api=api)


def pod(api: Any, namespace: str, name: str, ip: str = "") -> Any:
    metadata = {"name": name, "namespace": namespace, "labels": {"app": "web"}}
    body: dict[str, Any] = {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "none"}]}}
    if ip:  # kr8s wants both conditions, as a kubelet sets them
        ready = [{"type": word, "status": "True"} for word in ("ContainersReady", "Ready")]
        body["status"] = {"podIP": ip, "conditions": ready}
    return Pod(body, api=api)


def test_version_and_discovery(api: Any) -> None:
    assert api.version()["minor"] == "37"
    assert {"services", "endpointslices"} <= {resource["name"] for resource in api.api_resources()}


def test_create_read_patch_delete(api: Any, namespace: str) -> None:
    made = service(api, namespace)
    made.create()
    assert made.raw["spec"]["clusterIP"].startswith("10.")
    made.patch({"metadata": {"labels": {"tier": "front"}}})
    assert Service.get("web", namespace=namespace, api=api).labels["tier"] == "front"
    made.label(x="y")
    made.refresh()
    assert made.labels == {"app": "web", "tier": "front", "x": "y"}
    made.delete()
    assert not made.exists()


def test_list(api: Any, namespace: str) -> None:
    for number in range(3):
        pod(api, namespace, f"p{number}").create()
    found = [item.name for item in api.get("pods", namespace=namespace, label_selector={"app": "web"})]
    assert found == ["p0", "p1", "p2"]
    assert namespace in [item.name for item in api.get("namespaces")]


def test_wait(api: Any, namespace: str) -> None:
    made = pod(api, namespace, "p", "10.1.0.1")
    made.create()
    made.wait("condition=Ready", timeout=30)
    assert made.ready()


def test_the_pods_of_a_service(api: Any, namespace: str) -> None:
    made = service(api, namespace)
    made.create()
    pod(api, namespace, "p", "10.1.0.1").create()
    assert [item.name for item in made.ready_pods()] == ["p"]


def test_watch(api: Any, namespace: str) -> None:
    pod(api, namespace, "p0").create()
    seen = []
    for event, item in api.watch("pods", namespace=namespace):
        seen.append((event, item.name))
        if len(seen) == 1:
            pod(api, namespace, "p1").create()
        else:
            break
    assert seen == [("ADDED", "p0"), ("ADDED", "p1")]


def test_not_found(api: Any, namespace: str) -> None:
    with pytest.raises(kr8s.NotFoundError):
        Service.get("nope", namespace=namespace, api=api)


def test_a_namespace(api: Any, namespace: str) -> None:
    made = Namespace({"metadata": {"name": f"{namespace}-x"}}, api=api)
    made.create()
    assert made.exists()
    made.delete()
