"""Mistakes of people who write requests by hand: what they meant is named."""

from collections.abc import Iterator
from typing import Any

import pytest
from toolbox.running_server import RunningServer

SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/services", SERVICES),
        ("/api/v1/namespaces/shop/service", "/api/v1/namespaces/shop/services"),
        ("/api/v1/pod/x", "/api/v1/namespaces/default/pods/x"),
        ("/v1/svc", SERVICES),
        ("/namespace", "/api/v1/namespaces"),
        ("/v1/endpointslices", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"),
    ],
)
def test_the_path_that_was_meant(server: RunningServer, path: str, meant: str) -> None:
    reply = server.post(path, {})
    assert reply.status == 404
    assert reply.json["message"].endswith(f"; did you mean {meant}?")


@pytest.mark.parametrize(
    "path", ["/foo", "/api/v1/namespaces/default/pods/x/log", "/apis/apps/v1/deployments", "/x/"]
)
def test_nothing_is_guessed_where_nothing_comes_to_mind(server: RunningServer, path: str) -> None:
    reply = server.get(path)
    assert reply.status == 404
    assert "did you mean" not in reply.json["message"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/services", "in a namespace: POST /api/v1/namespaces/NAMESPACE/services"),
        (f"{SERVICES}/web", "is changed by PUT or PATCH"),
    ],
)
def test_the_method_that_was_meant(server: RunningServer, path: str, expected: str) -> None:
    reply = server.post(path, {"metadata": {"name": "web"}})
    assert reply.status == 405
    assert expected in reply.json["message"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"clusterIP": "None", "spec": {}}, 'unknown field "clusterIP" (it belongs under spec)'),
        ({"spec": {"labels": {"a": "b"}}}, 'unknown field "spec.labels" (it belongs under metadata)'),
        ({"spec": {"nonsense": 1}}, 'unknown field "spec.nonsense"'),
        ({"spec": {"clusterIP": "none", "ports": [{"port": 80}]}}, 'did you mean "None"?'),
        ({"spec": {"clusterIP": "10.1.2.3", "ports": [{"port": 80}]}}, "headless (clusterIP: None) with an"),
    ],
)
def test_the_field_that_was_meant(server: RunningServer, body: dict[str, Any], expected: str) -> None:
    reply = server.post(SERVICES, {"metadata": {"name": "web"}, **body})
    assert reply.status == 422
    assert expected in reply.json["message"]
