"""The whole server: what a user sees while its processes come and go."""

import contextlib
import http.client
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from dns.message import from_wire, make_query
from toolbox.builders import service
from toolbox.running_server import RunningServer
from toolbox.stopping import stop
from toolbox.waiting import GUARD_SECONDS, wait_for

SERVICES = "/api/v1/namespaces/default/services"
VERSION = "dns-version.cluster.local"


MANIFEST = """
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  clusterIP: 10.96.7.7
  ports:
  - port: 80
"""


def create(server: RunningServer, name: str) -> str:
    reply = server.post(SERVICES, service(name))
    assert reply.status == 201, reply.text
    address: str = reply.json["spec"]["clusterIP"]
    return address


@pytest.fixture
def own() -> Iterator[RunningServer]:
    """A server of one test, which does things to it."""
    with RunningServer(workers=2) as running:
        yield running


def test_ready_means_that_every_worker_answers(server: RunningServer) -> None:
    assert server.get("/readyz").text == "ok"
    replies = server.ask_every_worker(VERSION, "TXT")
    assert sorted(replies) == ["worker-0", "worker-1"]
    assert all(reply.answer for reply in replies.values())


def test_a_service_is_answered_by_every_worker_over_udp_and_tcp(server: RunningServer) -> None:
    address = create(server, "everywhere")
    name = "everywhere.default.svc.cluster.local"
    for reply in server.ask_every_worker(name).values():
        assert [rdata.to_text() for rrset in reply.answer for rdata in rrset] == [address]
    assert server.answers(name, tcp=True) == [address]


def test_a_configuration_larger_than_a_variable_may_be_reaches_the_children() -> None:
    networks = ["loopback", *(f"10.{n >> 8}.{n & 255}.0/24" for n in range(10_000))]
    with RunningServer(workers=1, config=f"[acl]\nnames = {networks}\n") as running:
        assert running.ask(VERSION, "TXT").answer


def test_dns_goes_on_while_the_writer_is_dead(own: RunningServer) -> None:
    address = create(own, "web")
    pid = own.writer_pid
    stop(pid)  # as dead as can be, and nobody starts another
    for _ in range(20):
        assert own.answers("web.default.svc.cluster.local") == [address]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: own.writer_pid not in (0, pid), "another writer")
    wait_for(own.counters().ready, "the server to be ready again")
    assert own.get(f"{SERVICES}/web").json["spec"]["clusterIP"] == address


def test_a_killed_worker_comes_back_and_its_counters_with_it(own: RunningServer) -> None:
    for _ in range(20):
        own.ask(VERSION, "TXT")
    counters = own.counters()
    wait_for(lambda: sum(counters.totals()) >= 20, "the counters to be handed over")
    before = counters.totals()
    for pid in own.worker_pids:
        os.kill(pid, signal.SIGKILL)
    replies = own.ask_every_worker(VERSION, "TXT")
    assert all(reply.answer or reply.rcode() for reply in replies.values())
    wait_for(counters.ready, "the workers to be ready again")
    own.ask_every_worker(VERSION, "TXT")
    wait_for(lambda: counters.totals() != before, "the new workers to hand over theirs")
    after = counters.totals()
    assert all(new >= old for new, old in zip(after, before, strict=True))
    assert 'svcdns_process_restarts_total{process="worker-0"} 1.0' in own.get("/metrics").text


def test_a_restarted_server_has_everything(own: RunningServer) -> None:
    address = create(own, "web")
    assert own.stop() == 0
    own.start()
    assert own.answers("web.default.svc.cluster.local") == [address]


def test_a_killed_server_has_everything(own: RunningServer) -> None:
    address = create(own, "web")
    own.kill()
    own.start()
    assert own.answers("web.default.svc.cluster.local") == [address]


def failed_start(server: RunningServer) -> list[str]:
    """Launch a server that must not come up; return the lines meant for the user."""
    before = len(server.log().splitlines())
    server.launch()
    assert server.process is not None
    assert server.process.wait(GUARD_SECONDS) == 1
    assert "Traceback" not in server.log()
    return [line for line in server.log().splitlines()[before:] if line.startswith("svcdns: ")]


