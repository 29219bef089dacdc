"""`svcdns serve --proxy`: a proxy beside the server, which comes and goes without it."""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from server.test_supervisor import OF_PACKAGES, is_for_everybody
from server.upgrading import reconfigure, upgraded
from toolbox.builders import pod, service
from toolbox.running_server import RunningServer, svcdns
from toolbox.waiting import wait_for

SERVICES = "/api/v1/namespaces/default/services"
PODS = "/api/v1/namespaces/default/pods"
ADDRESS = "127.96.0.77"
NET_ADMIN, NET_RAW = 1 << 12, 1 << 13


def config(**more: str) -> str:
    """Carried by sockets, on addresses that need no rights; no two tests share a port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    top = "".join(f"{name} = {value!r}\n" for name, value in more.items())
    ranges = "[services]\ncluster_ip_ranges = ['127.96.0.0/16']\n"
    return f"{top}{ranges}[proxy]\nserve = true\nengine = 'user'\nhealthz = '127.0.0.1:{port}'\n"


@contextmanager
def echoing() -> Iterator[int]:
    """A server on loopback that anybody can connect to; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def register(server: RunningServer, port: int) -> None:
    """A Service at ADDRESS, with one endpoint on loopback."""
    made = service(clusterIP=ADDRESS, ports=[{"name": "http", "port": port, "targetPort": port}])
    assert server.post(SERVICES, made).status == 201
    assert server.post(PODS, pod("web-1", "127.0.0.1", ready=True)).status == 201


def connects(port: int, address: str = ADDRESS) -> bool:
    with suppress(OSError), socket.create_connection((address, port), timeout=5):
        return True
    return False


def proxies(server: RunningServer) -> list[int]:
    """The pids of proxies that run as children of a server."""
    assert server.process is not None
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            parent = int((process / "stat").read_text().rpartition(") ")[2].split()[1])
            if parent == server.process.pid and b"svcdns.server.proxy" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    return found


def proxy_pid(server: RunningServer) -> int:
    return wait_for(lambda: proxies(server), "a proxy")[0]


def test_it_carries_connections_and_is_started_again_while_all_else_goes_on() -> None:
    with echoing() as port, RunningServer(workers=1, config=config()) as server:
        register(server, port)
        wait_for(lambda: connects(port), "a connection through the Service")

        others, first = {server.writer_pid, *server.worker_pids}, proxy_pid(server)
        os.kill(first, signal.SIGKILL)
        assert server.answers("web.default.svc.cluster.local") == [ADDRESS]
        assert server.get(f"{SERVICES}/web").status == 200
        wait_for(lambda: proxies(server) and proxies(server) != [first], "another proxy")
        wait_for(lambda: connects(port), "a connection through the Service again")
        assert {server.writer_pid, *server.worker_pids} == others

        last = proxy_pid(server)
        assert server.stop() == 0
        assert not Path(f"/proc/{last}").exists()


def test_a_proxy_that_cannot_start_takes_nothing_down() -> None:
    broken = config().replace("'user'", "'nft'")
    command = (sys.executable, "-c", _WITHOUT_RIGHTS)
    with RunningServer(workers=1, config=broken, command=command) as server:
        wait_for(lambda: "no traffic is carried to Services: " in server.log(), "the refusal")
        wait_for(lambda: "proxy ended with code 1, " in server.log(), "it to be tried again")
        assert server.get("/readyz").status == 200
        assert server.stop() == 0


_WITHOUT_RIGHTS = """
import functools, sys
from svcdns.cli import main
from svcdns.server import supervisor
refuse = "import svcdns.proxy.choice as c; c.missing_for_nft = lambda: 'no rights'; import runpy; " + (
    "runpy.run_module('svcdns.server.proxy', run_name='__main__')"
)
commands = supervisor.Commands(proxy=(sys.executable, "-c", refuse))
supervisor.run = functools.partial(supervisor.run, commands=commands)
main.main(sys.argv[1:])
"""


def test_an_api_with_tls_that_asks_who_one_is_knows_its_own_proxy(tmp_path: Path) -> None:
    """By a certificate for another name, of a CA that this machine does not trust."""
    assert svcdns("certs", "init", "--dir", tmp_path / "certs", "--host", "dns.example.org").returncode == 0
    svcdns("token", "create", "--name", "me", "--role", "view", "--file", tmp_path / "tokens")
    with echoing() as port:
        made = service(clusterIP=ADDRESS, ports=[{"name": "http", "port": port, "targetPort": port}])
        objects = [made, pod("web-1", "127.0.0.1", ready=True)]
        (tmp_path / "objects.json").write_text(
            json.dumps({"kind": "List", "apiVersion": "v1", "items": objects})
        )
        files = "".join(
            f"{name} = '{tmp_path / file}'\n"
            for name, file in (
                ("tokens", "tokens"),
                ("tls_cert", "certs/server.crt"),
                ("tls_key", "certs/server.key"),
                ("client_ca", "certs/ca.crt"),
            )
        )
        secured = f"manifests = ['{tmp_path / 'objects.json'}']\n{config()}[api]\n{files}"
        with RunningServer(workers=1, config=secured):
            wait_for(lambda: connects(port), "a connection through the Service")


