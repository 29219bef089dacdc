"""`svcdns proxy` as a process of its own, and the commands around it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from toolbox.builders import pod, service
from toolbox.running_server import PYTHONPATH, RunningServer, svcdns
from toolbox.waiting import GUARD_SECONDS, wait_for

SERVICES = "/api/v1/namespaces/default/services"
PODS = "/api/v1/namespaces/default/pods"
ADDRESS = "127.97.0.77"
RANGES = "[services]\ncluster_ip_ranges = ['127.97.0.0/16']\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def proxy(folder: Path, *arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """`svcdns proxy` with sockets for an engine; gives the process and a configuration that finds it."""
    config = folder / "proxy.toml"
    if not config.exists():
        config.write_text(f"[proxy]\nhealthz = '127.0.0.1:{free_port()}'\n")
    command = [sys.executable, "-m", "svcdns", "proxy", "--config", str(config), "--engine", "user"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("SVCDNS_")}
    with (folder / "proxy.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, *arguments], stderr=log, env={**environ, "PYTHONPATH": PYTHONPATH}
        )
    try:
        yield process, config
    finally:
        process.kill()
        process.wait(GUARD_SECONDS)


def register(server: RunningServer, port: int) -> None:
    made = service(clusterIP=ADDRESS, ports=[{"name": "http", "port": port, "targetPort": port}])
    assert server.post(SERVICES, made).status == 201
    assert server.post(PODS, pod("web-1", "127.0.0.1", ready=True)).status == 201


def connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection((ADDRESS, port), timeout=5):
        return True
    return False


def test_it_follows_a_server_and_shows_what_it_carries(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        RunningServer(workers=1, config=RANGES) as server,
        proxy(tmp_path, "--server", server.api, "--node", "here") as (process, config),
    ):
        port = listening.getsockname()[1]
        register(server, port)
        wait_for(lambda: connects(port), "a connection through the Service")

        shown = svcdns("proxy", "status", "web", "--config", config)
        assert shown.returncode == 0
        assert f"TCP {ADDRESS}:{port}  -> 127.0.0.1:{port}\n" in shown.stdout
        whole = json.loads(svcdns("proxy", "status", "-o", "json", "--config", config).stdout)
        assert (whole["node"], whole["engine"], whole["healthy"]) == ("here", "user", True)
        assert svcdns("proxy", "status", "nothing", "--config", config).returncode == 1

        server.patch(
            f"{PODS}/web-1/status", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        )
        refused = "refused, no endpoint is ready"
        wait_for(lambda: refused in svcdns("proxy", "status", "web", "--config", config).stdout)
        process.send_signal(signal.SIGTERM)
        assert process.wait(GUARD_SECONDS) == 0


def test_killed_and_started_again_it_carries_on(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        RunningServer(workers=1, config=RANGES) as server,
    ):
        port = listening.getsockname()[1]
        register(server, port)
        for _ in range(2):
            with proxy(tmp_path, "--server", server.api):  # and is killed at the end
                wait_for(lambda: connects(port), "a connection through the Service")
            assert not connects(port)


def test_the_servers_status_shows_each_proxy_and_how_it_is(tmp_path: Path) -> None:
    def shown(server: RunningServer) -> str:
        return svcdns("status", "--api", server.api).stdout

    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        RunningServer(workers=1, config=RANGES) as server,
    ):
        assert "proxy  " not in shown(server)
        register(server, listening.getsockname()[1])
        said = "proxy      here: ready, engine user, 1 Service, up to date\n"
        with proxy(tmp_path, "--server", server.api, "--node", "here") as (process, _):
            wait_for(lambda: said in shown(server), "the proxy to be shown")
            wait_for(lambda: server.get("/api/v1/nodes/here").json.get("status", {}).get("conditions"))
        wait_for(lambda: "proxy      here: late" in shown(server), "the proxy to be late")  # killed
        with proxy(tmp_path, "--server", server.api, "--node", "here") as (process, _):
            wait_for(lambda: said in shown(server), "the proxy to be shown again")
            process.send_signal(signal.SIGTERM)
            process.wait(GUARD_SECONDS)
        wait_for(lambda: "proxy      here: has ended\n" in shown(server), "the proxy to have ended")


def test_mistakes_are_one_line() -> None:
    for arguments, said in (
        (("--engine", "fast"), "--engine: 'fast' is not known; allowed: auto, nft, user"),
        (("--node", "A B"), "--node: 'A B' is no name of a node"),
        (("--node-address", "x"), "--node-address: 'x' is no IP address"),
        (("--server", "ftp://x"), "--server: 'ftp://x' is no URL of a server"),
        (("--server", "http://127.0.0.1:1", "--kubeconfig", "k"), "exclude each other"),
        (("--server", "http://127.0.0.1:1", "--ca", "/nowhere"), "/nowhere: can't be read: no such file"),
        (("--kubeconfig", "/nowhere"), "KUBECONFIG: "),
    ):
        done = svcdns("proxy", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert said in done.stderr


def test_status_without_a_proxy_says_how_to_start_one(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f"[proxy]\nhealthz = '0.0.0.0:{free_port()}'\n")
    done = svcdns("proxy", "status", "--config", tmp_path / "c.toml")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no proxy answers at 127.0.0.1:" in done.stderr


def test_the_rules_can_be_printed_without_any_right(tmp_path: Path) -> None:
    with RunningServer(workers=1, config="[services]\ncluster_ip_ranges = ['10.201.0.0/16']\n") as server:
        assert server.post(SERVICES, service(clusterIP="10.201.0.77")).status == 201
        done = svcdns("proxy", "--print", "--server", server.api)
        assert (done.returncode, done.stderr) == (0, "")
        assert "\ntable ip svcdns {\n" in done.stdout
        assert "10.201.0.77 . tcp . 80" in done.stdout
        assert "10.201.0.0/16" in done.stdout
        assert "# relay" not in done.stdout
        assert server.post(PODS, pod("web-1", "127.0.0.1", ready=True)).status == 201
        (tmp_path / "c.toml").write_text("[proxy]\nnode_port_addresses = ['primary', 'localhost']\n")
        server.post(
            SERVICES,
            service("out", type="NodePort", ports=[{"port": 80, "nodePort": 30080, "targetPort": 8080}]),
        )
        config = ("--config", tmp_path / "c.toml", "--node-address", "192.0.2.7")
        done = svcdns("proxy", "--print", "--server", server.api, *config)
        assert "# relay TCP node port 30080 (IPv4) on 127.0.0.1 and ::1\n" in done.stdout
        assert re.search(r"# relay TCP [0-9.]+:6\d+ -> TCP 127.0.0.1:8080, by Services only\n", done.stdout)
        checked = subprocess.run(["nft", "-c", "-f", "-"], input=done.stdout, text=True, capture_output=True)
        assert "yntax error" not in checked.stderr

    done = svcdns("proxy", "--print", "--server", "http://127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "http://127.0.0.1:1" in done.stderr


def test_with_several_servers_it_follows_one_that_is_there(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        RunningServer(workers=1, config=RANGES) as first,
        RunningServer(workers=1, config=RANGES) as second,
        proxy(tmp_path, "--server", first.api, "--server", second.api, "--node", "here") as (_, config),
    ):
        port = listening.getsockname()[1]
        register(first, port)
        wait_for(lambda: connects(port), "a connection through the Service of the first")
        register(second, port)
        first.stop()
        assert second.delete(f"{PODS}/web-1?gracePeriodSeconds=0").status == 200
        refused = "refused, no endpoint is ready"
        wait_for(lambda: refused in svcdns("proxy", "status", "web", "--config", config).stdout)


def test_servers_of_two_schemes_are_refused(tmp_path: Path) -> None:
    mixed = ["--server", "http://192.0.2.1:8053", "--server", "https://192.0.2.2:8053"]
    refused = svcdns("proxy", *mixed)
    assert refused.returncode == 2
    assert "http and https are mixed" in refused.stderr
