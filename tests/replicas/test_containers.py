"""Replicas that register containers, each those of an engine of its own, leave each other's alone."""

import asyncio
from pathlib import Path

import pytest
from sources.containers.fake_engine import FakeEngine
from toolbox.running_etcd import RunningEtcd
from toolbox.running_server import RunningServer
from toolbox.waiting import wait_for

ENGINE = "svcdns.io/engine"


def pods(server: RunningServer) -> dict[str, str]:
    """Return whose engine's each Pod is, by its name."""
    items = server.get("/api/v1/namespaces/shop/pods").json["items"]
    return {one["metadata"]["name"]: one["metadata"]["labels"][ENGINE] for one in items}


@pytest.mark.parametrize("podman", [False, True], ids=["docker", "podman"])
async def test_engines_without_a_name_are_told_apart(etcd: RunningEtcd, tmp_path: Path, podman: bool) -> None:
    """Also by a replica that is started again, and finds what it does not know."""
    left = FakeEngine(tmp_path / "left.sock", podman=podman, id="LEFT:LEFT")
    right = FakeEngine(tmp_path / "right.sock", podman=podman, id="RGHT:RGHT")
    left.start("a", "10.89.0.5", ("shop", "db", 1))
    right.start("b", "10.99.0.5", ("shop", "db", 2))
    config = f'[store]\netcd = ["{etcd.endpoints[0]}"]\netcd_prefix = "/containers-{podman}/"\n'

    def server(engine: FakeEngine) -> RunningServer:
        return RunningServer(workers=1, config=config, arguments=("--containers", f"unix://{engine.socket}"))

    def work() -> None:
        with server(left) as a, server(right) as b:
            wait_for(lambda: pods(a).keys() == pods(b).keys() == {"db-1", "db-2"}, "both to be registered")
            found = pods(a)
            assert len({*found.values()}) == 2
            b.stop()
            b.start()
            listed = f'svcdns_containers_registered{{engine="{found["db-2"]}"}} 1'
            wait_for(lambda: listed in b.get("/metrics").text, "all to be listed anew")
            assert pods(b) == found
            assert b.answers("db.shop.svc.cluster.local") == ["10.89.0.5", "10.99.0.5"]

    async with left, right:
        await asyncio.to_thread(work)
