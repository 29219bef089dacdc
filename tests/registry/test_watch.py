"""Lists and watches: pages, selections, order, expiry."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from toolbox.builders import pod, service
from toolbox.registry_harness import RegistryHarness, each_event
from toolbox.waiting import GUARD_SECONDS

from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import POD, SERVICE
from svcdns.objects.selectors import FieldSelector, LabelSelector
from svcdns.registry.reading import OCTETS
from svcdns.registry.requests import DeleteOptions, Patch, Selection, WriteOptions
from svcdns.registry.watch import Feed
from svcdns.store import log

WRITE = WriteOptions()
ALL = Selection()


def named(octets: bytes) -> str:
    return str(json.loads(octets)["metadata"]["name"])


async def pods(running: RegistryHarness, count: int, namespace: str = "default") -> None:
    bodies = [pod(f"p{i:02}", f"10.0.0.{i}", app="even" if i % 2 == 0 else "odd") for i in range(count)]
    await asyncio.gather(*(running.registry.create(POD, namespace, body, WRITE) for body in bodies))


def test_pages_give_each_object_once(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await pods(running, 10)
        names, token = [], ""
        remaining = []
        while True:
            page = running.registry.page(POD, "default", ALL, 4, token)
            names += [named(item) for item in page.items]
            remaining.append(page.remaining)
            token = page.continue_
            if not token:
                break
        assert names == [f"p{i:02}" for i in range(10)]
        assert remaining == [6, 2, None]

    run(work)


def test_selected_pages(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await pods(running, 9)
        odd = Selection(labels=LabelSelector.parse("app=odd"))
        page = running.registry.page(POD, "", odd, 3)
        rest = running.registry.page(POD, "", odd, 3, page.continue_)
        assert [named(i) for i in (*page.items, *rest.items)] == ["p01", "p03", "p05", "p07"]
        by_ip = Selection(fields=FieldSelector.parse("status.podIP=10.0.0.4", POD))
        assert [named(i) for i in running.registry.page(POD, "", by_ip).items] == ["p04"]

    run(work)


def test_a_token_of_another_list_is_refused(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await pods(running, 3)
        token = running.registry.page(POD, "default", ALL, 1).continue_
        for kind, namespace, text in ((SERVICE, "default", token), (POD, "", token), (POD, "default", "%%")):
            with pytest.raises(StatusError) as caught:
                running.registry.page(kind, namespace, ALL, 1, text)
            assert caught.value.code == 400

    run(work)


def test_an_object_that_enters_and_leaves_a_selection(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await pods(running, 1)
        odd = Selection(labels=LabelSelector.parse("app=odd"))
        revision = running.registry.page(POD, "", ALL).revision
        for app in ("odd", "odd", "even"):
            label = {"metadata": {"labels": {"app": app}, "annotations": {"n": app}}}
            await running.registry.patch(POD, "default", "p00", Patch("merge", label), WRITE)
        await running.registry.patch(
            POD, "default", "p00", Patch("merge", {"metadata": {"labels": {"app": "odd"}}}), WRITE
        )
        await running.registry.delete(POD, "default", "p00", DeleteOptions())
        events = each_event(running.registry.watch(POD, "", odd, revision))
        seen = [(await anext(events)).type for _ in range(4)]
        assert seen == ["ADDED", "DELETED", "ADDED", "DELETED"]

    run(work)


def test_a_watch_goes_on_across_a_restart(run: Any) -> None:
    async def first(running: RegistryHarness) -> int:
        await pods(running, 2)
        return running.registry.page(POD, "", ALL).revision

    async def second(running: RegistryHarness, after: int) -> list[str]:
        await running.registry.delete(POD, "default", "p00", DeleteOptions())
        events = each_event(running.registry.watch(POD, "", ALL, after))
        event = await anext(events)
        return [event.type, named(event.object)]

    after = run(first)
    assert run(lambda running: second(running, after)) == ["DELETED", "p00"]


def test_a_watch_wakes_up_for_a_commit(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        revision = running.registry.page(POD, "", ALL).revision
        events = each_event(running.registry.watch(POD, "", ALL, revision))
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await running.registry.create(SERVICE, "default", service(), WRITE)
        await pods(running, 1)
        async with asyncio.timeout(60):
            event = await waiting
        assert (event.type, named(event.object)) == ("ADDED", "p00")
        assert json.loads(event.object)["metadata"]["resourceVersion"] == str(event.revision)

    run(work)


def test_initial_events_end_with_a_bookmark(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await pods(running, 2)
        events = each_event(running.registry.watch(POD, "", ALL, None, bookmarks=True, initial_events=True))
        seen = [await anext(events) for _ in range(3)]
        assert [e.type for e in seen] == ["ADDED", "ADDED", "BOOKMARK"]
        assert (seen[2].object, seen[2].revision) == (b"", seen[1].revision)

    run(work)


@pytest.mark.embedded("its steps take one transaction each")
def test_what_the_log_no_longer_holds_is_expired(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "KEEP", 5)
    monkeypatch.setattr(log, "_TRIM_SLACK", 0)

    async def work(running: RegistryHarness) -> None:
        for i in range(10):
            await running.registry.create(POD, "default", pod(f"p{i}", f"10.0.0.{i}"), WRITE)
        with pytest.raises(StatusError) as caught:
            await anext(each_event(running.registry.watch(POD, "", ALL, 1)))
        assert (caught.value.code, caught.value.reason) == (410, "Expired")
        revision = running.registry.page(POD, "", ALL).revision
        events = each_event(running.registry.watch(POD, "", ALL, revision - 5))
        assert [named((await anext(events)).object) for _ in range(5)] == [f"p{i}" for i in range(5, 10)]

    run(work)


def test_a_revision_from_the_future_is_waited_for(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        reached = running.registry.page(POD, "", ALL).revision
        events = each_event(running.registry.watch(POD, "", ALL, reached + 1))
        first = asyncio.ensure_future(anext(events))
        await pods(running, 2)
        assert named((await first).object) == "p01", "p00 came under the revision that was named"

    run(work)


def test_a_collection_is_deleted_by_selection(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await pods(running, 6)
        odd = Selection(labels=LabelSelector.parse("app=odd"))
        gone = await running.registry.delete_collection(POD, "default", odd, DeleteOptions())
        assert [named(item) for item in gone.items] == ["p01", "p03", "p05"]
        assert len(running.registry.page(POD, "", ALL).items) == 3

    run(work)


def test_watchers_at_one_place_are_given_the_same_batch(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        start = registry.page(POD, "", ALL).revision
        await pods(running, 3)
        batches = [await anext(registry.watch(POD, "", ALL, start)) for _ in range(3)]
        assert batches[0] is batches[1] is batches[2]
        assert [named(event.object) for event in batches[0].events] == ["p00", "p01", "p02"]
        odd = Selection(labels=LabelSelector.parse("app=odd"))
        [event] = (await anext(registry.watch(POD, "", odd, start))).events
        assert named(event.object) == "p01"

    run(work)


def test_who_is_far_behind_is_given_a_little_at_a_time(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        registry = running.registry
        await pods(running, 1)
        start = registry.page(POD, "", ALL).revision
        for number in range(20):
            change = {"metadata": {"annotations": {"n": str(number), "padding": "xyz" * 10_000}}}
            await registry.patch(POD, "default", "p00", Patch("merge", change), WRITE)
        batches = registry.watch(POD, "", ALL, start)
        seen: list[str] = []
        while len(seen) < 20:
            batch = await asyncio.wait_for(anext(batches), GUARD_SECONDS)
            assert sum(len(event.object) for event in batch.events) < 2 * OCTETS
            seen += [json.loads(event.object)["metadata"]["annotations"]["n"] for event in batch.events]
        assert seen == [str(number) for number in range(20)]

    run(work)


def test_a_feed_reads_the_log_where_a_commit_does_not_follow_on_what_it_has_seen(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        feed = Feed(running.registry.store)
        start = feed.revision
        logged: list[list[log.Change]] = []
        for number in range(3):
            before = feed.revision if not logged else logged[-1][-1][0]
            await running.registry.create(POD, "default", pod(f"p{number}", f"10.0.0.{number}"), WRITE)
            with running.registry.store.read() as txn:
                logged.append(list(log.entries(txn, running.registry.store.tables.log, before)))
        first, _, third = logged
        for taken in (first, third, first):  # the second was not told, the first comes again
            assert feed.advance(taken) <= {POD.name}
        batch, _ = feed.batch(POD, "", ALL, start)
        assert [named(event.object) for event in batch.events] == ["p0", "p1", "p2"]

    run(work)
