"""Details of the API in which clients notice a difference to a kube-apiserver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from toolbox.builders import endpoint_slice, pod, service
from toolbox.running_server import Reply, RunningServer

CORE = "/api/v1/namespaces/{}"
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as running:
        yield running
        assert "Traceback" not in running.log()


@pytest.fixture
def place(server: RunningServer, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    name = f"n{abs(hash(request.node.name)) % 10**9}"
    assert server.post("/api/v1/namespaces", {"metadata": {"name": name}}).status == 201
    return name


def made(server: RunningServer, place: str, plural: str, body: dict[str, Any]) -> dict[str, Any]:
    root = "/apis/discovery.k8s.io/v1" if plural == "endpointslices" else "/api/v1"
    reply = server.post(f"{root}/namespaces/{place}/{plural}", body)
    assert reply.status == 201, reply.text
    return reply.json  # type: ignore[no-any-return]


def patched(server: RunningServer, path: str, body: Any) -> Reply:
    return server.request("PATCH", path, json.dumps(body).encode(), content_type=MERGE)


def test_a_dry_run_shows_no_revision_of_its_own(server: RunningServer, place: str) -> None:
    services = CORE.format(place) + "/services"
    assert "resourceVersion" not in server.post(services + "?dryRun=All", service("web")).json["metadata"]
    stored = made(server, place, "services", service("web"))
    path = services + "/web?dryRun=All"
    tried = patched(server, path, {"metadata": {"labels": {"a": "b"}}}).json
    assert tried["metadata"]["labels"] == {"a": "b"}
    assert tried["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]


def test_labels_come_with_a_status(server: RunningServer, place: str) -> None:
    made(server, place, "pods", pod("web", labels={"app": "web"}))
    path = CORE.format(place) + "/pods/web"
    reply = patched(
        server, path + "/status", {"metadata": {"labels": {"a": "b"}}, "status": {"message": "x"}}
    )
    assert reply.json["metadata"]["labels"]["a"] == "b"
    assert server.get(path).json["metadata"]["labels"]["a"] == "b"


def test_generation_counts_changes_of_pods_and_slices(server: RunningServer, place: str) -> None:
    path = CORE.format(place) + "/pods/web"
    body = pod("web")
    body["metadata"]["generation"] = 5
    assert made(server, place, "pods", body)["metadata"]["generation"] == 1
    assert patched(server, path, {"metadata": {"labels": {"a": "b"}}}).json["metadata"]["generation"] == 1
    changed = patched(server, path, {"metadata": {"generation": 9}, "spec": {"activeDeadlineSeconds": 7}})
    assert changed.json["metadata"]["generation"] == 2
    made(server, place, "endpointslices", endpoint_slice("s", "web", "192.0.2.1"))
    slice_path = f"/apis/discovery.k8s.io/v1/namespaces/{place}/endpointslices/s"
    assert patched(server, slice_path, {"endpoints": []}).json["metadata"]["generation"] == 2
    assert "generation" not in made(server, place, "services", service("web"))["metadata"]


def test_a_deletion_timestamp_is_not_the_clients(server: RunningServer, place: str) -> None:
    made(server, place, "services", service("web"))
    path = CORE.format(place) + "/services/web"
    reply = patched(server, path, {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    assert reply.status == 200
    assert "deletionTimestamp" not in server.get(path).json["metadata"]


def test_revision_zero_is_any_revision(server: RunningServer, place: str) -> None:
    stored = made(server, place, "services", service("web"))
    stored["metadata"]["resourceVersion"] = "0"
    stored["metadata"]["labels"] = {"a": "b"}
    path = CORE.format(place) + "/services/web"
    assert server.put(path, stored).status == 200
    stored["metadata"]["resourceVersion"] = "1"
    assert server.put(path, stored).status == 409


def test_a_put_makes_a_service_and_no_pod(server: RunningServer, place: str) -> None:
    assert server.put(CORE.format(place) + "/services/web", service("web")).status == 201
    assert server.put(CORE.format(place) + "/services/web", service("web")).status == 200
    assert server.put(CORE.format(place) + "/pods/web", pod("web")).status == 404


@pytest.mark.parametrize("what", ["log", "exec", "ephemeralcontainers", "nothing"])
def test_what_is_not_there_is_a_clean_status(server: RunningServer, place: str, what: str) -> None:
    made(server, place, "pods", pod("web"))
    reply = server.get(CORE.format(place) + f"/pods/web/{what}")
    assert (reply.status, reply.json["reason"], reply.json["details"]) == (404, "NotFound", {})


def test_an_eviction_deletes(server: RunningServer, place: str) -> None:
    made(server, place, "pods", pod("web"))
    path = CORE.format(place) + "/pods/web"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
    assert server.post(path + "/eviction", {**body, "deleteOptions": {"dryRun": ["All"]}}).status == 201
    assert server.get(path).status == 200
    assert server.post(path + "/eviction", {**body, "deleteOptions": []}).status == 400
    assert server.post(path + "/eviction", body).json["status"] == "Success"
    assert server.get(path).status == 404
    assert server.post(path + "/eviction", body).status == 404


def test_a_namespace_can_be_finalized(server: RunningServer, place: str) -> None:
    path = f"/api/v1/namespaces/{place}"
    reply = server.put(path + "/finalize", {"metadata": {"name": place}, "spec": {"finalizers": ["a.b/c"]}})
    assert (reply.status, reply.json["spec"]["finalizers"]) == (200, ["a.b/c"])


def test_paths_below_watch(server: RunningServer, place: str) -> None:
    for name in ("web", "db"):
        made(server, place, "services", service(name))
    below = f"/api/v1/watch/namespaces/{place}/services"
    for path, names in ((below, ["db", "web"]), (f"{below}/web", ["web"])):
        lines = server.get(path + "?timeoutSeconds=1").text.splitlines()
        events = [json.loads(line) for line in lines]
        assert [event["object"]["metadata"]["name"] for event in events] == names
        assert {event["type"] for event in events} == {"ADDED"}
    assert server.post(below, service("new")).status == 405


def test_a_watch_from_a_later_revision_waits(server: RunningServer, place: str) -> None:
    revision = int(server.get(CORE.format(place) + "/services").json["metadata"]["resourceVersion"])
    query = f"/services?watch=1&resourceVersion={revision + 1000}&timeoutSeconds=1"
    reply = server.get(CORE.format(place) + query)
    assert (reply.status, reply.text) == (200, "")


def test_discovery_names_the_subresources(server: RunningServer) -> None:
    found = {resource["name"]: resource for resource in server.get("/api/v1").json["resources"]}
    assert found["pods/eviction"]["kind"] == "Eviction" and found["pods/eviction"]["group"] == "policy"
    assert found["namespaces/finalize"]["verbs"] == ["update"]
