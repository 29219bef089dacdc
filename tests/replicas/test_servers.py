"""Whole servers share a registry: one is killed, etcd goes away, and names are answered all the while."""

import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from toolbox.builders import headless, pod, service
from toolbox.on_etcd import PATIENCE_SECONDS
from toolbox.running_etcd import RunningEtcd
from toolbox.running_server import Reply, RunningServer, svcdns
from toolbox.stopping import stop
from toolbox.waiting import wait_for

from svcdns.cluster.rendezvous import of_object, owner

SERVICES, PODS = "/api/v1/namespaces/default/services", "/api/v1/namespaces/default/pods"


@pytest.fixture
def pair(etcd: RunningEtcd, request: pytest.FixtureRequest) -> Iterator[list[RunningServer]]:
    """Give two servers with one registry."""
    config = (
        f'[store]\netcd = ["{etcd.endpoints[0]}"]\netcd_prefix = "/{request.node.name}/"\n'
        f"etcd_timeout_ms = {PATIENCE_SECONDS * 1000}\n"
    )
    with RunningServer(workers=1, config=config) as a, RunningServer(workers=1, config=config) as b:
        yield [a, b]


def addresses(server: RunningServer, name: str = "web.default.svc.cluster.local") -> set[str]:
    """Return the addresses that a name has."""
    return {str(rr) for rrset in server.ask(name).answer for rr in rrset}


def test_what_one_server_takes_both_answer(pair: list[RunningServer]) -> None:
    a, b = pair
    assert a.post(SERVICES, headless("web")).status == 201
    made = b.post(PODS, pod("web-1", "10.1.0.1", ready=True))
    assert made.status == 201
    assert addresses(b) == {"10.1.0.1"}, "who was asked shows it at once"
    wait_for(lambda: addresses(a) == {"10.1.0.1"})
    assert a.get(f"{PODS}/web-1").json == made.json == b.get(f"{PODS}/web-1").json
    slices = "/apis/discovery.k8s.io/v1/endpointslices"
    assert a.get(slices).json["items"] == b.get(slices).json["items"]


def newest(server: RunningServer, path: str) -> Reply:
    """Return what a server says that has heard from etcd in time: one that has not says so."""
    return wait_for(lambda: next((got for got in [server.get(path)] if "Warning" not in got.headers), None))


def test_who_is_told_of_a_write_finds_it_at_the_other_server(pair: list[RunningServer]) -> None:
    for number in range(20):
        one, other = pair if number % 2 else reversed(pair)
        assert one.post(SERVICES, service(f"s{number}")).status == 201
        assert newest(other, f"{SERVICES}/s{number}").status == 200
        listed = newest(other, f"{SERVICES}?limit=500").json["items"]
        assert {item["metadata"]["name"] for item in listed} == {f"s{n}" for n in range(number + 1)}


def test_a_server_that_is_killed_is_no_loss_to_the_other(pair: list[RunningServer]) -> None:
    a, b = pair
    a.post(SERVICES, headless("web"))
    a.post(PODS, pod("web-1", "10.1.0.1", ready=True))
    a.kill()
    wait_for(lambda: addresses(b) == {"10.1.0.1"})
    assert b.post(PODS, pod("web-2", "10.1.0.2", ready=True)).status == 201
    assert addresses(b) == {"10.1.0.1", "10.1.0.2"}
    a.start()
    wait_for(lambda: addresses(a) == {"10.1.0.1", "10.1.0.2"})
    assert a.post(PODS, pod("web-3", "10.1.0.3", ready=True)).status == 201


