"""A server that registers containers: from an engine's list to DNS, the command line, metrics and /readyz."""

import asyncio
import json
import os
import random
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from sources.containers.fake_engine import FakeEngine
from toolbox.running_server import RunningServer, svcdns
from toolbox.waiting import wait_for

from svcdns.server.crew import CONTAINERS

NAME = "db.shop.svc.cluster.local"


def child(server: RunningServer, name: str = CONTAINERS) -> int:
    """Return the pid of a child, once it runs."""

    return wait_for(lambda: server.children(name), f"process {name}")[0]


def kill(pid: int) -> None:
    """Kill it, unless a kill before has ended it already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


async def with_engine(
    folder: Path,
    work: Callable[[RunningServer, FakeEngine, asyncio.AbstractEventLoop], None],
    config: str = "",
) -> None:
    """Run a test in a thread, beside an engine, with a server that follows it."""
    async with FakeEngine(folder / "engine.sock") as engine:
        engine.start("shop-db-1", "10.89.0.5", ("shop", "db", 1), health="healthy")
        loop = asyncio.get_running_loop()

        def run() -> None:
            flag = ("--containers", f"unix://{engine.socket}")
            with RunningServer(workers=1, config=config, arguments=flag) as server:
                work(server, engine, loop)

        await asyncio.to_thread(run)


async def test_containers_have_names_and_everybody_can_see_which(tmp_path: Path) -> None:
    def work(server: RunningServer, engine: FakeEngine, loop: asyncio.AbstractEventLoop) -> None:
        wait_for(lambda: server.answers(NAME) == ["10.89.0.5"], "the container's address")
        labels = {"svcdns.io/port": "http=99999"}
        loop.call_soon_threadsafe(lambda: engine.start("bad", "10.89.0.6", labels=labels))
        wait_for(lambda: "BadLabel" in svcdns("containers", "--data", server.data).stdout, "the bad one")
        wait_for(lambda: svcdns("containers", "--data", server.data).returncode == 0, "the engine to be up")
        shown = svcdns("containers", "--data", server.data)
        rows = [line.split() for line in shown.stdout.splitlines()]
        assert ["shop-db-1", "running", "shop/db-1", "db"] in rows
        (bad,) = [row for row in rows if row[0] == "bad"]
        assert bad[2] == "-" and "svcdns.io/port:" in bad
        page = json.loads(svcdns("containers", "-o", "json", "--data", server.data).stdout)
        assert [one["up"] for one in page["engines"]] == [True]
        wait_for(lambda: 'skipped{engine="7trn-ipzb-qy",reason="BadLabel"} 1.0' in metrics(server), "metrics")
        for word in (
            "up",
            "list_age_seconds",
            "registered",
            "resyncs_total",
            "events_total",
            "lag_seconds_sum",
        ):
            assert f"svcdns_containers_{word}{{" in metrics(server)

    await with_engine(tmp_path, work)


def metrics(server: RunningServer) -> str:
    return server.get("/metrics").text


async def test_the_servers_own_token_lets_it_register_where_others_are_asked_for_theirs(
    tmp_path: Path,
) -> None:
    tokens = tmp_path / "tokens"
    assert svcdns("token", "create", "--name", "somebody", "--role", "view", "--file", tokens).returncode == 0

    def work(server: RunningServer, engine: FakeEngine, loop: asyncio.AbstractEventLoop) -> None:
        wait_for(lambda: server.answers(NAME) == ["10.89.0.5"], "the container's address")
        assert server.get("/svcdns/v1/containers").status == 401

    await with_engine(tmp_path, work, f'[api]\ntokens = "{tokens}"\n')


def test_an_engine_that_is_not_there_keeps_nothing_from_being_ready(tmp_path: Path) -> None:
    with RunningServer(workers=1, arguments=("--containers", f"unix://{tmp_path}/none.sock")) as server:
        wait_for(lambda: "is not there" in server.log(), "a line in the log")
        assert server.get("/readyz").status == 200
        wait_for(lambda: "svcdns_containers_up{" in metrics(server), "metrics")
        assert f'svcdns_containers_up{{engine="unix://{tmp_path}/none.sock"}} 0.0' in metrics(server)
        wait_for(lambda: "is not there" in svcdns("containers", "--data", server.data).stdout, "the reason")
        assert svcdns("containers", "--data", server.data).returncode == 1


def test_without_engines_there_is_no_process_for_them() -> None:
    with RunningServer(workers=1) as server:
        assert server.children("containers") == []
        shown = svcdns("containers", "--data", server.data)
        assert (shown.returncode, shown.stdout) == (1, "")
        assert "--containers" in shown.stderr


async def test_after_an_upgrade_a_new_process_goes_on(tmp_path: Path) -> None:
    def work(server: RunningServer, engine: FakeEngine, loop: asyncio.AbstractEventLoop) -> None:
        wait_for(lambda: server.answers(NAME) == ["10.89.0.5"], "the container's address")
        before = child(server)
        done = svcdns("upgrade", "--data", server.data)
        assert done.returncode == 0, done.stderr
        wait_for(lambda: not Path(f"/proc/{before}").exists(), "the end of the process of before")
        assert server.answers(NAME) == ["10.89.0.5"], "what was registered stays"
        loop.call_soon_threadsafe(change, engine, 2, "10.89.0.6")
        wait_for(lambda: server.answers(NAME) == ["10.89.0.6"], "what came after the upgrade")
        assert child(server) != before
        assert engine.refused == []

    await with_engine(tmp_path, work)


ORDERS = tuple(permutations(("engine", "source", "writer")))


@pytest.mark.parametrize("orders", [ORDERS[2:4], pytest.param(ORDERS, marks=pytest.mark.soak)])
async def test_after_kills_in_any_order_the_registry_has_what_the_engine_has(
    tmp_path: Path, orders: tuple[tuple[str, ...], ...]
) -> None:
    """kill -9 of engine, source and writer; containers come and go meanwhile."""

    def work(server: RunningServer, engine: FakeEngine, loop: asyncio.AbstractEventLoop) -> None:
        def engine_dies() -> None:
            asyncio.run_coroutine_threadsafe(engine.end(), loop).result()

        kills = {
            "engine": engine_dies,
            "source": lambda: kill(child(server)),
            "writer": lambda: kill(server.writer_pid),
        }
        for number, order in enumerate(orders, 2):
            address = f"10.89.0.{number + 4}"
            for step, one in enumerate(order):
                kills[one]()
                if step == 1:
                    loop.call_soon_threadsafe(change, engine, number, address)
            asyncio.run_coroutine_threadsafe(engine.begin(), loop).result()
            wait_for(lambda wanted=address: server.answers(NAME) == [wanted], f"after kills of {order}")  # type: ignore[misc]
        assert engine.refused == []

    await with_engine(tmp_path, work)


def change(engine: FakeEngine, number: int, address: str) -> None:
    """Have the one container go, and another one come."""
    for one in list(engine.containers.values()):
        engine.remove(one)
    engine.start(f"shop-db-{number}", address, ("shop", "db", number), health="healthy")


@pytest.mark.soak
@pytest.mark.timeout(3000)
async def test_two_hundred_kills_leave_nothing_behind_and_no_wrong_address(tmp_path: Path) -> None:
    """kill -9 at random, while containers come, go and change health: at times the registry is compared."""
    chance = random.Random(15)

    def work(server: RunningServer, engine: FakeEngine, loop: asyncio.AbstractEventLoop) -> None:
        def in_loop(work: Coroutine[Any, Any, None]) -> None:
            asyncio.run_coroutine_threadsafe(work, loop).result()

        async def engine_dies() -> None:
            await engine.end()
            await asyncio.sleep(chance.random() / 5)
            await engine.begin()

        async def happen() -> None:
            running = list(engine.containers.values())
            if len(running) > 20 or (running and chance.random() < 0.4):
                engine.remove(chance.choice(running))
            elif running and chance.random() < 0.3:
                engine.flip(chance.choice(running), chance.choice(("healthy", "unhealthy")))
            else:
                number = min(set(range(1, 60)) - {int(one.name.rpartition("-")[2]) for one in running})
                address = f"10.89.{chance.randrange(1, 4)}.{number}"
                engine.start(f"shop-db-{number}", address, ("shop", "db", number), health="healthy")

        def wanted() -> list[str]:
            return sorted(one.address for one in engine.containers.values() if one.health == "healthy")

        for kill in range(200):
            for _ in range(chance.randrange(5)):
                in_loop(happen())
            match chance.choice(("engine", "source", "writer")):
                case "engine":
                    in_loop(engine_dies())
                case "source":
                    kill(child(server))
                case "writer":
                    kill(server.writer_pid)
            if kill % 10 == 9:
                wait_for(lambda: server.answers(NAME) == wanted(), f"what the engine has, after {kill} kills")
                pods = server.get("/api/v1/namespaces/shop/pods").json["items"]
                there = {one.name.removeprefix("shop-") for one in engine.containers.values()}
                assert {pod["metadata"]["name"] for pod in pods} == there

    await with_engine(tmp_path, work)
