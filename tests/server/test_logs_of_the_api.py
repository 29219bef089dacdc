"""What the API writes down: a line a write, none a read; the audit log in a file of its own."""

import json
from pathlib import Path

from toolbox.builders import service
from toolbox.calls import SERVICES
from toolbox.running_server import RunningServer, svcdns
from toolbox.waiting import wait_for


def lines(server: RunningServer) -> list[str]:
    return [line for line in server.log().splitlines() if "aiohttp.access" in line or "svcdns.audit" in line]


def test_one_line_a_write_and_none_a_read() -> None:
    with RunningServer(workers=1) as server:
        server.post(SERVICES, service("web"))
        server.get(SERVICES)
        server.get("/metrics")
        (line,) = lines(server)
        assert json.loads(line.partition("svcdns.audit: ")[2])["name"] == "web"


def test_a_node_that_renews_its_lease_leaves_no_line_and_others_do() -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
    with RunningServer(workers=1) as server:
        for namespace in ("kube-node-lease", "default"):
            server.post("/api/v1/namespaces", {"metadata": {"name": namespace}})
            made = {"metadata": {"name": "here"}, "spec": {"holderIdentity": "here"}}
            server.post(leases.format(namespace), made)
            one = f"{leases.format(namespace)}/here"
            assert server.patch(one, {"spec": {"leaseDurationSeconds": 15}}).status == 200
            assert server.patch(one, {"spec": {"leaseDurationSeconds": -1}}).status == 422
        entries = [json.loads(line.partition("svcdns.audit: ")[2]) for line in lines(server)]
    codes = [(one["namespace"], one["code"]) for one in entries if one["verb"] == "patch"]
    assert codes == [("kube-node-lease", 422), ("default", 200), ("default", 422)]


def test_each_request_where_that_is_asked_for() -> None:
    with RunningServer(workers=1, config="[api]\naccess_log = true\n") as server:
        server.get(SERVICES)
        wait_for(lambda: any(f"GET {SERVICES}" in line for line in lines(server)), "the line of the request")


def test_an_audit_log_of_its_own_that_is_moved_away(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    with RunningServer(workers=1, config=f"[api]\naudit_log = '{file}'\n") as server:
        server.post(SERVICES, service("first"))
        assert json.loads(file.read_text())["name"] == "first"
        file.rename(tmp_path / "audit.log.1")
        server.post(SERVICES, service("second"))
        assert json.loads(file.read_text())["name"] == "second"
        assert lines(server) == []


def test_a_file_that_cannot_be_written_is_said_before_anything_starts(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[api]\naudit_log = 'nosuch/audit.log'\n")
    ran = svcdns("check", "--config", config)
    assert ran.returncode != 0
    assert "api.audit_log: " in ran.stderr + ran.stdout
    assert "no such file or directory" in ran.stderr + ran.stdout
