"""The official Python client: typed, dynamic, watch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from toolbox.running_server import RunningServer

kubernetes = pytest.importorskip("kubernetes")

from kubernetes import client, dynamic, utils, watch  # noqa: E402
from kubernetes.client.exceptions import ApiException  # noqa: E402


@pytest.fixture
def api(server: RunningServer) -> Iterator[Any]:
    """An ApiClient with nothing but the server's address."""
    with client.ApiClient(client.Configuration(host=server.api)) as made:
        yield made


@pytest.fixture
def core(api: Any) -> Any:
    return client.CoreV1Api(api)


def service(name: str = "web") -> Any:
    return client.V1Service(
        metadata=client.V1ObjectMeta(name=name, labels={"app": name}),
        spec=client.V1ServiceSpec(
            selector={"app": name}, ports=[client.V1ServicePort(name="http", port=80, target_port=8080)]
        ),
    )


def pod(name: str, ip: str = "", app: str = "web") -> Any:
    return client.V1Pod(
        metadata=client.V1ObjectMeta(name=name, labels={"app": app}),
        spec=client.V1PodSpec(containers=[client.V1Container(name="main", image="none")]),
        status=client.V1PodStatus(pod_ip=ip) if ip else None,
    )


def refusal(call: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[int, str]:
    with pytest.raises(ApiException) as caught:
        call(*arguments, **named)
    return caught.value.status, caught.value.reason


def test_version(api: Any) -> None:
    assert client.VersionApi(api).get_code().minor == "37"


def test_create_read_list_delete(core: Any, namespace: str) -> None:
    made = core.create_namespaced_service(namespace, service())
    assert made.spec.cluster_ip.startswith("10.")
    assert core.read_namespaced_service("web", namespace).metadata.uid == made.metadata.uid
    listed = core.list_namespaced_service(namespace, label_selector="app=web")
    assert [item.metadata.name for item in listed.items] == ["web"]
    everywhere = core.list_service_for_all_namespaces(field_selector=f"metadata.namespace={namespace}")
    assert len(everywhere.items) == 1
    deleted = core.delete_namespaced_service("web", namespace)
    assert deleted.metadata.name == "web"
    assert refusal(core.read_namespaced_service, "web", namespace) == (404, "Not Found")


def test_registered_through_the_client_answered_in_dns(
    core: Any, namespace: str, server: RunningServer
) -> None:
    body = service()
    body.spec.cluster_ip = "None"
    core.create_namespaced_service(namespace, body)
    core.create_namespaced_pod(namespace, pod("web-1", "10.1.0.1"))
    assert server.answers(f"web.{namespace}.svc.cluster.local") == ["10.1.0.1"]


def test_three_kinds_of_patch(core: Any, namespace: str) -> None:
    core.create_namespaced_service(namespace, service())
    strategic = {"spec": {"ports": [{"port": 81, "name": "more"}]}}
    patched = core.patch_namespaced_service("web", namespace, strategic)
    assert sorted(port.port for port in patched.spec.ports) == [80, 81]
    steps = [{"op": "replace", "path": "/metadata/labels/app", "value": "x"}]
    assert core.patch_namespaced_service("web", namespace, steps).metadata.labels == {"app": "x"}
    merge = {"metadata": {"labels": {"app": None, "y": "z"}}}
    patched = core.patch_namespaced_service(
        "web", namespace, merge, _content_type="application/merge-patch+json"
    )
    assert patched.metadata.labels == {"y": "z"}


def test_replace_and_conflict(core: Any, namespace: str) -> None:
    old = core.create_namespaced_service(namespace, service())
    new = core.read_namespaced_service("web", namespace)
    new.metadata.labels = {"app": "new"}
    assert core.replace_namespaced_service("web", namespace, new).metadata.labels == {"app": "new"}
    assert refusal(core.replace_namespaced_service, "web", namespace, old) == (409, "Conflict")


def test_status(core: Any, namespace: str) -> None:
    core.create_namespaced_pod(namespace, pod("web-1"))
    status = {"status": {"podIP": "10.1.0.9", "conditions": [{"type": "Ready", "status": "True"}]}}
    core.patch_namespaced_pod_status("web-1", namespace, status)
    assert core.read_namespaced_pod_status("web-1", namespace).status.pod_ip == "10.1.0.9"


def test_what_a_deletion_answers(core: Any, api: Any, namespace: str) -> None:
    """The typed answers: an object for Services and Pods, a Status for the others."""
    core.create_namespaced_pod(namespace, pod("web-1", "10.1.0.1"))
    assert core.delete_namespaced_pod("web-1", namespace).metadata.name == "web-1"
    body = client.V1EndpointSlice(
        metadata=client.V1ObjectMeta(name="own"),
        address_type="IPv4",
        endpoints=[client.V1Endpoint(addresses=["192.0.2.1"])],
    )
    slices = client.DiscoveryV1Api(api)
    slices.create_namespaced_endpoint_slice(namespace, body)
    answer = slices.delete_namespaced_endpoint_slice("own", namespace)
    assert (answer if isinstance(answer, dict) else answer.to_dict())["status"] == "Success"


def test_delete_a_collection(core: Any, namespace: str) -> None:
    for number in range(3):
        core.create_namespaced_pod(namespace, pod(f"p{number}", app="odd" if number % 2 else "even"))
    core.delete_collection_namespaced_pod(namespace, label_selector="app=even")
    assert [item.metadata.name for item in core.list_namespaced_pod(namespace).items] == ["p1"]


def test_pages(core: Any, namespace: str) -> None:
    for number in range(5):
        core.create_namespaced_pod(namespace, pod(f"p{number}"))
    found, token = [], None
    while True:
        page = core.list_namespaced_pod(namespace, limit=2, _continue=token)
        found += [item.metadata.name for item in page.items]
        token = (
            page.metadata.var_continue if hasattr(page.metadata, "var_continue") else page.metadata._continue
        )
        if not token:
            break
    assert found == [f"p{number}" for number in range(5)]


def test_watch_from_a_list(core: Any, namespace: str) -> None:
    revision = core.list_namespaced_service(namespace).metadata.resource_version
    core.create_namespaced_service(namespace, service())
    core.patch_namespaced_service("web", namespace, {"metadata": {"labels": {"x": "y"}}})
    core.delete_namespaced_service("web", namespace)
    stream = watch.Watch().stream(
        core.list_namespaced_service, namespace, resource_version=revision, timeout_seconds=1
    )
    assert [(event["type"], event["object"].metadata.name) for event in stream] == [
        ("ADDED", "web"),
        ("MODIFIED", "web"),
        ("DELETED", "web"),
    ]


def test_watch_of_what_comes(core: Any, namespace: str) -> None:
    """Without a resourceVersion: what is there, then what comes."""
    core.create_namespaced_pod(namespace, pod("p0"))
    seen: list[tuple[str, str]] = []
    begun, stream = threading.Event(), watch.Watch()

    def look() -> None:
        for event in stream.stream(core.list_namespaced_pod, namespace, timeout_seconds=50):
            seen.append((event["type"], event["object"].metadata.name))
            begun.set()
            if len(seen) == 2:
                stream.stop()

    watcher = threading.Thread(target=look)
    watcher.start()
    assert begun.wait(60)
    core.create_namespaced_pod(namespace, pod("p1"))
    watcher.join(60)
    assert seen == [("ADDED", "p0"), ("ADDED", "p1")]


def test_the_dynamic_client(api: Any, namespace: str) -> None:
    found = dynamic.DynamicClient(api)
    services = found.resources.get(api_version="v1", kind="Service")
    slices = found.resources.get(api_version="discovery.k8s.io/v1", kind="EndpointSlice")
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}]},
    }
    made = services.create(body=body, namespace=namespace)
    assert made.spec.clusterIP.startswith("10.")
    patched = services.patch(
        body={"metadata": {"name": "web", "labels": {"a": "b"}}},
        namespace=namespace,
        content_type="application/merge-patch+json",
    )
    assert patched.metadata.labels.a == "b"
    assert [item.metadata.name for item in services.get(namespace=namespace).items] == ["web"]
    assert slices.get(namespace=namespace).items == []
    events = services.watch(namespace=namespace, resource_version=made.metadata.resourceVersion, timeout=1)
    assert [event["type"] for event in events] == ["MODIFIED"]
    services.delete(name="web", namespace=namespace)
    with pytest.raises(dynamic.exceptions.NotFoundError):
        services.get(name="web", namespace=namespace)