def test_manifests_are_applied_before_it_is_ready(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(MANIFEST)
    with RunningServer(workers=1, arguments=("--manifests", str(tmp_path))) as server:
        assert server.answers("web.default.svc.cluster.local") == ["10.96.7.7"]


def test_strict_mistakes_in_manifests_end_the_start_all_named(tmp_path: Path) -> None:
    manifest = tmp_path / "web.yaml"
    manifest.write_text(MANIFEST.replace("10.96.7.7", "10.96.7.777"))
    (tmp_path / "b.yaml").write_text("{")
    (tmp_path / "c.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}")
    server = RunningServer(workers=1, arguments=("--manifests", str(tmp_path), "--strict-manifests"))
    lines = failed_start(server)
    assert [line.removeprefix(f"svcdns: {tmp_path}/").partition(",")[0] for line in lines] == [
        "b.yaml",
        "web.yaml",
        "c.yaml",
    ]
    assert ", document 1, spec.clusterIP" in lines[1]
    server.close()


def test_strict_what_only_the_registry_sees_ends_the_start_too(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(MANIFEST)
    other = tmp_path / "zz.yaml"
    other.write_text(MANIFEST.replace("web", "other"))
    config = f'manifests = ["{tmp_path}"]\nstrict_manifests = true\n'
    server = RunningServer(workers=1, config=config)
    (line,) = failed_start(server)
    assert line.startswith(f"svcdns: {other}, document 1, spec.clusterIP")
    server.close()


def test_a_strict_writer_that_comes_back_to_a_broken_manifest_goes_on(tmp_path: Path) -> None:
    manifest = tmp_path / "web.yaml"
    manifest.write_text(MANIFEST)
    arguments = ("--manifests", str(manifest), "--strict-manifests")
    with RunningServer(workers=1, arguments=arguments) as server:
        manifest.write_text("{")
        os.kill(server.writer_pid, signal.SIGKILL)
        wait_for(lambda: "manifests are not applied again" in server.log(), "the log line")
        wait_for(server.counters().ready, "the server to be ready again")
        assert server.answers("web.default.svc.cluster.local") == ["10.96.7.7"]


def test_zone_files_are_served_and_taken_over_at_a_hangup(tmp_path: Path) -> None:
    zone = tmp_path / "example.org.zone"
    zone.write_text("$TTL 60\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n")
    with RunningServer(workers=2, config=f'[dns]\nzones = "{tmp_path}"\n') as server:
        assert server.answers("ns.example.org") == ["192.0.2.1"]
        zone.write_text(zone.read_text() + "www A 192.0.2.2\n")
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.answers("www.example.org") == ["192.0.2.2"], "the new zone")


def test_data_of_a_newer_version_are_refused_with_one_line(own: RunningServer) -> None:
    assert own.stop() == 0
    with lmdb.open(str(own.data), max_dbs=64, map_size=64 << 30) as env:
        meta = env.open_db(b"meta", create=False)
        with env.begin(write=True) as txn:
            txn.put(b"layout", (77).to_bytes(4), db=meta)
    (line,) = failed_start(own)
    assert "this svcdns reads up to" in line


def test_damaged_data_are_refused_with_one_line(own: RunningServer) -> None:
    assert own.stop() == 0
    (own.data / "data.mdb").write_bytes(b"not LMDB's" * 10_000)
    (line,) = failed_start(own)
    assert line.startswith(f"svcdns: the data in {own.data} can't be read: ")


def is_told_to_end(pid: int) -> bool:
    """Whether SIGTERM waits for a stopped process."""
    pending = re.search(r"^ShdPnd:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return pending is not None and bool(int(pending[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_what_waits_in_the_sockets_is_answered_before_the_end(own: RunningServer) -> None:
    workers = own.worker_pids
    for pid in workers:
        stop(pid)
    question = make_query(VERSION, "TXT").to_wire()
    with contextlib.ExitStack() as opened:
        clients = [opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(200)]
        for client in clients:
            client.settimeout(GUARD_SECONDS)
            for _ in range(10):
                client.sendto(question, own.dns)
        assert own.process is not None
        own.process.send_signal(signal.SIGTERM)
        wait_for(lambda: all(map(is_told_to_end, workers)), "the workers to be told")
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        replies = [from_wire(client.recv(4096)) for client in clients for _ in range(10)]
    assert all(reply.answer for reply in replies)
    assert own.process.wait(GUARD_SECONDS) == 0


def test_metrics_count_what_was_asked(own: RunningServer) -> None:
    for _ in range(5):
        own.ask(VERSION, "TXT")
    line = 'svcdns_dns_requests_total{protocol="udp",rcode="NOERROR",type="TXT",zone="cluster"} 5.0'
    wait_for(lambda: line in own.get("/metrics").text, "the counter to reach 5")


def test_a_server_without_work_ends_at_once_when_a_watch_is_open(own: RunningServer) -> None:
    connection = http.client.HTTPConnection(own.api.removeprefix("http://"), timeout=60)
    connection.request("GET", f"{SERVICES}?watch=1")
    assert connection.getresponse().status == 200
    assert own.stop() == 0
    assert "is killed" not in own.log()
    connection.close()
