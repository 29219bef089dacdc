"""Looking: who comes late, who is too slow, and what there is without an observer."""

import json
from contextlib import aclosing

import pytest
from tap.recording import CLIENT, Recording, question, reply_to

from svcdns.config.query_words import query_word
from svcdns.store.snapshot import NO_SNAPSHOT
from svcdns.tap import viewer
from svcdns.tap.memory import Tap
from svcdns.tap.origins import Origins
from svcdns.tap.viewer import Viewer


def looking(tap: Tap) -> Viewer:
    return Viewer(tap, lambda: int(tap.is_looked_at), lambda: NO_SNAPSHOT)


def record(world: Recording, name: str, times: int = 1) -> None:
    packet = question(name)
    for _ in range(times):
        world.recorder.record(0, 1, [(packet, CLIENT)], [(reply_to(packet), CLIENT)])


async def test_looking_makes_it_be_recorded() -> None:
    world = Recording()
    there = looking(world.tap)
    assert (await there.recent([], 10))["began"]
    assert world.tap.is_looked_at
    assert not (await there.recent([], 10))["began"]


async def test_the_last_that_are_meant_in_the_order_of_time() -> None:
    world = Recording()
    for name in ("one.example.", "other.test.", "two.example.", "three.example."):
        record(world, name)
    found = await looking(world.tap).recent([query_word("name:example")], 2)
    assert [one["qname"] for one in found["queries"]] == ["two.example.", "three.example."]


async def test_who_follows_too_slowly_is_told_how_much_is_missing() -> None:
    world = Recording()
    async with aclosing(looking(world.tap).follow([])) as stream:
        assert await anext(stream) == b""
        record(world, "first.example.")
        first = await anext(stream)
        record(world, "more.example.", 20_000)
        said = []
        for _ in range(500):  # a guard: the next block says what was lost before it
            if any("lost" in one for one in said):
                break
            record(world, "last.example.")
            said += map(json.loads, (await anext(stream)).splitlines())
    assert json.loads(first)["qname"] == "first.example."
    shown = sum("qname" in one for one in said) + 1
    assert 0 < next(one["lost"] for one in said if "lost" in one) <= 20_003 + len(said)
    assert shown < 20_000


async def test_without_an_observer_there_are_no_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "WAIT_SECONDS", 0.0)
    there = looking(Recording().tap)
    assert await there.statistics() is None


async def test_streams_end_when_the_server_does() -> None:
    there = looking(Recording().tap)
    stream = there.follow([])
    await anext(stream)
    there.end()
    with pytest.raises(StopAsyncIteration):
        while True:
            await anext(stream)


def test_whose_a_name_is() -> None:
    from svcdns.store.snapshot import Zone

    origins = Origins()
    zones = [("cluster.local.", b"local\0cluster\0", "cluster"), ("example.", b"example\0", "file")]
    origins.take(Zone(*one) for one in (*zones, ("a.example.", b"example\0a\0", "reverse")))
    keys = (b"local\0cluster\0web\0", b"example\0x\0", b"example\0a\0y\0", b"org\0", b"")
    assert [origins(key) for key in (*keys, *keys)] == ["own", "zone", "own", "", ""] * 2
