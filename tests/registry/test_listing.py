"""Lists in pieces: the same as in one go, one state, and little at a time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toolbox.builders import pod, service
from toolbox.registry_harness import RegistryHarness, each_event, started
from toolbox.waiting import GUARD_SECONDS, until

from svcdns.objects.errors import StatusError
from svcdns.objects.field_selectors import FieldSelector
from svcdns.objects.kinds import ENDPOINTS, POD, SERVICE, Kind
from svcdns.objects.selectors import LabelSelector
from svcdns.registry import held_snapshots, listing, reading
from svcdns.registry.listing import Listing
from svcdns.registry.requests import Patch, Piece, Selection, WriteOptions

WRITE = WriteOptions()
ALL = Selection()
BY_LABEL = Selection(labels=LabelSelector.parse("app=even"))
BY_FIELD = Selection(fields=FieldSelector.parse("status.podIP!=10.0.0.4", POD))
BY_NAME = Selection(fields=FieldSelector.parse("metadata.name=p07", POD))


def named(octets: bytes) -> str:
    return str(json.loads(octets)["metadata"]["name"])


async def pods(running: RegistryHarness, count: int) -> None:
    bodies = [pod(f"p{i:02}", f"10.0.0.{i}", app="odd" if i % 2 else "even") for i in range(count)]
    await asyncio.gather(*(running.registry.create(POD, "default", body, WRITE) for body in bodies))


async def read(found: Listing) -> list[Piece]:
    with found:
        return [piece async for piece in found.pieces()]


def expected(selection: Selection) -> list[str]:
    names = [f"p{i:02}" for i in range(40)]
    if selection is BY_LABEL:
        return names[::2]
    if selection is BY_FIELD:
        return [name for name in names if name != "p04"]
    return ["p07"] if selection is BY_NAME else names


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, RegistryHarness]]:
    """A registry with the Pods p00 to p39."""
    with asyncio.Runner() as runner:
        context = started(tmp_path_factory.mktemp("listing"))
        running = runner.run(context.__aenter__())
        runner.run(pods(running, 40))
        yield runner, running
        runner.run(context.__aexit__(None, None, None))


@settings(max_examples=150, deadline=None)
@given(
    selection=st.sampled_from([ALL, BY_LABEL, BY_FIELD, BY_NAME]),
    namespace=st.sampled_from(["", "default"]),
    rows=st.integers(1, 50),
    octets=st.integers(1, 30_000),
    limit=st.integers(0, 45),
)
def test_pieces_and_pages_come_to_the_whole_list(
    forty: Any, selection: Selection, namespace: str, rows: int, octets: int, limit: int
) -> None:
    runner, running = forty
    with pytest.MonkeyPatch.context() as patch:
        for module in (reading, listing):
            patch.setattr(module, "ROWS", rows)
        patch.setattr(reading, "OCTETS", octets)
        patch.setattr(listing, "KEYS", rows)
        running.registry._reads.pieces.clear()
        runner.run(read_pages(running, selection, namespace, rows, octets, limit))
    assert len(running.registry._reads.snapshots) == 0


async def read_pages(
    running: RegistryHarness, selection: Selection, namespace: str, rows: int, octets: int, limit: int
) -> None:
    token = ""
    names: list[str] = []
    while True:
        found = running.registry.listing(POD, namespace, selection, limit, token)
        pieces = await read(found)
        assert all(len(piece.items) <= rows for piece in pieces)
        largest = max((len(item) for piece in pieces for item in piece.items), default=0)
        assert all(sum(map(len, piece.items)) < octets + largest for piece in pieces)
        page = [named(item) for piece in pieces for item in piece.items]
        assert not limit or len(page) == min(limit, len(expected(selection)) - len(names))
        names += page
        token = found.continue_
        if not token:
            break
        assert found.remaining == (40 - len(names) if selection is ALL else None)
    assert names == expected(selection) and found.remaining is None


def test_a_list_shows_one_state_for_as_long_as_that_is_held(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "ROWS", 4)
    monkeypatch.setattr(reading, "ROWS", 4)

    async def names(running: RegistryHarness, *, held: bool) -> list[str]:
        registry = running.registry
        with registry.listing(POD, "", ALL) as found:
            pieces = found.pieces()
            seen = list(map(named, (await anext(pieces)).items))
            await registry.create(POD, "default", pod(f"p{'08a' if held else '08b'}", "10.0.0.99"), WRITE)
            if not held:
                await until(lambda: len(registry._reads.snapshots) == 0)
            begun = found.revision
            async for piece in pieces:
                seen += map(named, piece.items)
            assert found.revision == begun < registry.page(POD, "", ALL).revision
        return seen

    async def work(running: RegistryHarness) -> None:
        await pods(running, 12)
        all_names = [f"p{i:02}" for i in range(12)]
        assert await names(running, held=True) == all_names
        monkeypatch.setattr(held_snapshots, "HELD_SECONDS", 0.0)
        assert await names(running, held=False) == sorted([*all_names, "p08a", "p08b"])

    run(work)


def test_a_watch_that_outlives_its_snapshot_ends_up_with_what_is_there(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "ROWS", 2)
    monkeypatch.setattr(reading, "ROWS", 2)
    monkeypatch.setattr(held_snapshots, "HELD_SECONDS", 0.0)

    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        await pods(running, 8)
        events = each_event(registry.watch(POD, "", ALL, None, initial_events=True))
        held: dict[str, str] = {}
        complete = False
        number = 0
        while not complete or held != present(running):
            if not complete and number < 6:
                await registry.create(POD, "default", pod(f"p{number}x", "10.0.1.1"), WRITE)
                labels = {"metadata": {"labels": {"n": str(number)}}}
                await registry.patch(POD, "default", f"p0{number + 1}", Patch("merge", labels), WRITE)
                number += 1
            event = await asyncio.wait_for(anext(events), GUARD_SECONDS)
            if event.type == "BOOKMARK":
                complete = True
                continue
            metadata = json.loads(event.object)["metadata"]
            held[metadata["name"]] = metadata["resourceVersion"]

    def present(running: RegistryHarness) -> dict[str, str]:
        found = [json.loads(item)["metadata"] for item in running.registry.page(POD, "", ALL).items]
        return {metadata["name"]: metadata["resourceVersion"] for metadata in found}

    run(work)


def test_those_who_begin_together_share_one_snapshot_and_its_pieces(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await pods(running, 3)
        registry = running.registry
        together = [registry.listing(POD, "", ALL) for _ in range(50)]
        assert len(registry._reads.snapshots) == 1
        found = await asyncio.gather(*map(read, together))
        assert len({id(pieces[0]) for pieces in found}) == 1
        assert len(registry._reads.snapshots) == 0, "nobody reads: nothing is held"

    run(work)


def test_few_snapshots_are_held_whoever_reads_how_slowly(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        open_lists = []
        for number in range(3 * held_snapshots.MOST):
            await registry.create(POD, "default", pod(f"p{number:02}", "10.0.0.1"), WRITE)
            open_lists.append(registry.listing(POD, "", ALL))
        assert len(registry._reads.snapshots) == held_snapshots.MOST
        counts = [len(pieces[0].items) for pieces in await asyncio.gather(*map(read, open_lists))]
        assert counts[-1] == len(open_lists)
        assert len(registry._reads.snapshots) == 0

    run(work)


@pytest.mark.parametrize("kind", [POD, ENDPOINTS])
def test_between_two_looks_at_the_sockets_one_piece_is_read(
    run: Any, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """Twenty watchers with selections of their own, so that none reads what another has read."""
    monkeypatch.setattr(listing, "ROWS", 5)
    monkeypatch.setattr(reading, "ROWS", 5)
    read_in: Counter[int] = Counter()
    turn = 0

    def recorded(*given: Any) -> Piece:
        read_in[turn] += 1
        return reading.read_piece(*given)

    monkeypatch.setattr(listing, "read_piece", recorded)

    async def work(running: RegistryHarness) -> None:
        def tick() -> None:
            nonlocal turn
            turn += 1
            asyncio.get_running_loop().call_soon(tick)

        tick()
        await pods(running, 50)
        for number in range(20):
            await running.registry.create(SERVICE, "default", service(f"s{number:02}"), WRITE)
        read_in.clear()

        async def watch(number: int) -> None:
            selection = Selection(labels=LabelSelector.parse(f"nobody!=n{number}"))
            events = each_event(running.registry.watch(kind, "", selection, None, initial_events=True))
            async for event in events:
                if event.type == "BOOKMARK":
                    return

        await asyncio.gather(*map(watch, range(20)))
        assert sum(read_in.values()) >= 20 * 20 / 5
        assert max(read_in.values()) == 1

    run(work)


def test_endpoints_come_in_pages_too(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        for number in range(5):
            await registry.create(SERVICE, "default", service(f"s{number}"), WRITE)
        first = registry.page(ENDPOINTS, "default", ALL, 2)
        assert ([named(item) for item in first.items], first.remaining) == (["s0", "s1"], None)
        rest = registry.page(ENDPOINTS, "default", ALL, 0, first.continue_)
        assert [named(item) for item in rest.items] == ["s2", "s3", "s4"]
        with pytest.raises(StatusError) as refused:
            registry.page(ENDPOINTS, "default", ALL, 0, "xyz")
        assert refused.value.code == 400

    run(work)