def test_an_upgrade_leaves_one_proxy_a_new_one() -> None:
    with echoing() as port, RunningServer(workers=1, config=config()) as server:
        register(server, port)
        first = proxy_pid(server)
        wait_for(lambda: connects(port), "a connection through the Service")

        upgraded(server)

        wait_for(lambda: proxies(server) and proxies(server) != [first], "another proxy")
        assert len(proxies(server)) == 1
        wait_for(lambda: connects(port), "a connection through the Service again")


def test_a_reload_starts_it_moves_it_to_other_ranges_and_ends_it() -> None:
    off = config().replace("serve = true", "serve = false")
    with echoing() as port, RunningServer(workers=1, config=off) as server:
        register(server, port)
        assert proxies(server) == []
        reconfigure(server, "serve = false", "serve = true")
        upgraded(server)
        wait_for(lambda: connects(port), "a connection through the Service")

        reconfigure(server, "127.96.0.0/16", "127.97.0.0/16")
        upgraded(server)
        made = service(
            "next", selector={"app": "web"}, ports=[{"name": "http", "port": port, "targetPort": port}]
        )
        address = server.post(SERVICES, made).json["spec"]["clusterIP"]
        assert address.startswith("127.97.")
        wait_for(lambda: connects(port, address), "a connection by the other range")

        reconfigure(server, "serve = true", "serve = false")
        upgraded(server)
        assert proxies(server) == []
        assert not connects(port, address)
        assert server.get(f"{SERVICES}/web").status == 200


def capabilities(pid: int) -> tuple[int, int]:
    """What a process may do, and what its children would be given."""
    lines = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    return int(lines["CapEff"], 16), int(lines["CapAmb"], 16)


def permitted(pid: int) -> int:
    """What a process could take up by itself."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("CapPrm:")[2].split()[0], 16)


@pytest.fixture
def python_for_all() -> str:
    """A Python that other users may run; only root may become another user."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    python = next((path for path in (sys.executable, "/usr/bin/python3") if is_for_everybody(path)), "")
    return python or pytest.skip("no Python here is for other users")


ENVIRON = OF_PACKAGES


def test_with_a_user_the_proxy_alone_keeps_the_rights_that_traffic_takes(python_for_all: str) -> None:
    command = (python_for_all, "-m", "svcdns")
    server = RunningServer(workers=1, config=config(user="nobody"), command=command, environ=ENVIRON)
    server.folder.chmod(0o755)
    with server:
        assert server.process is not None
        for pid in (server.process.pid, server.writer_pid, *server.worker_pids):
            assert Path(f"/proc/{pid}").owner() == "nobody"
            assert capabilities(pid) == (0, 0)
        assert permitted(server.process.pid) == NET_ADMIN | NET_RAW
        assert [permitted(pid) for pid in (server.writer_pid, *server.worker_pids)] == [0, 0]
        first = proxy_pid(server)
        assert Path(f"/proc/{first}").owner() == "nobody"
        assert capabilities(first)[0] == NET_ADMIN | NET_RAW

        os.kill(first, signal.SIGKILL)
        wait_for(lambda: proxies(server) and proxies(server) != [first], "another proxy")
        assert capabilities(proxy_pid(server))[0] == NET_ADMIN | NET_RAW

        upgraded(server)
        assert capabilities(proxy_pid(server))[0] == NET_ADMIN | NET_RAW
        assert capabilities(server.process.pid) == (0, 0)
        assert permitted(server.process.pid) == NET_ADMIN | NET_RAW
        assert capabilities(server.writer_pid) == (0, 0)


@pytest.mark.parametrize("by_capset", [True, False], ids=["", "capset is forbidden"])
def test_rights_that_a_service_manager_gives_go_to_the_proxy_alone(
    python_for_all: str, by_capset: bool
) -> None:
    """As a unit with AmbientCapabilities= does; one with a filter of system calls forbids capset(2)."""
    rights = "+net_admin,+net_raw"
    become = ("setpriv", "--reuid=nobody", "--clear-groups", f"--inh-caps={rights}")
    script = "from svcdns.server import capabilities; capabilities._set = lambda sets: None; "
    run = "import runpy; runpy.run_module('svcdns', run_name='__main__')"
    program = (python_for_all, "-m", "svcdns") if by_capset else (python_for_all, "-c", script + run)
    command = (*become, f"--ambient-caps={rights}", *program)
    server = RunningServer(workers=1, config=config(), command=command, environ=ENVIRON)
    server.folder.chmod(0o777)
    with server:
        assert server.process is not None
        assert capabilities(proxy_pid(server))[0] == NET_ADMIN | NET_RAW
        assert capabilities(server.writer_pid) == (0, 0)
        assert capabilities(server.worker_pids[0]) == (0, 0)
        assert capabilities(server.process.pid)[1] == 0
