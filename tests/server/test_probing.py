"""A server asks registered Pods whether they are ready: from the cause to the DNS answer."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from toolbox.running_server import RunningServer, svcdns
from toolbox.waiting import wait_for

from svcdns.server.crew import PROBER

NAME = "web.default.svc.cluster.local"
PODS = "/api/v1/namespaces/default/pods"


class Health:
    """A server that is healthy or not."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.status = 200
        self.asked = 0


@contextmanager
def http_server() -> Iterator[Health]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            health.asked += 1
            self.send_response(health.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    health = Health(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield health
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as made:
        made.post(
            "/api/v1/namespaces/default/services",
            {"metadata": {"name": "web"}, "spec": {"clusterIP": "None", "selector": {"app": "web"}}},
        )
        yield made


@pytest.fixture(autouse=True)
def no_pods(server: RunningServer) -> Iterator[None]:
    yield
    server.delete(PODS)


def register(server: RunningServer, health: Health, name: str = "web-1", **probe: object) -> None:
    container = {
        "name": "c",
        "image": "none",
        "ports": [{"name": "http", "containerPort": health.port}],
        "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 1, **probe},
    }
    made = server.post(
        PODS,
        {
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"containers": [container]},
            "status": {"podIP": "127.0.0.1"},
        },
    )
    assert made.status == 201, made.text


def test_a_server_without_probes_runs_no_prober() -> None:
    with RunningServer(workers=1) as alone:
        alone.post(PODS, {"metadata": {"name": "p"}, "status": {"podIP": "10.0.0.1"}})
        assert alone.children(PROBER) == []


def test_a_pod_is_answered_while_its_probe_succeeds(server: RunningServer) -> None:
    with http_server() as health:
        register(server, health)
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "its first success")
        health.status = 503
        wait_for(lambda: server.answers(NAME) == [], "its failure")
        ran = svcdns("why", "web-1", "--data", server.data)
        assert "HTTP status 503" in ran.stdout
        health.status = 200
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "its success")


def test_a_pod_that_was_never_healthy_is_never_answered(server: RunningServer) -> None:
    with http_server() as health:
        health.status = 500
        register(server, health)

        def condition() -> dict[str, str]:
            pod = server.get(f"{PODS}/web-1").json
            by_type = {one["type"]: one for one in pod["status"]["conditions"]}
            return by_type.get("svcdns.io/Probe", {})

        wait_for(lambda: condition().get("reason") == "ProbeFailed", "the verdict")
        assert "HTTP status 500" in condition()["message"]
        assert server.answers(NAME) == []


def test_a_prober_that_is_killed_is_there_again_and_nobody_flaps(server: RunningServer) -> None:
    with http_server() as health:
        register(server, health)
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "its first success")
        before = server.get(f"{PODS}/web-1").json["metadata"]["resourceVersion"]
        (pid,) = server.children(PROBER)
        os.kill(pid, signal.SIGKILL)
        asked = health.asked
        wait_for(lambda: server.children(PROBER) not in ([], [pid]), "another prober")
        wait_for(lambda: health.asked > asked, "the next probe")
        assert server.get(f"{PODS}/web-1").json["metadata"]["resourceVersion"] == before
        health.status = 503
        wait_for(lambda: server.answers(NAME) == [], "its failure, seen by the next one")


def test_after_a_restart_pods_are_as_ready_as_they_were(server: RunningServer) -> None:
    with http_server() as health:
        register(server, health, periodSeconds=30)
        wait_for(lambda: server.answers(NAME) == ["127.0.0.1"], "its first success")
        server.stop()
        server.start()
        assert server.answers(NAME) == ["127.0.0.1"]


def test_a_link_local_address_is_never_asked(server: RunningServer) -> None:
    probe = {"tcpSocket": {"port": 80}}
    body = {
        "metadata": {"name": "web-2", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "none", "readinessProbe": probe}]},
        "status": {"podIP": "169.254.169.254"},
    }
    server.post(PODS, body)

    def words() -> str:
        conditions = server.get(f"{PODS}/web-2").json["status"]["conditions"]
        return " ".join(one.get("message", "") for one in conditions)

    wait_for(lambda: "is never probed" in words(), "the verdict")


def test_with_probes_off_a_pod_goes_by_what_is_reported() -> None:
    with RunningServer(workers=1, config="[probes]\nrun = false\n") as alone, http_server() as health:
        register(alone, health)
        assert alone.children(PROBER) == []
        conditions = alone.get(f"{PODS}/web-1").json["status"]["conditions"]
        assert {one["type"]: one["status"] for one in conditions}["Ready"] == "False"
        alone.patch(
            f"{PODS}/web-1/status",
            {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            "application/strategic-merge-patch+json",
        )
        conditions = alone.get(f"{PODS}/web-1").json["status"]["conditions"]
        assert {one["type"]: one["status"] for one in conditions}["Ready"] == "True"