def test_without_etcd_names_are_answered_and_writes_are_refused(
    pair: list[RunningServer], etcd: RunningEtcd
) -> None:
    a, b = pair
    a.post(SERVICES, headless("web"))
    a.post(PODS, pod("web-1", "10.1.0.1", ready=True))
    wait_for(lambda: addresses(b) == {"10.1.0.1"}, "the other replica to show it")
    etcd.kill()
    try:
        wait_for(lambda: "etcd can't be used since 2" in a.get("/readyz?verbose").text)
        assert a.get("/readyz").status == 200
        refused = a.post(PODS, pod("web-2", "10.1.0.2", ready=True))
        assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
        assert "etcd can't be used since 2" in refused.json["message"]
        assert "nothing was changed" in refused.json["message"]
        assert addresses(a) == {"10.1.0.1"}
        assert a.get(f"{PODS}/web-1").status == 200
        outage = re.search(r"(?m)^svcdns_etcd_outage_seconds (\S+)", a.get("/metrics").text)
        assert outage is not None and float(outage[1]) > 0
        b.kill()
        b.start()
        assert addresses(b) == {"10.1.0.1"}, "from its own map"
    finally:
        etcd.start()
    for one, name in ((a, "web-2"), (b, "web-3")):
        body = pod(name, f"10.1.0.{name[-1]}", ready=True)
        wait_for(
            lambda one=one, body=body: one.post(PODS, body).status in (201, 409), "writes to be taken again"
        )
    both = {"10.1.0.1", "10.1.0.2", "10.1.0.3"}
    wait_for(lambda: addresses(a) == both == addresses(b))
    wait_for(lambda: "etcd" not in a.get("/readyz?verbose").text, "nothing to be said of etcd")


def test_a_server_that_differs_ends_and_says_in_what(pair: list[RunningServer]) -> None:
    config = (pair[0].folder / "svcdns.toml").read_text()
    other = RunningServer(workers=1, config='cluster_domain = "other.test"\n' + config)
    try:
        other.launch()
        assert other.process is not None
        assert other.process.wait(60) == 1
        assert "cluster_domain: cluster.local in etcd, other.test here" in other.log()
    finally:
        other.close()


def test_check_tries_etcd(pair: list[RunningServer], tmp_path: Path) -> None:
    file = pair[0].folder / "svcdns.toml"
    good = svcdns("check", "--config", file)
    assert (good.returncode, "no mistakes" in good.stdout) == (0, True), good.stderr
    other = tmp_path / "svcdns.toml"
    other.write_text('cluster_domain = "other.test"\n' + file.read_text())
    differs = svcdns("check", "--config", other)
    assert differs.returncode == 2
    assert "cluster_domain: cluster.local in etcd, other.test here" in differs.stdout + differs.stderr
    other.write_text('[store]\netcd = ["http://127.0.0.1:1"]\n')
    away = svcdns("check", "--config", other)
    assert (away.returncode, "can't be used now" in away.stderr) == (0, True)


def test_a_first_start_waits_for_etcd(need: Callable[..., str]) -> None:
    need("etcd")
    with RunningEtcd() as etcd:
        etcd.kill()
        config = f'[store]\netcd = ["{etcd.endpoints[0]}"]\n'
        server = RunningServer(workers=1, config=config)
        try:
            server.launch()
            wait_for(lambda: "etcd can't be used" in server.log())
            etcd.start()
            wait_for(server._is_ready, "the server to be ready")
            assert server.post(SERVICES, service("web")).status == 201
        finally:
            server.close()


def test_a_heartbeat_may_be_sent_to_any_server(pair: list[RunningServer]) -> None:
    beating = pod("web-1", "10.1.0.1")
    beating["metadata"]["annotations"] = {"svcdns.io/heartbeat": "10s"}
    for one in pair:
        wait_for(lambda one=one: len(replicas_of(one)) == 2, "the servers to know each other")
    assert pair[0].post(f"{PODS}?waitFor=all", beating).status == 201
    for one in pair:
        assert one.post(f"{PODS}/web-1/heartbeat", {}).status == 204