def test_create_from_yaml(api: Any, core: Any, namespace: str) -> None:
    manifest = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"ports": [{"port": 80}]},
        }
    ]
    utils.create_from_yaml(api, yaml_objects=manifest, namespace=namespace)
    assert core.read_namespaced_service("web", namespace).spec.ports[0].port == 80


def test_errors_have_a_status(core: Any, namespace: str) -> None:
    body = service()
    body.spec.ports[0].port = 99999
    with pytest.raises(ApiException) as caught:
        core.create_namespaced_service(namespace, body)
    assert caught.value.status == 422
    assert '"field":"spec.ports[0].port"' in caught.value.body


def test_a_lease_is_held_and_renewed(api: Any, namespace: str) -> None:
    """As the election of leaders in this client and in controllers does it: whoever has not looked loses."""
    leases = client.CoordinationV1Api(api)
    now = datetime.now(UTC)
    spec = client.V1LeaseSpec(
        holder_identity="one",
        lease_duration_seconds=15,
        acquire_time=now,
        renew_time=now,
        lease_transitions=0,
    )
    made = leases.create_namespaced_lease(
        namespace, client.V1Lease(metadata=client.V1ObjectMeta(name="leader"), spec=spec)
    )
    assert made.spec.renew_time == now, "to the microsecond"
    seen_by_two = leases.read_namespaced_lease("leader", namespace)
    made.spec.renew_time = now + timedelta(seconds=2)
    renewed = leases.replace_namespaced_lease("leader", namespace, made)
    assert renewed.spec.renew_time == now + timedelta(seconds=2)
    seen_by_two.spec.holder_identity = "two"
    assert refusal(leases.replace_namespaced_lease, "leader", namespace, seen_by_two) == (409, "Conflict")
    free = client.V1Lease(metadata=client.V1ObjectMeta(name="leader"), spec=client.V1LeaseSpec())
    assert refusal(leases.replace_namespaced_lease, "leader", namespace, free)[0] == 422
    renewed.spec.holder_identity = ""
    assert leases.replace_namespaced_lease("leader", namespace, renewed).spec.holder_identity == ""
    leases.delete_namespaced_lease("leader", namespace)


