"""lightkube: typed models over client-go's ways; its apply is server-side apply."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from toolbox.running_server import RunningServer

lightkube = pytest.importorskip("lightkube")

from lightkube import ApiError, Client, KubeConfig  # noqa: E402
from lightkube.config.models import Cluster, User  # noqa: E402
from lightkube.models.core_v1 import (  # noqa: E402
    Container,
    PodCondition,
    PodSpec,
    PodStatus,
    ServicePort,
    ServiceSpec,
)
from lightkube.models.meta_v1 import ObjectMeta  # noqa: E402
from lightkube.resources.core_v1 import Namespace, Pod, Service  # noqa: E402
from lightkube.resources.discovery_v1 import EndpointSlice  # noqa: E402
from lightkube.types import PatchType  # noqa: E402


@pytest.fixture
def client(server: RunningServer, namespace: str) -> Iterator[Client]:
    config = KubeConfig.from_one(cluster=Cluster(server=server.api), user=User(), namespace=namespace)
    yield Client(config, field_manager="tester", trust_env=False)


def service() -> Service:
    ports = [ServicePort(name="http", port=80, targetPort=8080)]
    return Service(
        metadata=ObjectMeta(name="web", labels={"app": "web"}),
        spec=ServiceSpec(selector={"app": "web"}, ports=ports),
    )


def pod(name: str, ip: str = "") -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, labels={"app": "web"}),
        spec=PodSpec(containers=[Container(name="c", image="none")]),
        status=PodStatus(podIP=ip) if ip else None,
    )


def test_create_get_list_delete(client: Client) -> None:
    made = client.create(service())
    assert made.spec.clusterIP.startswith("10.")
    assert client.get(Service, "web").metadata.uid == made.metadata.uid
    assert [item.metadata.name for item in client.list(Service, labels={"app": "web"})] == ["web"]
    client.delete(Service, "web")
    with pytest.raises(ApiError) as caught:
        client.get(Service, "web")
    assert (caught.value.status.code, caught.value.status.reason) == (404, "NotFound")


@pytest.mark.parametrize("kind", [PatchType.STRATEGIC, PatchType.MERGE])
def test_patch(client: Client, kind: PatchType) -> None:
    client.create(service())
    patched = client.patch(Service, "web", {"metadata": {"labels": {"x": "y"}}}, patch_type=kind)
    assert patched.metadata.labels == {"app": "web", "x": "y"}


def test_replace_and_conflict(client: Client) -> None:
    old = client.create(service())
    new = client.get(Service, "web")
    new.metadata.labels = {"app": "new"}
    assert client.replace(new).metadata.labels == {"app": "new"}
    with pytest.raises(ApiError) as caught:
        client.replace(old)
    assert caught.value.status.reason == "Conflict"


def test_apply(client: Client) -> None:
    made = client.apply(service())
    again = client.apply(service())
    assert again.metadata.resourceVersion == made.metadata.resourceVersion


def test_watch(client: Client) -> None:
    client.create(pod("p0"))
    seen = []
    for event, item in client.watch(Pod, server_timeout=50):
        seen.append((event, item.metadata.name))
        if len(seen) == 1:
            client.create(pod("p1"))
        else:
            break
    assert seen == [("ADDED", "p0"), ("ADDED", "p1")]


def test_wait(client: Client) -> None:
    client.create(pod("p", "10.1.0.1"))
    ready = client.wait(Pod, "p", for_conditions=["Ready"])
    assert ready.status.podIP == "10.1.0.1"


def test_status(client: Client, server: RunningServer, namespace: str) -> None:
    client.create(service())
    made = client.create(pod("p", "10.1.0.1"))
    made.status.conditions = [PodCondition(type="Ready", status="False")]
    client.replace(Pod.Status(metadata=made.metadata, spec=made.spec, status=made.status))
    (found,) = client.list(EndpointSlice)
    assert [endpoint.conditions.ready for endpoint in found.endpoints] == [False]


def test_delete_many(client: Client, namespace: str) -> None:
    client.create(pod("p0"))
    client.create(pod("p1"))
    client.deletecollection(Pod)
    assert list(client.list(Pod)) == []
    assert namespace in [item.metadata.name for item in client.list(Namespace)]