@contextmanager
def accepting() -> Iterator[int]:
    """Accept connections on all loopback addresses, and close them; give the port."""
    with socket.create_server(("0.0.0.0", 0)) as server:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    server.accept()[0].close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_each_pod_is_probed_by_one_server_and_by_the_other_when_that_dies(pair: list[RunningServer]) -> None:
    a, b = pair
    a.post(SERVICES, headless("web"))
    with accepting() as port:
        probe = {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 30}
        probed = {f"web-{number}": f"127.0.0.{number}" for number in range(1, 17)}
        for name, address in probed.items():
            body = pod(name, address)
            body["spec"] = {"containers": [{"name": "c", "readinessProbe": probe}]}
            a.post(PODS, body)
        wait_for(lambda: addresses(a) == set(probed.values()) == addresses(b), "all to be probed")
        own, names = a.get("/svcdns/v1/replicas").json["name"], replicas_of(a)
        of_a = {probed[name] for name in probed if owner(of_object("Pod", "default", name), names) == own}
        frozen = [*a.children("prober"), a.writer_pid]
        stop(frozen[0])
    try:
        wait_for(lambda: addresses(b) == of_a, "those of the other server to be probed on")
        stop(frozen[1])
        wait_for(lambda: not addresses(b), "the others to be taken over")
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


def replicas_of(server: RunningServer) -> list[str]:
    """Return the names of the replicas that a server knows to live."""
    return [one["name"] for one in server.get("/svcdns/v1/replicas").json["replicas"]]


def test_a_write_that_waits_for_all_is_shown_by_all_when_it_is_answered(pair: list[RunningServer]) -> None:
    a, b = pair
    wait_for(lambda: len(replicas_of(a)) == 2 == len(replicas_of(b)), "the servers to know each other")
    a.post(f"{SERVICES}?waitFor=all", headless("web"))
    for number in range(1, 6):
        made = a.post(f"{PODS}?waitFor=all", pod(f"web-{number}", f"10.1.0.{number}", ready=True))
        assert made.status == 201 and made.headers.get("Warning") is None
        assert f"10.1.0.{number}" in addresses(b)
    assert a.post(f"{PODS}?waitFor=some", pod("web-9", "10.1.0.9")).status == 400
    name, frozen = b.get("/svcdns/v1/replicas").json["name"], b.writer_pid
    stop(frozen)
    try:
        late = a.post(f"{PODS}?waitFor=all", pod("web-8", "10.1.0.8", ready=True))
        assert late.status == 201 and name in late.headers["Warning"]
        wait_for(lambda: len(replicas_of(a)) == 1, "its lease to end")
        alone = a.post(f"{PODS}?waitFor=all", pod("web-7", "10.1.0.7", ready=True))
        assert alone.status == 201 and alone.headers.get("Warning") is None
    finally:
        os.kill(frozen, signal.SIGCONT)
    wait_for(lambda: len(replicas_of(a)) == 2, "it to be there again")
    assert a.post(f"{PODS}?waitFor=all", pod("web-6", "10.1.0.6", ready=True)).headers.get("Warning") is None
    assert {"10.1.0.6", "10.1.0.7", "10.1.0.8"} < addresses(b)


def test_without_etcd_for_some_time_answers_say_that_they_are_old(etcd: RunningEtcd) -> None:
    config = (
        f'[store]\netcd = ["{etcd.endpoints[0]}"]\netcd_prefix = "/old/"\nstale_after = 1\n'
        f"etcd_timeout_ms = {PATIENCE_SECONDS * 1000}\n"
    )

    def said(name: str = "web.default.svc.cluster.local") -> list[int]:
        return [int(option.code) for option in server.ask(name, use_edns=0, payload=1232).options]

    with RunningServer(workers=1, config=config) as server:
        server.post(SERVICES, headless("web"))
        server.post(PODS, pod("web-1", "10.1.0.1", ready=True))
        assert said() == []
        etcd.kill()
        try:
            wait_for(lambda: said() == [3], "answers to say that they are old")
            assert addresses(server) == {"10.1.0.1"}
            assert said("nothing.default.svc.cluster.local") == [19]
            assert "answers are as they were" in server.get("/readyz?verbose").text
        finally:
            etcd.start()
        wait_for(lambda: said() == [], "them to be new again")
        assert "answers are as they were" not in server.get("/readyz?verbose").text
