"""The Lease that a proxy keeps for its node, and what it says where addresses can't be shared safely."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from proxy.agent_harness import RecordingEngine, running_agent
from toolbox.builders import service
from toolbox.running_server import RunningServer
from toolbox.waiting import until

from svcdns.config.sections import Network
from svcdns.proxy.machine import FixedMachine

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
NETWORK = ip_network("192.168.77.0/24")
CONFIG = '[services]\nload_balancer_ranges = ["192.168.77.192/26"]\n'


@dataclass(slots=True)
class Announces(FixedMachine):
    """A machine in a network, that writes down what it is to answer for; it may have no gate."""

    can_end: bool = True
    answers: list[tuple[set[str], bool]] = field(default_factory=list)
    """Addresses, and whether without end."""

    def announces_in(self) -> frozenset[Network]:
        return frozenset({NETWORK})

    def answer_for(self, gated: frozenset[bytes], answered: frozenset[bytes], seconds: float | None) -> None:
        if seconds is not None and not self.can_end:
            raise OSError("no such family")
        self.answers.append(({str(ip_address(one)) for one in answered}, seconds is None))


@pytest.fixture
def server() -> Iterator[RunningServer]:
    with RunningServer(workers=1, config=CONFIG) as running:
        yield running


def lease(server: RunningServer) -> dict[str, Any]:
    found = server.get(f"{LEASES}/here")
    return dict(found.json) if found.status == 200 else {}


def announces(server: RunningServer) -> dict[str, str]:
    return dict(lease(server).get("metadata", {}).get("annotations", {}))


def other_node(server: RunningServer) -> None:
    """Register one that announces in the same network, but no address now."""
    annotations = {"svcdns.io/announces-in": str(NETWORK)}
    made = {"metadata": {"name": "other", "annotations": annotations}, "spec": {"holderIdentity": "other"}}
    assert server.post("/api/v1/namespaces", {"metadata": {"name": "kube-node-lease"}}).status < 300
    assert server.post(LEASES, made).status == 201


async def test_it_is_there_while_the_proxy_runs_and_has_no_holder_afterwards(server: RunningServer) -> None:
    async with running_agent(server.api, RecordingEngine(), register=True):
        await until(lambda: lease(server))
        assert lease(server)["spec"]["holderIdentity"].startswith("here_")
        assert lease(server)["spec"]["leaseDurationSeconds"] == 15
        assert announces(server) == {}
    assert "holderIdentity" not in lease(server)["spec"]


@pytest.mark.parametrize("can_end", [True, False])
async def test_one_alone_answers_without_end(server: RunningServer, can_end: bool) -> None:
    made = server.post(
        "/api/v1/namespaces/default/services", service("web", type="LoadBalancer", ports=[{"port": 80}])
    )
    (address,) = (one["ip"] for one in made.json["status"]["loadBalancer"]["ingress"])
    machine = Announces(can_end=can_end)
    async with running_agent(
        server.api, RecordingEngine(), machine=machine, register=True, balanced=("192.168.77.192/26",)
    ):
        await until(lambda: machine.answers[-1:] == [({address}, True)])
        assert announces(server) == {
            "svcdns.io/announces-in": str(NETWORK),
            "svcdns.io/announces": address,
            "svcdns.io/announces-alone": "true",
        }
    assert machine.answers[-1] == ({address}, True)  # it goes on
    assert announces(server)["svcdns.io/announces-alone"] == "true"


async def test_a_machine_that_cannot_put_an_end_to_answers_takes_no_part(server: RunningServer) -> None:
    other_node(server)
    server.post(
        "/api/v1/namespaces/default/services", service("web", type="LoadBalancer", ports=[{"port": 80}])
    )
    machine = Announces(can_end=False)
    async with running_agent(
        server.api, RecordingEngine(), machine=machine, register=True, balanced=("192.168.77.192/26",)
    ):
        await until(lambda: lease(server))
        assert announces(server) == {}
    assert all(answered == set() for answered, _ in machine.answers)
