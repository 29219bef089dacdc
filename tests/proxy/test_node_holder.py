"""Two proxies of one node's name: the one that renews the Lease has it, and the other says whose it is."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from proxy.agent_harness import RecordingEngine, running_agent
from proxy.test_own_lease import Announces, lease
from toolbox.builders import service
from toolbox.running_server import RunningServer
from toolbox.waiting import until

from svcdns.cluster.traffic_objects import Lease, LeaseAnnotations, LeaseMetadata, LeaseSpec
from svcdns.proxy import own_lease
from svcdns.proxy.members import DURATION_SECONDS, NAMESPACE, Members
from svcdns.proxy.node_holder import NodeHolder, NodeTaken, Standing, identity

LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
OWN, BOOTED, ELSEWHERE = "here_a_1_1", "here_a_1_2", "here_b_2_1"
HOLDS, CARRIES, WAITS = Standing.HOLDS, Standing.CARRIES, Standing.WAITS


class Seen:
    """What one proxy sees of its node's Lease, and when."""

    def __init__(self) -> None:
        self.now = 100.0
        self.members = Members(lambda: self.now)
        self.holder = NodeHolder("here", OWN, self.members)

    def lease(self, version: int, holder: str | None, lasting: str = "") -> None:
        annotations = LeaseAnnotations(lasting=lasting)
        metadata = LeaseMetadata("here", NAMESPACE, resource_version=str(version), annotations=annotations)
        self.members.put(Lease(metadata, LeaseSpec(holder, DURATION_SECONDS)))

    def look(self, written: int | None = None) -> Standing:
        return self.holder.look(self.now, written)


@pytest.mark.parametrize("holder", [None, "", OWN, "here", "here_renamed_1_1"])
def test_the_same_proxy_goes_on_at_once(holder: str | None) -> None:
    seen = Seen()
    assert seen.look() is HOLDS
    seen.lease(7, holder, "true")
    assert seen.look() is HOLDS


@pytest.mark.parametrize(("holder", "meanwhile"), [(BOOTED, CARRIES), (ELSEWHERE, WAITS), ("x", WAITS)])
def test_another_holder_has_the_name_while_it_renews_it(holder: str, meanwhile: Standing) -> None:
    seen = Seen()
    seen.lease(7, holder)
    for _ in range(3):
        assert seen.look() is meanwhile
        seen.now += 4
    seen.lease(7, holder)  # listed again: nothing new
    assert seen.look() is meanwhile
    seen.lease(8, holder)
    with pytest.raises(NodeTaken, match=rf"{holder}.*renews its Lease.*--node"):
        seen.look()


@pytest.mark.parametrize("holder", [BOOTED, ELSEWHERE])
def test_another_holder_that_is_late_has_it_no_more(holder: str) -> None:
    seen = Seen()
    seen.lease(7, holder)
    seen.look()
    seen.now += DURATION_SECONDS
    assert seen.look() is HOLDS


def test_who_announces_alone_on_another_machine_has_it_until_its_lease_is_deleted() -> None:
    seen = Seen()
    seen.lease(7, ELSEWHERE, "true")
    seen.now += 1000
    with pytest.raises(NodeTaken, match=r"delete its Lease \(kube-node-lease/here\)"):
        seen.look()
    seen.members.drop(f"{NAMESPACE}/here")
    assert seen.look() is HOLDS
    seen.lease(8, BOOTED, "true")
    seen.now += DURATION_SECONDS
    assert seen.look() is HOLDS


def test_whom_another_one_has_followed_ends() -> None:
    seen = Seen()
    seen.lease(7, ELSEWHERE)
    assert seen.look(written=8) is HOLDS  # seen late: it was before one's own
    seen.lease(9, ELSEWHERE)
    with pytest.raises(NodeTaken, match="was late"):
        seen.look(written=8)


def test_an_identity_is_of_a_name_a_host_a_machine_and_a_place() -> None:
    node, host, machine, place = identity("here").split("_")
    assert (node, host) == ("here", socket.gethostname())
    assert machine != place
    assert identity("here") == identity("here")


@pytest.fixture(scope="module")
def running() -> Iterator[RunningServer]:
    with RunningServer(workers=1) as made:
        made.post("/api/v1/namespaces/default/services", service("web"))
        made.post("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        yield made


@pytest.fixture
def server(running: RunningServer, monkeypatch: pytest.MonkeyPatch) -> RunningServer:
    """A server that knows no node yet; a Lease is renewed often, and lasts also where nobody has time to."""
    monkeypatch.setattr(own_lease, "TIMES", own_lease.Times(renew=0.2, lifetime=0.6, duration=5))
    for path in (f"{LEASES}/here", "/api/v1/nodes/here"):
        running.request("DELETE", path)
    return running


def node(server: RunningServer) -> dict[str, Any]:
    """Return what is said of the Node, without what its own proxy renews."""
    found = server.get("/api/v1/nodes/here").json
    for renewed in ("resourceVersion", "managedFields"):
        found["metadata"].pop(renewed, None)
    for condition in found.get("status", {}).get("conditions", []):
        condition.pop("lastHeartbeatTime", None)
    return dict(found)


async def test_the_second_one_ends_and_has_changed_nothing(server: RunningServer) -> None:
    second = RecordingEngine()
    async with running_agent(server.api, RecordingEngine(), register=True, holder=OWN):
        await until(lambda: lease(server) and "conditions" in node(server).get("status", {}))
        before = node(server)
        with pytest.raises(NodeTaken, match=OWN):
            async with running_agent(server.api, second, listed=False, register=True, holder=ELSEWHERE):
                await asyncio.Event().wait() if second.replaces else await until(lambda: second.closed)
        assert second.replaces == 0
        assert node(server) == before
        assert lease(server)["spec"]["holderIdentity"] == OWN


async def test_of_two_at_once_one_stays(server: RunningServer) -> None:
    engines = {OWN: RecordingEngine(), ELSEWHERE: RecordingEngine()}
    refused: list[str] = []

    async def run(holder: str) -> None:
        try:
            async with running_agent(server.api, engines[holder], listed=False, register=True, holder=holder):
                await until(lambda: engines[holder].closed or refused)
        except NodeTaken:
            refused.append(holder)

    await asyncio.gather(run(OWN), run(ELSEWHERE))
    assert len(refused) == 1


@pytest.mark.parametrize("holder", [BOOTED, ELSEWHERE])
async def test_one_whose_holder_has_died_goes_on_when_that_is_late(
    server: RunningServer, holder: str
) -> None:
    made = {"metadata": {"name": "here"}, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 1}}
    assert server.post(LEASES, made).status == 201
    engine = RecordingEngine()
    async with running_agent(server.api, engine, register=True, holder=OWN):
        await until(lambda: lease(server)["spec"]["holderIdentity"] == OWN)
    assert engine.replaces == 1
    assert "holderIdentity" not in lease(server)["spec"]


async def test_who_was_followed_answers_no_more_and_leaves_the_lease_alone(server: RunningServer) -> None:
    machine, engine = Announces(), RecordingEngine()
    with pytest.raises(NodeTaken):
        async with running_agent(server.api, engine, machine=machine, register=True, holder=OWN):
            await until(lambda: lease(server))
            taken = {"spec": {"holderIdentity": ELSEWHERE}}
            server.patch(f"{LEASES}/here", taken, content_type="application/merge-patch+json")
            await until(lambda: engine.closed)
    assert machine.answers[-1][0] == set()
    assert lease(server)["spec"]["holderIdentity"] == ELSEWHERE