def test_events_of_both_groups(api: Any, core: Any, namespace: str) -> None:
    events = client.EventsV1Api(api)
    about = client.V1ObjectReference(kind="Pod", namespace=namespace, name="web-1")
    newer = client.EventsV1Event(
        metadata=client.V1ObjectMeta(name="newer"), event_time=datetime.now(UTC), regarding=about,
        reporting_controller="example.org/c", reporting_instance="c-1", action="Start", reason="Starting",
        note="it starts", type="Normal",
    )  # fmt: skip
    events.create_namespaced_event(namespace, newer)
    older = client.CoreV1Event(
        metadata=client.V1ObjectMeta(name="older"), involved_object=about, reason="Pulled", message="an image"
    )
    core.create_namespaced_event(namespace, older)
    assert {item.note for item in events.list_namespaced_event(namespace).items} == {"it starts", "an image"}
    assert {item.message for item in core.list_namespaced_event(namespace).items} == {"it starts", "an image"}


def test_a_node_reports(core: Any, namespace: str) -> None:
    name = f"node-{namespace}"
    address = client.V1NodeAddress(type="InternalIP", address="192.0.2.1")
    status = client.V1NodeStatus(addresses=[address], capacity={"cpu": "4"})
    core.create_node(client.V1Node(metadata=client.V1ObjectMeta(name=name), status=status))
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    core.patch_node_status(name, ready)
    [found] = [item for item in core.list_node().items if item.metadata.name == name]
    assert (found.status.addresses, found.status.allocatable) == ([address], {"cpu": "4"})
    assert found.status.conditions[0].type == "Ready"
    core.delete_node(name)
