"""Events: how many are kept, for how long, who may write them, and who watches."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from registry.recorded_events import READY, WRITE, listed, selected, status, told, until
from toolbox.builders import pod, service
from toolbox.registry_harness import RegistryHarness, each_event
from toolbox.waiting import GUARD_SECONDS

from svcdns.cluster.event_messages import EventMessage, Subject
from svcdns.objects.errors import StatusError
from svcdns.objects.kinds import EVENT, NAMESPACE, POD, SERVICE
from svcdns.registry import events
from svcdns.registry.requests import DeleteOptions, Selection
from svcdns.registry.watch import Feed
from svcdns.store import log
from svcdns.zonefiles.folder import ZoneFolder

pytestmark = pytest.mark.usefixtures("at_once")


def test_too_many_similar_ones_share_an_event(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await running.registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
        for number in range(25):
            await running.registry.create(POD, "default", pod(f"web-{number}", f"10.1.0.{number}"), WRITE)
        chosen = "involvedObject.kind=Service"

        def combined() -> list[dict[str, Any]]:
            found = [e for e in listed(running, chosen) if e["message"].startswith(events.COMBINED)]
            return [e for e in found if e["count"] == 15]

        [event] = await until(running, combined)
        assert event["message"].endswith(f"Pod web-24 (10.1.0.24) is ready: {READY}")
        assert len(listed(running, chosen)) == 11

    run(work)


def test_the_history_is_bounded(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest stay; watchers see the others go."""
    monkeypatch.setattr(events, "KEEP", 5)
    monkeypatch.setattr(events, "_SLACK", 0)

    async def work(running: RegistryHarness) -> None:
        start = running.registry.page(EVENT, "", Selection()).revision
        for number in range(12):
            await running.registry.create(SERVICE, "default", service(f"s{number}"), WRITE)
            chosen = f"involvedObject.name=s{number}"
            await until(running, lambda chosen=chosen: listed(running, chosen))
        names = {f"s{number}" for number in range(7, 12)}
        await until(running, lambda: {e["involvedObject"]["name"] for e in listed(running)} == names)
        stream = each_event(running.registry.watch(EVENT, "", Selection(), start))
        gone = set()
        while len(gone) < 7:
            event = await asyncio.wait_for(anext(stream), GUARD_SECONDS)
            if event.type == "DELETED":
                gone.add(json.loads(event.object)["involvedObject"]["name"])
        assert gone == {f"s{number}" for number in range(7)}

    run(work)


def test_clients_events_have_the_same_bound(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP", 5)
    monkeypatch.setattr(events, "_SLACK", 0)

    async def work(running: RegistryHarness) -> None:
        await asyncio.gather(
            *(running.registry.create(EVENT, "default", an_event(f"e{i:02}"), WRITE) for i in range(30))
        )
        left = [f"e{i:02}" for i in range(25, 30)]
        await until(running, lambda: [e["metadata"]["name"] for e in listed(running)] == left)

    run(work)


@pytest.mark.embedded("its steps take one transaction each")
def test_what_is_old_goes(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def first(running: RegistryHarness) -> None:
        await running.registry.create(SERVICE, "default", service(), WRITE)
        old = an_event("old", lastTimestamp="2020-01-01T00:00:00Z")
        await running.registry.create(EVENT, "default", old, WRITE)
        future = an_event("future", lastTimestamp="2999-01-01T00:00:00Z")
        await running.registry.create(EVENT, "default", future, WRITE)

    async def second(running: RegistryHarness) -> None:
        await until(running, lambda: not listed(running, "metadata.name=old"))
        assert {e["metadata"]["name"].split(".")[0] for e in listed(running)} == {"web", "future"}

    async def third(running: RegistryHarness) -> None:
        await until(running, lambda: not listed(running))

    run(first)
    run(second)
    monkeypatch.setattr(events, "KEEP_SECONDS", -1.0)
    run(third)


def an_event(name: str, namespace: str = "default", **fields: Any) -> dict[str, Any]:
    involved = {"kind": "Pod", "namespace": namespace, "name": "x", "apiVersion": "v1"}
    return {"metadata": {"name": name}, "involvedObject": involved, "reason": "Tested", **fields}


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (an_event("e", "elsewhere"), 'involvedObject.namespace: Invalid value: "elsewhere": does not match'),
        ({"metadata": {"name": "e"}}, "involvedObject: Required value"),
        (an_event("Bad_Name"), "metadata.name: Invalid value"),
        (an_event("e", message="x" * 20_000), "Too long: may not be more than 16384 bytes"),
        (an_event("e", eventTime="2026-01-01T00:00:00.000000Z"), "reportingComponent: Required value"),
        (
            an_event(
                "e",
                eventTime="2026-01-01T00:00:00.000000Z",
                reportingComponent="a.example/b",
                reportingInstance="i" * 129,
                action="Testing",
            ),
            "reportingInstance: Too long",
        ),
    ],
    ids=["another namespace", "about nothing", "name", "huge", "newer form", "newer form, long word"],
)
def test_what_clients_tell_is_checked(run: Any, event: dict[str, Any], words: str) -> None:
    async def work(running: RegistryHarness) -> None:
        with pytest.raises(StatusError) as refused:
            await running.registry.create(EVENT, "default", event, WRITE)
        assert refused.value.code == 422
        assert words in refused.value.message
        assert not listed(running)

    run(work)


