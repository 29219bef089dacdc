"""Whole servers share a registry: one is killed, etcd goes away, and names are answered all the while."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toolbox.builders import headless, pod, service
from toolbox.running_etcd import RunningEtcd
from toolbox.running_server import RunningServer, svcdns
from toolbox.waiting import wait_for

SERVICES, PODS = "/api/v1/namespaces/default/services", "/api/v1/namespaces/default/pods"


@pytest.fixture
def pair(etcd: RunningEtcd, request: pytest.FixtureRequest) -> Iterator[list[RunningServer]]:
    """Give two servers with one registry."""
    config = f'[store]\netcd = ["{etcd.endpoints[0]}"]\netcd_prefix = "/{request.node.name}/"\n'
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
    assert a.get(slices).json == b.get(slices).json


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
    assert "etcd" not in a.get("/readyz?verbose").text


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
    assert (away.returncode, "store.etcd: it can't be used now" in away.stdout + away.stderr) == (0, True)


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


def test_heartbeats_are_not_promised(pair: list[RunningServer]) -> None:
    beating = pod("web-1", "10.1.0.1")
    beating["metadata"]["annotations"] = {"svcdns.io/heartbeat": "10s"}
    pair[0].post(PODS, beating)
    answer = pair[0].post(f"{PODS}/web-1/heartbeat", {})
    assert answer.status == 501
    assert "not waited for" in answer.text
