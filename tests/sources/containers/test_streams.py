"""Streams of an engine's events that end, hang, lose events or bring nonsense: all is registered as it is.

The number in a docstring is the complaint of users of other programs that the test is about.
"""

import asyncio
import json
from pathlib import Path

from sources.containers.fake_engine import FakeEngine
from sources.containers.following import following
from toolbox.running_server import RunningServer
from toolbox.waiting import until


async def test_an_engine_whose_streams_end_at_once_is_not_asked_all_the_time(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    async with following(server, tmp_path, name) as here:

        async def end_all() -> None:
            while True:
                here.engine.end_streams()
                await asyncio.sleep(0.005)

        ending = asyncio.create_task(end_all())
        await until(lambda: here.engine.asked["/version"] >= 4)
        began = asyncio.get_running_loop().time()
        await until(lambda: here.engine.asked["/version"] >= 6)
        assert asyncio.get_running_loop().time() - began > 0.5  # 0.8 and 1.6 s, spread by half
        ending.cancel()


async def test_all_is_listed_though_a_stream_has_no_head_yet(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """podman#7263, #23712, #24185."""
    engine = FakeEngine(tmp_path / "engine.sock", holds_head_back=True)
    engine.start("a", "10.89.0.5", (name, "a", 1))
    async with engine, following(server, tmp_path, name, engine) as here:
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
        engine.start("b", "10.89.0.6", (name, "b", 1))
        await here.until_addresses({f"{name}/a-1": "10.89.0.5", f"{name}/b-1": "10.89.0.6"})


async def test_after_the_end_of_a_stream_all_is_listed(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """podman#5224, kontena#867: what happened meanwhile is not missed."""
    async with following(server, tmp_path, name) as here:
        await here.until_listed()
        here.engine.loses_events = True
        here.engine.start("a", "10.89.0.5", (name, "a", 1))
        here.engine.end_streams()
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})


async def test_a_stream_that_went_silent_is_begun_anew(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    """podman#8751: it hangs, while everything else answers."""
    async with following(server, tmp_path, name, resync=1) as here:
        await here.until_listed()
        here.engine.loses_events = True
        here.engine.start("a", "10.89.0.5", (name, "a", 1))
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
        await until(lambda: here.source.status.resyncs["stream"] >= 1)


async def test_events_in_pieces_of_lines_and_lines_that_are_none_are_taken(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    async with following(server, tmp_path, name) as here:
        await here.until_listed()
        await until(lambda: here.engine.streams)
        here.engine.loses_events = True
        one = here.engine.start("a", "10.89.0.5", (name, "a", 1))
        here.engine.send(b'garbage\n{"Type": 7}\n[]\n\n')
        text = json.dumps({"Type": "container", "Action": "start", "Actor": {"ID": one.id}}).encode() + b"\n"
        for at in range(0, len(text), 11):
            here.engine.send(text[at : at + 11])
            await asyncio.sleep(0.01)  # so that they come apart
        await here.until_addresses({f"{name}/a-1": "10.89.0.5"})
        assert sum(here.source.status.resyncs.values()) == 1