def test_clients_events_about_what_is_in_no_namespace_stand_in_default(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        node = {**an_event("e"), "involvedObject": {"kind": "Node", "name": "n1"}}
        await running.registry.create(EVENT, "default", node, WRITE)
        with pytest.raises(StatusError):
            await running.registry.create(EVENT, "kube-system", node, WRITE)

    run(work)


def test_a_namespace_goes_with_its_events(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await running.registry.create(NAMESPACE, "", {"metadata": {"name": "shop"}}, WRITE)
        await running.registry.create(SERVICE, "shop", service(), WRITE)
        await until(running, lambda: listed(running, namespace="shop"))
        await running.registry.create(SERVICE, "shop", service("late"), WRITE)
        await running.registry.delete(NAMESPACE, "", "shop", DeleteOptions())
        await running.registry.create(SERVICE, "default", service("last"), WRITE)
        await until(running, lambda: listed(running, "involvedObject.name=last"))
        assert not listed(running, namespace="shop")

    run(work)


def test_a_namespace_that_is_emptied_in_steps(run: Any) -> None:
    async def work(running: RegistryHarness) -> None:
        await running.registry.create(NAMESPACE, "", {"metadata": {"name": "shop"}}, WRITE)
        bodies = [pod(f"p{i}", f"10.1.{i // 250}.{i % 250}") for i in range(501)]
        await asyncio.gather(*(running.registry.create(POD, "shop", body, WRITE) for body in bodies))
        await running.registry.delete(NAMESPACE, "", "shop", DeleteOptions())
        [event] = await until(running, lambda: listed(running, "reason=NamespaceEmptying"))
        assert (event["metadata"]["namespace"], event["involvedObject"]["name"]) == ("default", "shop")

    run(work)


def test_watching_with_a_field_selector(run: Any) -> None:
    """A transition is told by the fields that Events have."""

    async def work(running: RegistryHarness) -> None:
        stream = each_event(running.registry.watch(EVENT, "", selected("type=Warning,source=svcdns"), None))
        await running.registry.create(SERVICE, "default", service(clusterIP="None"), WRITE)
        await running.registry.create(POD, "default", pod("web-1", "10.1.0.1"), WRITE)
        seen = []
        for count in (1, 2):
            await status(running, "web-1", "False")
            for _ in ("Pod", "Service"):
                event = await asyncio.wait_for(anext(stream), GUARD_SECONDS)
                seen.append((event.type, json.loads(event.object)["count"]))
            assert seen[-2:] == [("ADDED" if count == 1 else "MODIFIED", count)] * 2
            await status(running, "web-1", "True")

    run(work)


@pytest.mark.embedded("its steps take one transaction each")
def test_telling_pushes_nothing_out_of_the_log(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "KEEP", 20)
    monkeypatch.setattr(log, "KEEP_OF_EVENTS", 10)
    monkeypatch.setattr(log, "_TRIM_SLACK", 0)

    async def work(running: RegistryHarness) -> None:
        await running.registry.create(POD, "default", pod("first", "10.1.0.1"), WRITE)
        start = running.registry.page(POD, "", Selection()).revision
        await running.registry.create(POD, "default", pod("second", "10.1.0.2"), WRITE)
        for number in range(40):
            await running.registry.create(EVENT, "default", an_event(f"e{number:02}"), WRITE)
        event = await anext(each_event(running.registry.watch(POD, "", Selection(), start)))
        assert json.loads(event.object)["metadata"]["name"] == "second"
        with pytest.raises(StatusError) as expired:
            await anext(each_event(running.registry.watch(EVENT, "", Selection(), start)))
        assert expired.value.code == 410
        now = running.registry.page(EVENT, "", Selection()).revision
        stream = each_event(running.registry.watch(EVENT, "", Selection(), now - 5))
        names = [json.loads((await anext(stream)).object)["metadata"]["name"] for _ in range(5)]
        assert names == [f"e{number}" for number in range(35, 40)]

    run(work)


@pytest.mark.embedded("revisions are etcd's")
def test_a_watch_of_events_on_a_server_that_has_told_nothing_yet(run: Any) -> None:
    """Revisions before the first Event are no gap."""

    async def work(running: RegistryHarness) -> None:
        for number in range(5):
            await running.registry.create(POD, "default", pod(f"p{number}", f"10.1.0.{number}"), WRITE)
        stream = each_event(running.registry.watch(EVENT, "", Selection(), 2))
        await running.registry.create(SERVICE, "default", service(), WRITE)
        event = await asyncio.wait_for(anext(stream), GUARD_SECONDS)
        assert json.loads(event.object)["involvedObject"]["name"] == "web"

    run(work)


def test_a_feed_that_stood_still_too_long_sends_its_watchers_back(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "KEEP", 5)
    monkeypatch.setattr(log, "_TRIM_SLACK", 0)

    async def work(running: RegistryHarness) -> None:
        feed = Feed(running.registry.store)
        start = feed.revision
        for number in range(10):
            await running.registry.create(POD, "default", pod(f"p{number}", f"10.1.0.{number}"), WRITE)
        feed.advance()
        with pytest.raises(StatusError) as expired:
            feed.batch(POD, "", Selection(), start)
        assert expired.value.code == 410
        batch, reached = feed.batch(POD, "", Selection(), feed.revision)
        assert (batch.events, reached) == ([], feed.revision)

    run(work)


def test_zone_files(run: Any, tmp_path: Path) -> None:
    async def work(running: RegistryHarness) -> None:
        folder = tmp_path / "zones"
        folder.mkdir()
        registry = running.registry
        zones = ZoneFolder(folder, registry.store, registry.transact, record=registry.record)
        (folder / "Corp_example.zone").write_text("what is this\n")
        await zones.start()
        [event] = await until(running, lambda: listed(running, "reason=ZoneFileRefused"))
        involved = {"kind": "ZoneFile", "namespace": "kube-system", "name": "Corp_example.zone"}
        assert event["involvedObject"] == involved
        assert event["message"].startswith("Corp_example.zone:1: ")
        assert event["metadata"]["name"].startswith("corp-example-zone.")
        text = "$TTL 300\n@ SOA ns hostmaster 7 7200 1800 86400 60\n  NS ns\nns A 192.0.2.1\n"
        (folder / "corp.example.zone").write_text(text)
        (folder / "Corp_example.zone").unlink()
        await zones.refresh()
        await until(running, lambda: listed(running, "reason=ZoneFileLoaded"))
        (folder / "corp.example.zone").unlink()
        await zones.refresh()
        await until(running, lambda: listed(running, "reason=ZoneFileGone"))
        messages = {m for _, m, _ in told(running, "involvedObject.name=corp.example.zone")}
        assert messages == {
            "Zone corp.example. is served, serial 7",
            "The file is gone: zone corp.example. is not served",
        }

    run(work)


def test_what_cannot_be_written_is_lost_and_no_more(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Event that fails does not fail a client's write, nor the Events after it."""
    failing = [True]
    real = events._write_some_of

    def write_some(*arguments: Any) -> int:
        if failing:
            failing.clear()
            raise StatusError(507, "InsufficientStorage", "the data folder is full; nothing was changed")
        return real(*arguments)

    monkeypatch.setattr(events, "_write_some_of", write_some)

    async def work(running: RegistryHarness) -> None:
        await running.registry.create(SERVICE, "default", service("a"), WRITE)
        while failing:
            await asyncio.sleep(0)
        await running.registry.create(SERVICE, "default", service("b"), WRITE)
        await until(running, lambda: listed(running))
        assert {e["involvedObject"]["name"] for e in listed(running)} == {"b"}

    run(work)


def test_no_more_waits_than_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be written, the newest wait."""
    monkeypatch.setattr(events, "KEEP", 5)
    written: list[Any] = []

    async def write(action: Any) -> bool:
        written.append(action)
        return False

    async def main() -> None:
        recorder = events.Recorder(write)
        for number in range(100):
            subject = Subject("Service", "v1", "default", f"s{number}", "")
            recorder.record([EventMessage(subject, "Normal", "Tested", "x")])
        assert [message.subject.name for message in recorder._waiting] == [f"s{n}" for n in range(95, 100)]
        await recorder.stop()

    asyncio.run(main())
