"""One engine, followed through all that engines do: what is registered is what its list says.

The number in a docstring is the complaint of users of other programs that the test is about.
"""

import asyncio
import random
from pathlib import Path

import pytest
from sources.containers.fake_engine import FakeEngine
from sources.containers.following import following
from toolbox.running_server import RunningServer
from toolbox.waiting import until

from svcdns.sources.containers import source as source_module


async def test_names_follow_containers(server: RunningServer, tmp_path: Path, name: str) -> None:
    async with following(server, tmp_path, name) as here:
        first = here.engine.start(f"{name}-db-1", "10.89.0.5", (name, "db", 1))
        here.engine.start(f"{name}-db-2", "10.89.0.6", (name, "db", 2))
        await here.until_addresses({f"{name}/db-1": "10.89.0.5", f"{name}/db-2": "10.89.0.6"})
        answers = await asyncio.to_thread(server.answers, f"db.{name}.svc.cluster.local")
        assert answers == ["10.89.0.5", "10.89.0.6"]
        srv = await asyncio.to_thread(server.answers, f"_tcp-5432._tcp.db.{name}.svc.cluster.local", "SRV")
        assert [one.split()[2:] for one in srv] == [
            ["5432", f"db-{n}.db.{name}.svc.cluster.local."] for n in (1, 2)
        ]
        here.engine.stop(first)
        here.engine.remove(first)
        await here.until_addresses({f"{name}/db-2": "10.89.0.6"})


@pytest.mark.parametrize("podman", [False, True])
async def test_health_is_readiness(server: RunningServer, tmp_path: Path, name: str, podman: bool) -> None:
    """moby/libnetwork#2137; dozzle#5211: Podman says the value beside a bare health_status."""
    engine = FakeEngine(tmp_path / "engine.sock", podman=podman)
    async with engine, following(server, tmp_path, name, engine) as here:
        one = engine.start("db", "10.89.0.5", (name, "db", 1), health="starting")
        await until(lambda: here.reasons() == {"db": ""})
        pods = await here.pods()
        assert pods[f"{name}/db-1"]["status"]["conditions"][0]["reason"] == "HealthStarting"
        engine.flip(one, "healthy")
        await here.until_addresses({f"{name}/db-1": "10.89.0.5"})
        engine.flip(one, "unhealthy")
        await here.until_addresses({})
        ready = (await here.pods())[f"{name}/db-1"]["status"]["conditions"][0]
        assert (ready["reason"], ready["message"]) == ("Unhealthy", one.health_log)


@pytest.mark.parametrize("podman", [False, True])
async def test_health_events_without_a_change_cost_nothing(
    server: RunningServer, tmp_path: Path, name: str, podman: bool
) -> None:
    """podman#24003: an event at each probe."""
    engine = FakeEngine(tmp_path / "engine.sock", podman=podman, loses_events=True)
    one = engine.start("db", "10.89.0.5", (name, "db", 1), health="healthy")
    engine.loses_events = False
    async with engine, following(server, tmp_path, name, engine) as here:
        await here.until_addresses({f"{name}/db-1": "10.89.0.5"})
        await until(lambda: engine.streams and here.source.status.registered)
        asked, writes = dict(engine.asked), here.source.status.writes
        for _ in range(200):
            engine.flip(one, "healthy")
        await until(lambda: here.source.status.events["health_status"] >= 200)
        other = engine.start("other", "10.89.0.6", (name, "other", 1))
        await until(lambda: "other" in here.reasons())
        expected = {"containers/json": 1} | ({"inspect": 1} if podman else {})
        assert {
            word: n - asked.get(word, 0) for word, n in engine.asked.items() if n - asked.get(word, 0)
        } == (expected)
        assert here.source.status.writes == writes + 2  # the Service and Pod of the other one
        engine.remove(other)


