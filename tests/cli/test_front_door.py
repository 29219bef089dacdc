"""The walk of somebody who has never seen Kubernetes: three processes, one taken out; and planted mistakes.

Each mistake is found by what a command says, or by `svcdns why`, without documentation.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.in_process import svcdns
from toolbox.running_server import RunningServer

Run = Callable[..., subprocess.CompletedProcess[str]]
NAME = "cache.default.svc.cluster.local"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as running:
        yield running


@pytest.fixture
def run(server: RunningServer, tmp_path: Path) -> Iterator[Run]:
    """Run a command as somebody on the machine of the server: it is found by its data folder."""

    def call(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
        return svcdns(*arguments, cwd=tmp_path, SVCDNS_DATA=str(server.data), **more)

    yield call
    for kind in ("services", "pods", "endpointslices"):
        names = call("get", kind, "-o", "name").stdout.split()
        if names:
            call("delete", kind, *(name.partition("/")[2] for name in names))


def test_from_nothing_to_three_processes_with_one_taken_out(run: Run, server: RunningServer) -> None:
    added = run("add", "cache", "--port", "redis=6379", "10.0.0.5", "10.0.0.6", "10.0.0.7")
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout == f"{NAME} answers 10.0.0.5, 10.0.0.6, 10.0.0.7\n"
    assert run("unready", "cache-10-0-0-6", "--because", "disk swap").returncode == 0
    assert server.answers(NAME) == ["10.0.0.5", "10.0.0.7"]
    why = run("why", "cache")
    assert why.returncode == 0
    assert "Pod cache-10-0-0-6 is not ready (SetByHand disk swap): svcdns ready cache-10-0-0-6" in why.stdout


def test_ready_says_what_else_holds_a_pod_back(run: Run, server: RunningServer) -> None:
    run("add", "cache", "10.0.0.5")
    path = "/api/v1/namespaces/default/pods/cache-10-0-0-5"
    merge = "application/merge-patch+json"
    off = {"metadata": {"annotations": {"svcdns.io/ready": "false"}}}
    assert server.request("PATCH", path, off, content_type=merge).status == 200
    ran = run("ready", "cache-10-0-0-5")
    held = "NotReadyByAnnotation: annotation svcdns.io/ready: false; see: svcdns why cache-10-0-0-5"
    assert ran.stdout == f"pod/cache-10-0-0-5 is reported as ready, but {held}\n"
    why = run("why", "cache-10-0-0-5").stdout
    assert "  override: not ready (annotation svcdns.io/ready: false): kubectl annotate pod" in why
    assert "  reported: ready since " in why and "(SetByHand)" in why
    on = {"metadata": {"annotations": {"svcdns.io/ready": None}}}
    assert server.request("PATCH", path, on, content_type=merge).status == 200
    assert run("ready", "cache-10-0-0-5").stdout == "pod/cache-10-0-0-5 is ready\n"
    assert server.answers(NAME) == ["10.0.0.5"]


def test_planted_mistakes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        """
{apiVersion: v1, kind: Service, metadata: {name: y2}, spec: {clusterIP: None, selector: {app: y2}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: y2-1, labels: {name: y2}}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Service, metadata: {name: bare}, spec: {clusterIP: None}}
---
{apiVersion: v1, kind: Service, metadata: {name: lost}, spec: {clusterIP: None, selector: {app: lost}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: lost-1, labels: {app: lost}}}
---
{apiVersion: v1, kind: Service, metadata: {name: vip}, spec: {selector: {app: none}, ports: [{port: 80}]}}
"""
    )
    applied = run("apply", "-f", "a.yaml")
    assert applied.returncode == 0, applied.stderr
    for asked, expected in (
        ("y2", "selector app=y2 matches no Pod; Pod y2-1 has name=y2"),
        ("bare", "Service bare has no selector and no EndpointSlice"),
        ("lost", "Pod lost-1 has no address: set status.podIP"),
        ("vip", "the cluster IP is answered, but no endpoint is ready behind it"),
        ("losst", "namespace default has no Service losst; did you mean lost?"),
        ("y2.shp.svc.cluster.local", "namespace shp is not there"),
        ("_http._tcp.vip", "Service vip has no port _http._tcp (none of its ports has a name)"),
        ("y2-1", "no Service selects Pod y2-1; its labels are name=y2"),
        ("example.com", "example.com. is not below cluster.local.: zone files and upstreams answer for it"),
    ):
        why = run("why", asked)
        assert expected in why.stdout, asked
        assert all(len(line) < 200 for line in why.stdout.splitlines())


PAIR = """
{apiVersion: v1, kind: Service, metadata: {name: pair}, spec: {clusterIP: None, selector: {app: pair}}}
"""
POD = "{apiVersion: v1, kind: Pod, metadata: {name: p, labels: {app: pair}}, status: {podIP: 10.0.0.1}}"


def test_what_is_applied_together_is_not_warned_of_and_what_is_missing_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{PAIR}\n---\n{POD}\n")
    assert run("apply", "-f", "a.yaml").stderr == ""
    (tmp_path / "a.yaml").write_text(PAIR.replace("pair", "alone"))
    said = run("apply", "-f", "a.yaml").stderr
    assert "warning: Service alone: selector app=alone matches no Pod yet" in said
    missing = run("apply", "-n", "nope", "-f", "a.yaml")
    assert missing.returncode == 1
    assert 'namespaces "nope" not found' in missing.stderr and "svcdns add -n nope" in missing.stderr


def test_a_service_of_another_namespace_is_named(run: Run) -> None:
    run("add", "web", "-n", "shop", "10.0.0.1")
    why = run("why", "web")
    assert why.returncode == 1
    assert "there is one in namespace shop: web.shop.svc" in why.stdout
    assert run("remove", "web", "-n", "shop").returncode == 0


def test_what_there_is_as_a_table_as_yaml_as_json_as_names(run: Run) -> None:
    run("add", "cache", "--port", "redis=6379", "10.0.0.5")
    table = run("get").stdout.splitlines()
    assert table[0].split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert all(len(line) <= 80 for line in table)
    assert "10.0.0.5" in run("get", "pods", "-A", "-o", "wide").stdout
    assert run("get", "pods", "-o", "name").stdout == "pod/cache-10-0-0-5\n"
    listed = json.loads(run("get", "pods", "-o", "json").stdout)
    assert [one["metadata"]["name"] for one in listed["items"]] == ["cache-10-0-0-5"]
    assert "managedFields" not in run("get", "service", "cache", "-o", "yaml").stdout
    assert run("get", "pods", "-l", "app=none").stderr == "svcdns: no pods in namespace default\n"


def test_status_on_one_screen(run: Run, server: RunningServer) -> None:
    run("add", "cache", "10.0.0.5", "10.0.0.6")
    run("unready", "cache-10-0-0-5")
    ran = run("status")
    assert ran.returncode == 0
    lines = dict(line.split(maxsplit=1) for line in ran.stdout.splitlines())
    assert lines["data"] == str(server.data)
    assert lines["api"] == server.api
    assert lines["endpoints"] == "1 ready, 1 not ready"
    assert "none ready" not in ran.stdout
    assert "1 service, 2 pods" in lines["objects"]
    assert "zone       cluster.local. (cluster)" in ran.stdout
    assert lines["processes"] == "writer, worker-0 answer"
    assert all(len(line) <= 80 for line in ran.stdout.splitlines() if not line.startswith("data"))
    said = json.loads(run("status", "-o", "json").stdout)
    assert said["objects"]["services"] == 1


def test_status_says_who_answers_though_none_is_ready(run: Run, server: RunningServer) -> None:
    run("add", "cache", "10.0.0.5", "10.0.0.6")
    for word, answered in (("all", 2), ("last", 1)):
        notes = {"metadata": {"annotations": {"svcdns.io/when-none-ready": word}}}
        server.patch("/api/v1/namespaces/default/services/cache", notes, "application/merge-patch+json")
        for name in ("cache-10-0-0-5", "cache-10-0-0-6"):
            run("ready", name)
        for name in ("cache-10-0-0-5", "cache-10-0-0-6"):
            run("unready", name)
        shown = run("status").stdout
        assert "endpoints  0 ready, 2 not ready\n" in shown
        assert f"none ready 1 Service answers {answered} not ready (when-none-ready)\n" in shown


def test_why_as_json(run: Run) -> None:
    run("add", "cache", "10.0.0.5")
    said: dict[str, Any] = json.loads(run("why", "cache", "-o", "json").stdout)
    assert said["answers"] == ["10.0.0.5"]
    assert said["objects"][0] == "Service default/cache"


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["add", "x", "--port", "abc"], 2, "--port: 'abc' is no port; allowed: such as redis=6379"),
        (["add", "x", "--port", "a=70000"], 2, "port a can't be 70000; allowed: 1..65535"),
        (["add", "x", "--label", "app"], 2, "--label: 'app' is no label; allowed: such as tier=backend"),
        (["add", "x", "10.0.0"], 2, "'10.0.0' is no address"),
        (["add", "My_Cache", "10.0.0.1"], 2, "did you mean my-cache?"),
        (["remove", "nope"], 1, "service/nope is not there in namespace default"),
        (["ready", "nope"], 2, "neither a Pod nope nor a Service"),
        (["get", "deployments"], 2, "no kind is called 'deployments'; allowed: namespaces, services"),
        (["get", "pod", "nope"], 1, "pod/nope is not there in namespace default (asked http://127.0.0.1:"),
        (["delete", "pod", "nope"], 1, "pod/nope is not there in namespace default (asked "),
        (["apply", "-f", "nosuch"], 2, "--filename: nosuch: is not there"),
        (["why", ".."], 2, "must be a domain name"),
        (["get", "--api", "foo"], 2, "--api: 'foo' is no URL of a server"),
    ],
)
def test_a_mistake_is_one_line_and_names_the_remedy(
    run: Run, arguments: list[str], code: int, expected: str
) -> None:
    ran = run(*arguments)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert ran.stderr.startswith("svcdns: ")
    assert ran.stderr.count("\n") == 1
    assert expected in ran.stderr


def test_no_server_says_where_it_looked(tmp_path: Path) -> None:
    ran = svcdns("get", cwd=tmp_path)
    assert ran.returncode == 2
    assert "none runs on svcdns-data, /var/lib/svcdns" in ran.stderr
    assert "svcdns serve" in ran.stderr


def test_files_come_in_whatever_their_order_and_the_rest_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(
        """
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: later}, spec: {clusterIP: None}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {template: {metadata: {labels: {a: b}}}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: later}}
---
{apiVersion: v1, kind: Pod, metadata: {name: bad}, spec: {hostname: "A B"}}
"""
    )
    ran = run("apply", "-f", "all.yaml")
    assert ran.returncode == 1
    assert ran.stdout == "namespace/later applied\nservice/web applied\n"
    assert "Deployment" in ran.stderr
    assert "spec.hostname" in ran.stderr
    assert run("delete", "namespace", "later").returncode == 0
