"""The Node that a proxy keeps in the registry."""

from collections.abc import Iterator
from typing import Any

import pytest
from proxy.agent_harness import RecordingEngine, running_agent
from toolbox.builders import node
from toolbox.running_server import RunningServer
from toolbox.waiting import until

from svcdns.cluster.traffic_plan import Host

NODES = "/api/v1/nodes"
HOST = Host(node_addresses=(bytes((192, 0, 2, 7)), bytes(15) + b"\x07"))


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as running:
        yield running


@pytest.fixture(autouse=True)
def no_node(server: RunningServer) -> Iterator[None]:
    yield
    server.delete(f"{NODES}/here")


def ready(server: RunningServer) -> dict[str, Any]:
    found = server.get(f"{NODES}/here")
    conditions = found.json["status"].get("conditions", []) if found.status == 200 else []
    return next((one for one in conditions if one["type"] == "Ready"), {})


async def test_a_proxy_registers_its_node_and_says_when_it_ends(server: RunningServer) -> None:
    async with running_agent(server.api, RecordingEngine(), host=HOST, register=True):
        await until(lambda: ready(server).get("status") == "True")
        found = server.get(f"{NODES}/here").json
        assert found["metadata"]["labels"]["kubernetes.io/hostname"] == "here"
        assert found["status"]["addresses"] == [
            {"type": "InternalIP", "address": "192.0.2.7"},
            {"type": "InternalIP", "address": "::7"},
            {"type": "Hostname", "address": "here"},
        ]

    assert (ready(server)["status"], ready(server)["reason"]) == ("False", "ProxyEnded")


async def test_what_others_say_of_the_node_stays(server: RunningServer) -> None:
    labels = {"topology.kubernetes.io/zone": "a"}
    made = {"metadata": {"name": "here", "labels": labels}}
    assert server.post(NODES, made).status == 201
    disk = {"type": "DiskPressure", "status": "False"}
    assert server.patch(f"{NODES}/here/status", {"status": {"conditions": [disk]}}).status == 200

    async with running_agent(server.api, RecordingEngine(), host=HOST, register=True) as agent:
        await until(lambda: ready(server).get("status") == "True")
        await until(lambda: agent.traffic.here.place.zone == "a")

    found = server.get(f"{NODES}/here").json
    assert found["metadata"]["labels"] == labels
    assert [one["type"] for one in found["status"]["conditions"]] == ["DiskPressure", "Ready"]


async def test_a_node_that_a_kubelet_keeps_is_left_alone(server: RunningServer) -> None:
    made = node("here", "192.0.2.1")
    made["status"]["conditions"][0]["reason"] = "KubeletReady"
    assert server.post(NODES, made).status == 201
    before = server.get(f"{NODES}/here").json

    async with running_agent(server.api, RecordingEngine(), host=HOST, register=True) as agent:
        assert agent.own_node is not None
        await until(lambda: agent.own_node.times_kept)

    assert server.get(f"{NODES}/here").json == before


async def test_none_is_registered_where_that_is_not_wanted(server: RunningServer) -> None:
    async with running_agent(server.api, RecordingEngine(), host=HOST, register=False) as agent:
        await until(lambda: agent.api.node.is_listed)

    assert server.get(f"{NODES}/here").status == 404