async def test_an_end_that_no_event_told_of_is_found_by_the_next_list(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """gliderlabs/registrator#325; moby keeps 256 events and skips slow listeners: the list is the truth."""
    async with following(server, tmp_path, name, resync=1) as here:
        gone = here.engine.start("a", "10.89.0.5", (name, "a", 1))
        here.engine.start("b", "10.89.0.6", (name, "b", 1))
        await here.until_addresses({f"{name}/a-1": "10.89.0.5", f"{name}/b-1": "10.89.0.6"})
        here.engine.loses_events = True
        here.engine.stop(gone)
        await here.until_addresses({f"{name}/b-1": "10.89.0.6"})


async def test_what_ended_while_nobody_listened_is_gone_and_nothing_is_forgotten(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """registrator#277, #184: the owner of objects is the engine's name, not that of a process."""
    engine = FakeEngine(tmp_path / "engine.sock")
    async with engine:
        gone = engine.start("a", "10.89.0.5", (name, "a", 1))
        engine.start("b", "10.89.0.6", (name, "b", 1))
        async with following(server, tmp_path, name, engine) as here:
            await here.until_addresses({f"{name}/a-1": "10.89.0.5", f"{name}/b-1": "10.89.0.6"})
        engine.remove(gone)
        engine.start("c", "10.89.0.5", (name, "c", 1))
        async with following(server, tmp_path, name, engine) as here:
            await here.until_addresses({f"{name}/c-1": "10.89.0.5", f"{name}/b-1": "10.89.0.6"})
            await here.until_listed()
            assert here.source.status.writes == 3  # a Pod went, a Service and a Pod came, b is as it was


async def test_an_engine_that_was_started_again_is_followed_over_its_new_socket(
    server: RunningServer, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """traefik#5833, #3262: containers live on, and events come again."""
    monkeypatch.setattr(source_module, "LONGEST_PAUSE", 0.2)
    async with following(server, tmp_path, name) as here:
        one = here.engine.start("a", "10.89.0.5", (name, "a", 1))
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
        uid = (await here.pods())[f"{name}/a-1"]["metadata"]["uid"]
        await here.engine.end()
        await until(lambda: not here.source.status.up)
        assert (await here.pods())[f"{name}/a-1"]["metadata"]["uid"] == uid
        await here.engine.begin()
        await until(lambda: here.source.status.up)
        assert (await here.pods())[f"{name}/a-1"]["metadata"]["uid"] == uid
        here.engine.stop(one)
        await here.until_addresses({})


async def test_an_engine_that_is_away_is_tried_for_ever_and_an_event_says_so(
    server: RunningServer, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """traefik#13549: a provider stopped to retry; docker-gen#269: another asked 1,500 times a second."""
    assert source_module._pause(1) <= 0.1
    assert 15 <= source_module._pause(10_000) <= 30
    monkeypatch.setattr(source_module, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(source_module, "AWAY_SECONDS", 0.2)
    engine = FakeEngine(tmp_path / "engine.sock")
    async with following(server, tmp_path, name, engine) as here:
        event = await here.until_event("EngineAway")
        assert "is the engine running" in event["message"]
        engine.start("a", "10.89.0.5", (name, "a", 1))
        async with engine:
            await here.until_addresses({f"{name}/a-1": "10.89.0.5"})


async def test_after_stale_after_nobody_is_ready_until_the_engine_is_back(
    server: RunningServer, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the source has been started anew meanwhile, and has never seen a container."""
    monkeypatch.setattr(source_module, "LONGEST_PAUSE", 0.1)
    both = {f"{name}/a-1": "10.89.0.5", f"{name}/b-1": "10.89.0.6"}
    engine = FakeEngine(tmp_path / "engine.sock")
    await engine.begin()
    engine.start("a", "10.89.0.5", (name, "a", 1))
    engine.start("b", "10.89.0.6", (name, "b", 1))
    async with following(server, tmp_path, name, engine, stale_after=1) as here:
        await here.until_addresses(both)
        uids = {key: pod["metadata"]["uid"] for key, pod in (await here.pods()).items()}
        await engine.end()
        await here.until_addresses({})
        (why,) = {pod["status"]["conditions"][0]["reason"] for pod in (await here.pods()).values()}
        assert why == "EngineAway"
        await engine.begin()
        await here.until_addresses(both)
        await engine.end()
    async with following(server, tmp_path, name, engine, stale_after=1) as here:
        assert await here.addresses() == both
        await here.until_addresses({})
        await engine.begin()
        await here.until_addresses(both)
        assert {key: pod["metadata"]["uid"] for key, pod in (await here.pods()).items()} == uids
    await engine.end()


@pytest.mark.parametrize(
    ("api", "oldest"), [("1.41", "1.24"), ("1.52", "1.44"), ("1.60", "1.44"), ("1.70", "1.60")]
)
async def test_the_version_of_the_api_is_agreed_on(
    server: RunningServer, tmp_path: Path, name: str, api: str, oldest: str
) -> None:
    """traefik#12253, hawser#29: Docker 29 refuses what is older than 1.44, for events too."""
    engine = FakeEngine(tmp_path / "engine.sock", api=api, oldest=oldest)
    async with engine, following(server, tmp_path, name, engine) as here:
        await here.until_listed()
        await until(lambda: engine.streams)
        engine.start("a", "10.89.0.5", (name, "a", 1), health="healthy")
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_off_misses_nothing(
    server: RunningServer, tmp_path: Path, name: str, hours: int
) -> None:
    """What happened between the greeting and the stream is told again, by the engine's own clock."""
    engine = FakeEngine(tmp_path / "engine.sock", clock=hours * 3600.0)

    async def start_behind_the_list() -> None:
        await until(lambda: here.source.status.up)
        engine.start("a", "10.89.0.5", (name, "a", 1))

    engine.before_stream = start_behind_the_list
    async with engine, following(server, tmp_path, name, engine) as here:
        await here.until_listed()
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
        assert here.source.status.resyncs == {"start": 1}


async def test_many_at_once_are_a_few_lists(server: RunningServer, tmp_path: Path, name: str) -> None:
    """docker-gen#42, #57: not one step for each container."""
    async with following(server, tmp_path, name) as here:
        await here.until_listed()
        await until(lambda: here.engine.streams)
        for number in range(1, 121):
            here.engine.start(f"a{number}", f"10.89.1.{number}", (name, "a", number))
        await here.until_addresses({f"{name}/a-{n}": f"10.89.1.{n}" for n in range(1, 121)})
        assert here.engine.asked["containers/json"] <= 12
        assert here.engine.asked["inspect"] == 0


async def test_an_engine_that_answers_with_errors_changes_nothing(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """Only a complete list deletes."""
    async with following(server, tmp_path, name, resync=1) as here:
        here.engine.start("a", "10.89.0.5", (name, "a", 1))
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
        here.engine.broken = 500
        here.engine.containers.clear()
        await until(lambda: not here.source.status.up)
        assert await here.addresses() == {f"{name}/a-1": "10.89.0.5"}
        here.engine.broken = 0
        await here.until_addresses({})


async def test_nothing_but_gets_are_sent(server: RunningServer, tmp_path: Path, name: str) -> None:
    """traefik#4174: a socket is root on the host; a proxy that lets five GETs through is enough."""
    async with following(server, tmp_path, name, resync=1) as here:
        here.engine.start("a", "10.89.0.5", (name, "a", 1), health="unhealthy")
        await here.until_listed(2)
        assert here.engine.refused == []
        assert set(here.engine.asked) <= {"/version", "info", "events", "containers/json", "inspect"}


async def test_paused_and_restarting_containers_are_not_ready(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """weave#1977: a container that is being restarted says Running=true."""
    async with following(server, tmp_path, name) as here:
        one = here.engine.start("a", "10.89.0.5", (name, "a", 1))
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
        here.engine.change(one, "pause", state="paused")
        await here.until_addresses({})
        here.engine.change(one, "unpause", state="running")
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})


async def test_a_container_that_moves_to_another_address_is_found_there(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """Two that swap addresses never answer for each other in the end."""
    async with following(server, tmp_path, name) as here:
        a = here.engine.start("a", "10.89.0.5", (name, "a", 1))
        b = here.engine.start("b", "10.89.0.6", (name, "b", 1))
        await here.until_addresses({f"{name}/a-1": "10.89.0.5", f"{name}/b-1": "10.89.0.6"})
        a.address, b.address = b.address, a.address
        here.engine.say("restart", a)
        here.engine.say("restart", b)
        await here.until_addresses({f"{name}/a-1": "10.89.0.6", f"{name}/b-1": "10.89.0.5"})


async def test_a_lingering_pod_is_not_ready_and_goes(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """dockdns#7: names vanish while compose makes containers anew."""
    async with following(server, tmp_path, name, linger=1) as here:
        one = here.engine.start("a", "10.89.0.5", (name, "a", 1))
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
        here.engine.remove(one)
        await here.until_addresses({})
        assert f"{name}/a-1" in await here.pods()
        for _ in range(6000):
            if not await here.pods():
                break
            await asyncio.sleep(0.01)
        assert await here.pods() == {}
        assert f"{name}/a" in await here.services()  # for a minute: its cluster IP may be asked for again


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happened_in_whatever_order_the_registry_has_the_list(
    server: RunningServer, tmp_path: Path, name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers, engine and source start and die at random; afterwards: no leftover, no wrong address."""
    monkeypatch.setattr(source_module, "LONGEST_PAUSE", 0.1)
    chance = random.Random(seed)
    engine = FakeEngine(tmp_path / "engine.sock", podman=bool(seed % 2))
    await engine.begin()
    try:
        for _ in range(3):
            async with following(server, tmp_path, name, engine) as here:
                for step in range(25):
                    await _happen(chance, engine, name, step)
                    await asyncio.sleep(chance.choice((0, 0, 0.01, 0.06)))
        async with following(server, tmp_path, name, engine) as here:
            await here.until_addresses(
                {
                    f"{name}/{one.name}": one.address
                    for one in engine.containers.values()
                    if one.state == "running" and one.health in ("", "healthy")
                }
            )
    finally:
        await engine.end()


async def _happen(chance: random.Random, engine: FakeEngine, name: str, step: int) -> None:
    running = [one for one in engine.containers.values() if one.state == "running"]
    match chance.choice(("start", "start", "start", "stop", "remove", "flip", "engine", "lost")):
        case "start":
            free = [n for n in range(1, 200) if f"10.89.2.{n}" not in {one.address for one in running}]
            number = chance.choice([n for n in range(1, 30) if f"a-{n}" not in {r.name for r in running}])
            for old in [one for one in engine.containers.values() if one.name == f"a-{number}"]:
                engine.remove(old)
            engine.start(f"a-{number}", f"10.89.2.{chance.choice(free)}", (name, "a", number))
        case "stop" if running:
            engine.stop(chance.choice(running))
        case "remove" if running:
            engine.remove(chance.choice(running))
        case "flip" if running:
            engine.flip(chance.choice(running), chance.choice(("healthy", "unhealthy")))
        case "engine":
            await engine.end()
            await engine.begin()
        case "lost":
            engine.loses_events = not engine.loses_events
