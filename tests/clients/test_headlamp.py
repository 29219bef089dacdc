"""What Headlamp asks, as its source has it (github.com/kubernetes-sigs/headlamp), and what it needs to hear.

frontend/src/lib/k8s/api: the requests; backend/cmd/headlamp.go: its server passes them on with all headers of
the browser, Origin too, and adds the token; backend/cmd/multiplexer.go: WebSockets whose Origin is the API.
"""

import base64
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from toolbox.builders import service
from toolbox.running_server import Reply, RunningServer, svcdns
from toolbox.waiting import GUARD_SECONDS

DISCOVERY = "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"
PAGE = {
    "Origin": "http://localhost:4466",
    "Referer": "http://localhost:4466/c/main/pods",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "User-Agent": "Headlamp",
    "X-Forwarded-For": "127.0.0.1",
}
"""What its server passes on of a browser's request for one of its pages."""


class Headlamp:
    """Headlamp's server, logged in with a token that may look at all namespaces."""

    def __init__(self, server: RunningServer, token: str) -> None:
        self.server = server
        self.headers = {**PAGE, "Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        host = {"X-Forwarded-Host": self.server.api.removeprefix("http://")}
        return self.server.request(method, path, body, headers={**self.headers, **host, **headers})

    def get(self, path: str, **headers: str) -> Any:
        answer = self.ask("GET", path, **headers)
        assert answer.status == 200, answer.text
        return answer.json


@pytest.fixture(scope="module")
def headlamp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headlamp]:
    tokens: Path = tmp_path_factory.mktemp("tokens") / "tokens"
    made = svcdns("token", "create", "--name", "headlamp", "--role", "view", "--file", tokens)
    assert made.returncode == 0, made.stderr
    config = f'[api]\ntokens = "{tokens}"\n'
    with RunningServer(workers=1, config=config) as server:
        yield Headlamp(server, made.stdout.split()[-1])


def test_it_takes_the_token(headlamp: Headlamp) -> None:
    spec = {"spec": {"namespace": "default"}}
    rules = headlamp.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", spec)
    assert rules.status == 201, rules.text
    assert rules.json["status"]["resourceRules"]
    me = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    who = headlamp.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", me)
    assert who.json["status"]["userInfo"]["username"] == "headlamp"


def test_without_a_token_its_pages_are_strangers(headlamp: Headlamp) -> None:
    spec = {"spec": {"namespace": "default"}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    assert headlamp.server.request("POST", path, spec, headers=PAGE).status == 403


def test_health_version_and_discovery(headlamp: Headlamp) -> None:
    assert headlamp.ask("GET", "/healthz").text == "ok"
    assert headlamp.get("/version")["gitVersion"].startswith("v1.")
    core, groups = headlamp.get("/api", Accept=DISCOVERY), headlamp.get("/apis", Accept=DISCOVERY)
    assert "metadata" in core["items"][0]
    shown = {
        resource["resource"]
        for item in (*core["items"], *groups["items"])
        for resource in item["versions"][0]["resources"]
        if "list" in resource["verbs"] and not resource["responseKind"]["kind"].endswith("List")
    }
    assert {"pods", "services", "namespaces", "nodes", "endpointslices", "leases"} <= shown
    assert headlamp.get("/api")["versions"] == ["v1"]
    assert headlamp.get("/apis")["groups"]


@pytest.mark.parametrize(
    "path",
    [
        "/apis/metrics.k8s.io/v1beta1/nodes",
        "/apis/metrics.k8s.io/v1beta1/pods",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/apps/v1/deployments?limit=500",
        "/apis/networking.k8s.io/v1/ingresses",
    ],
)
def test_what_is_not_there_is_404(headlamp: Headlamp, path: str) -> None:
    assert headlamp.ask("GET", path).status == 404


def test_lists_and_what_the_token_may_not(headlamp: Headlamp) -> None:
    kinds = {
        "/api/v1/namespaces": "NamespaceList",
        "/api/v1/pods?limit=500": "PodList",
        "/api/v1/services": "ServiceList",
        "/api/v1/events?limit=2000": "EventList",
        "/apis/discovery.k8s.io/v1/endpointslices": "EndpointSliceList",
    }
    for path, kind in kinds.items():
        listed = headlamp.get(path)
        assert (listed["kind"], "resourceVersion" in listed["metadata"]) == (kind, True)
    review = {
        "spec": {"resourceAttributes": {"verb": "create", "resource": "services", "namespace": "default"}}
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert headlamp.ask("POST", path, review).json["status"]["allowed"] is False
    assert headlamp.ask("POST", "/api/v1/namespaces/default/services", service()).status == 403


def opened(headlamp: Headlamp, path: str, headers: Mapping[str, str]) -> bytes:
    """Open a WebSocket; return the head of the answer."""
    host, port = headlamp.server.api.removeprefix("http://").split(":")
    sent = {
        "Host": f"{host}:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **headers,
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items()), "", ""]
    with socket.create_connection((host, int(port)), timeout=GUARD_SECONDS) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return connection.recv(4096)


def test_watches_over_web_sockets(headlamp: Headlamp) -> None:
    version = headlamp.get("/api/v1/pods")["metadata"]["resourceVersion"]
    path = f"/api/v1/pods?watch=1&resourceVersion={version}"
    passed_on = {**headlamp.headers, "Sec-WebSocket-Protocol": "base64.binary.k8s.io"}
    by_page = opened(headlamp, path, passed_on)
    assert by_page.startswith(b"HTTP/1.1 101")
    assert b"base64.binary.k8s.io" in by_page
    multiplexed = {"Origin": headlamp.server.api, "Authorization": headlamp.headers["Authorization"]}
    assert opened(headlamp, path, multiplexed).startswith(b"HTTP/1.1 101")
    assert opened(headlamp, path, PAGE).startswith(b"HTTP/1.1 403"), "a page without a token"
    assert opened(headlamp, f"{path}&fieldSelector=metadata.name%3Dp", multiplexed).startswith(
        b"HTTP/1.1 101"
    )
