"""What k9s asks, as its source has it (github.com/derailed/k9s), and what it needs to hear.

internal/client/client.go: /version and discovery at the start, a review before each view;
internal/dao/table.go: Tables; internal/watch/factory.go: informers of client-go's dynamic client.
"""

import json
from typing import Any

import pytest
from toolbox.builders import pod, service
from toolbox.running_server import RunningServer

AGENT = {"User-Agent": "k9s/v0.50 (linux/amd64) kubernetes/$Format"}
DISCOVERY = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io, application/json"


@pytest.fixture(scope="module")
def k9s(server: RunningServer) -> "K9s":
    return K9s(server)


class K9s:
    """Its requests."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server

    def get(self, path: str, accept: str = "application/json") -> Any:
        answer = self.server.request("GET", path, headers={**AGENT, "Accept": accept})
        assert answer.status == 200, answer.text
        return answer.json

    def may(self, verb: str, resource: str, *, group: str = "", namespace: str = "") -> bool:
        """Ask as `makeSAR` does."""
        attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource}
        review = {
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {"creationTimestamp": None},
            "spec": {"resourceAttributes": attributes},
            "status": {"allowed": False},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self.server.request("POST", path, review, headers=AGENT)
        assert answer.status == 201, answer.text
        return bool(answer.json["status"]["allowed"])


def test_it_finds_a_server_and_its_version(k9s: K9s) -> None:
    version = k9s.get("/version?timeout=10s")
    assert version["gitVersion"].startswith("v1.")
    assert version["major"] == "1"


def test_discovery_has_no_metrics_and_what_it_shows(k9s: K9s) -> None:
    core, groups = k9s.get("/api?timeout=10s", DISCOVERY), k9s.get("/apis?timeout=10s", DISCOVERY)
    assert {core["kind"], groups["kind"]} == {"APIGroupDiscoveryList"}
    names = [group["metadata"]["name"] for group in groups["items"]]
    assert "metrics.k8s.io" not in names
    assert "discovery.k8s.io" in names
    resources = {one["resource"]: one for one in core["items"][0]["versions"][0]["resources"]}
    assert set(resources["pods"]["shortNames"]) == {"po"}
    assert resources["services"]["scope"] == "Namespaced"
    assert {"get", "list", "watch"} <= set(resources["services"]["verbs"])


@pytest.mark.parametrize(
    "path",
    [
        "/apis/metrics.k8s.io/v1beta1/nodes",
        "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?limit=500&resourceVersion=0",
        "/apis/apps/v1/deployments",
    ],
)
def test_what_is_not_there_is_a_status_it_understands(k9s: K9s, path: str) -> None:
    answer = k9s.server.request("GET", path, headers=AGENT)
    assert (answer.status, answer.json["kind"], answer.json["reason"]) == (404, "Status", "NotFound")


def test_it_may_look_at_all_namespaces(k9s: K9s) -> None:
    for resource, group in (("namespaces", ""), ("pods", ""), ("endpointslices", "discovery.k8s.io")):
        assert all(k9s.may(verb, resource, group=group) for verb in ("get", "list", "watch"))
    assert k9s.may("delete", "services", namespace="default")


@pytest.mark.parametrize("where", ["", "/namespaces/{}"])
def test_tables_have_rows_with_metadata(k9s: K9s, namespace: str, where: str) -> None:
    base = f"/api/v1/namespaces/{namespace}"
    assert k9s.server.post(f"{base}/services", service("web")).status == 201
    assert k9s.server.post(f"{base}/pods", pod("p", "10.1.0.1", "web")).status == 201
    for plural in ("services", "pods"):
        table = k9s.get(f"/api/v1{where.format(namespace)}/{plural}", TABLE)
        assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        rows = {row["object"]["metadata"]["name"]: row for row in table["rows"]}
        (row,) = (row for row in table["rows"] if row["object"]["metadata"]["namespace"] == namespace)
        assert row["object"]["kind"] == "PartialObjectMetadata"
        assert len(row["cells"]) == len(table["columnDefinitions"])
        assert rows
    one = k9s.get(f"{base}/services/web", TABLE)
    assert one["rows"][0]["cells"][0] == "web"


def test_an_informer_lists_and_watches(k9s: K9s, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    listed = k9s.get(f"{path}?limit=500&resourceVersion=0")
    assert listed["kind"] == "ServiceList"
    version = listed["metadata"]["resourceVersion"]
    assert k9s.server.post(path, service("late")).status == 201
    watch = f"{path}?allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=1&watch=true"
    answer = k9s.server.request("GET", watch, headers={**AGENT, "Accept": "application/json"})
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [
        (one["type"], one["object"]["metadata"]["name"]) for one in events if one["type"] != "BOOKMARK"
    ] == [("ADDED", "late")]


def test_its_watch_list_ends_with_a_mark(k9s: K9s, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/services"
    assert k9s.server.post(path, service("web")).status == 201
    query = (
        "allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=true"
        "&timeoutSeconds=1&watch=true"
    )
    answer = k9s.server.request("GET", f"{path}?{query}", headers=AGENT)
    first, mark, *_ = (json.loads(line) for line in answer.text.splitlines())
    assert first["object"]["metadata"]["name"] == "web"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
