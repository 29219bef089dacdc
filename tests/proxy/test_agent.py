"""A proxy in front of a running server: what is registered is what its engine is told."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from proxy.agent_harness import RecordingEngine, fetched, running_agent
from toolbox.builders import endpoint_slice, pod, service, without_selector
from toolbox.running_server import RunningServer
from toolbox.waiting import until

from svcdns.cluster.traffic_plan import Host
from svcdns.proxy.agent import Agent

SERVICES = "/api/v1/namespaces/default/services"
PODS = "/api/v1/namespaces/default/pods"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
VIP = "TCP 10.96.7.7:80"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1, config="[services]\nload_balancer_ranges = ['192.0.2.0/24']\n") as running:
        yield running


@pytest.fixture
def web(server: RunningServer) -> Iterator[RunningServer]:
    """The server with a Service and two Pods, the second of them not ready."""
    assert server.post(SERVICES, service(clusterIP="10.96.7.7")).status == 201
    assert server.post(PODS, pod("web-1", "10.1.0.1", ready=True)).status == 201
    assert server.post(PODS, pod("web-2", "10.1.0.2", ready=False)).status == 201
    yield server
    for kind in (SERVICES, PODS, SLICES):
        for one in server.get(kind).json["items"]:
            server.delete(f"{kind}/{one['metadata']['name']}")


def be_ready(server: RunningServer, name: str, ready: bool) -> None:
    status = {"status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}
    assert server.patch(f"{PODS}/{name}/status", status).status == 200


async def both_are_watched(server: RunningServer, agent: Agent) -> None:
    """Return when a change of each kind has come by its watch.

    Before that an API that dies need not be noticed: a watch that has yet to begin waits for the next one.
    """
    before = agent.api.revisions()
    annotated = {"metadata": {"annotations": {"seen": "yes"}}}
    assert server.patch(f"{SERVICES}/web", annotated).status == 200
    be_ready(server, "web-2", True)
    await until(
        lambda: all(now > before[kind] for kind, now in agent.api.revisions().items()), "both to be watched"
    )


async def test_what_is_there_comes_in_one_piece_and_then_each_change(web: RunningServer) -> None:
    engine = RecordingEngine()
    async with running_agent(web.api, engine):
        assert engine.replaces == 1
        assert engine.endpoints(VIP) == ["10.1.0.1:8080"]

        be_ready(web, "web-2", True)
        await until(lambda: engine.endpoints(VIP) == ["10.1.0.1:8080", "10.1.0.2:8080"])
        be_ready(web, "web-1", False)
        await until(lambda: engine.endpoints(VIP) == ["10.1.0.2:8080"])
        assert web.delete(f"{SERVICES}/web").status == 200
        await until(lambda: engine.endpoints(VIP) is None)

    assert engine.applies == [{VIP}] * len(engine.applies)
    assert engine.replaces == 1
    assert engine.closed


async def test_the_last_state_stays_while_the_api_is_away_and_is_brought_up_to_date(
    web: RunningServer,
) -> None:
    engine = RecordingEngine()
    async with running_agent(web.api, engine) as agent:
        await both_are_watched(web, agent)
        await until(lambda: engine.endpoints(VIP) == ["10.1.0.1:8080", "10.1.0.2:8080"])
        os.kill(web.writer_pid, signal.SIGKILL)
        await until(lambda: not agent.api.is_connected, "the agent to notice")
        assert engine.endpoints(VIP) == ["10.1.0.1:8080", "10.1.0.2:8080"]
        assert not agent.status.why_unhealthy()

        await until(lambda: agent.api.is_connected, "the API to be followed again")
        be_ready(web, "web-1", False)
        await until(lambda: engine.endpoints(VIP) == ["10.1.0.2:8080"])
    assert engine.replaces == 1, "what is in effect is changed, not made anew"


async def test_an_external_ip_that_is_not_allowed_is_an_event_on_its_service(web: RunningServer) -> None:
    given = {"spec": {"externalIPs": ["198.51.100.1"]}}

    async def reported() -> int:
        async with running_agent(web.api, RecordingEngine()):
            await until(lambda: _events(web, "ExternalIPNotAllowed"))
        return len(_events(web, "ExternalIPNotAllowed"))

    assert web.patch(f"{SERVICES}/web", given).status == 200
    assert await reported() == 1
    assert "externalIPs: 198.51.100.1 " in _events(web, "ExternalIPNotAllowed")[0]["message"]
    assert await reported() == 1, "a proxy that is started again says it in the same Event"


async def test_a_status_that_says_the_cluster_ip_of_another_moves_nothing() -> None:
    """Where the server gives no addresses to load balancers, whoever writes a status does."""
    ingress = {"status": {"loadBalancer": {"ingress": [{"ip": "10.96.7.99"}, {"ip": "192.0.2.9"}]}}}
    with RunningServer(workers=1) as server:
        assert server.post(SERVICES, without_selector("greedy", type="LoadBalancer")).status == 201
        assert server.patch(f"{SERVICES}/greedy/status", ingress).status == 200
        engine = RecordingEngine()
        async with running_agent(server.api, engine):
            await until(lambda: _events(server, "LoadBalancerIPNotAllowed", "greedy"))
            assert engine.endpoints("TCP 10.96.7.99:80") is None
            assert engine.endpoints("TCP 192.0.2.9:80") == []


def _events(server: RunningServer, reason: str, name: str = "web") -> list[dict[str, str]]:
    found = server.get("/api/v1/namespaces/default/events").json["items"]
    return [one for one in found if one["reason"] == reason and one["involvedObject"]["name"] == name]


async def test_the_health_check_of_a_service_counts_the_ready_endpoints_here(server: RunningServer) -> None:
    made = without_selector("lb", type="LoadBalancer", externalTrafficPolicy="Local")
    port = server.post(SERVICES, made).json["spec"]["healthCheckNodePort"]
    here = Host(node_addresses=(bytes((127, 0, 0, 1)),))
    url = f"http://127.0.0.1:{port}/healthz"

    async with running_agent(server.api, RecordingEngine(), host=here) as agent:
        await until(lambda: agent.health_checks.listening == [("127.0.0.1", port)])
        status, headers, body = await fetched(url)
        assert (status, headers["x-load-balancing-endpoint-weight"]) == (503, "0")

        ports = [{"name": "http", "port": 8080}]
        made = endpoint_slice("lb-1", "lb", "10.2.0.1", "10.2.0.2", ports=ports)
        made["endpoints"][0]["nodeName"] = "here"
        assert server.post(SLICES, made).status == 201
        await until(lambda: agent.traffic.health_checks()[port].local_endpoints)
        status, headers, body = await fetched(url)
        assert (status, headers["x-load-balancing-endpoint-weight"]) == (200, "2")
        assert b'"localEndpoints": 2' in body and b'{"namespace": "default", "name": "lb"}' in body

        assert server.delete(f"{SERVICES}/lb").status == 200
        await until(lambda: not agent.health_checks.listening)


async def test_a_program_that_listens_on_a_node_port_is_told_in_an_event() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        made = without_selector("np", type="NodePort", ports=[{"port": 80, "nodePort": port}])
        with_any_port = "[services]\nnode_port_range = '1024-65535'\n"
        with RunningServer(workers=1, config=with_any_port) as other:
            assert other.post(SERVICES, made).status == 201
            here = Host(node_addresses=(bytes((127, 0, 0, 1)),))
            async with running_agent(other.api, RecordingEngine(), host=here) as agent:
                events = await until(lambda: _events(other, "NodePortTaken", "np"))
                assert f"node port {port} " in events[0]["message"]
                assert f" listens at tcp 127.0.0.1:{port}" in events[0]["message"]
                assert agent.status.page()["problems"][0]["service"] == "default/np"


@pytest.mark.parametrize("kind", ["a Service", "a slice", "what is no proxy's", "nothing at all"])
async def test_who_waits_for_traffic_is_answered_when_the_engine_has_it(
    web: RunningServer, kind: str
) -> None:
    engine = RecordingEngine()
    headers = {"Svcdns-Wait": "proxies=30"}
    async with running_agent(web.api, engine):
        await until(
            lambda: web.get("/svcdns/v1/wait?for=proxies&seconds=0").status != 503, "the proxy to be known"
        )
        for turn in range(3):
            body: dict[str, Any] = {"metadata": {"annotations": {"turn": f"{kind} {turn}"}}}
            path = f"{SERVICES}/web"
            if kind == "a Service":
                body["spec"] = {"ports": [{"name": "http", "port": 80 + turn, "targetPort": 8080}]}
            elif kind == "a slice":
                path = f"{PODS}/web-2/status"
                body = {"status": {"conditions": [{"type": "Ready", "status": str(turn % 2 == 0)}]}}
            elif kind == "what is no proxy's":
                body["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "another"}
            answer = await asyncio.to_thread(
                web.request, "PATCH", path, body, content_type="application/merge-patch+json", headers=headers
            )
            assert (answer.status, "Warning" in answer.headers) == (200, False), answer.headers
            if kind == "a Service":
                assert engine.endpoints(f"TCP 10.96.7.7:{80 + turn}") == ["10.1.0.1:8080"]
            elif kind == "a slice":
                assert len(engine.endpoints(VIP) or ()) == 2 - turn % 2
            elif kind == "what is no proxy's":
                assert engine.endpoints(VIP) is None


async def test_what_the_engine_refuses_is_not_said_to_be_in_effect(web: RunningServer) -> None:
    engine = RecordingEngine()
    async with running_agent(web.api, engine):
        await until(lambda: web.get("/svcdns/v1/wait?for=proxies&seconds=0").status != 503, "the proxy")
        engine.refuses = lambda rules: True
        body = {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 8080}]}}
        headers = {"Svcdns-Wait": "proxies=0.5"}
        merge = "application/merge-patch+json"
        answer = await asyncio.to_thread(
            web.request, "PATCH", f"{SERVICES}/web", body, content_type=merge, headers=headers
        )
        assert "the proxy on here is behind" in answer.headers["Warning"]

        engine.refuses = lambda rules: False
        answer = await asyncio.to_thread(web.get, "/svcdns/v1/wait?for=proxies&seconds=30")
        assert (answer.status, engine.endpoints("TCP 10.96.7.7:81")) == (200, ["10.1.0.1:8080"])
