"""GET /svcdns/v1/stream: one answer that says what several kinds have and what becomes of it."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toolbox.builders import pod, service

from svcdns.api import stream_route
from svcdns.objects.kinds import POD, SERVICE

PATH = "/svcdns/v1/stream"


class Following:
    """A stream, read line by line; `table` is what its client knows."""

    def __init__(self, answer):
        self.answer = answer
        self.table = {}
        self.revision = None

    async def line(self):
        async with asyncio.timeout(60):
            said = json.loads(await self.answer.content.readline())
        match said["type"]:
            case "RESET":
                self.table.clear()
            case "SYNCED" | "BOOKMARK":
                self.revision = int(said["object"]["metadata"]["resourceVersion"])
            case "ERROR":
                pass
            case "DELETED":
                self.table.pop(self._key(said), None)
            case _:
                self.table[self._key(said)] = said["object"]
        return said

    async def until(self, type_):
        while (said := await self.line())["type"] != type_:
            pass
        return said

    async def until_revision(self, revision):
        while self.revision is None or self.revision < revision:
            await self.line()

    def _key(self, said):
        return said["kind"], said["object"]["metadata"]["namespace"], said["object"]["metadata"]["name"]


@pytest.fixture
def follow(client):
    async def begin(query):
        answer = await client.get(f"{PATH}?{query}")
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "application/jsonl"
        return Following(answer)

    return begin


async def test_first_the_state_then_what_changes(follow, registry, client):
    stream = await follow("kinds=services,pods")
    said = await stream.line()
    assert (said["kind"], said["type"], said["object"]["metadata"]["name"]) == ("services", "ADDED", "web")
    assert (await stream.line())["type"] == "SYNCED"
    await registry.put(POD, "shop", pod("one", "10.1.0.1"))
    said = await stream.line()
    assert (said["kind"], said["type"], said["object"]["metadata"]["name"]) == ("pods", "ADDED", "one")
    await client.delete("/api/v1/namespaces/shop/services/web")
    said = await stream.until("DELETED")
    assert (said["kind"], said["object"]["metadata"]["name"]) == ("services", "web")


async def test_of_a_namespace_nothing_else_is_said(follow, registry):
    stream = await follow("kinds=services,pods&namespace=bank")
    assert (await stream.line())["type"] == "SYNCED"
    await registry.put(POD, "shop", pod("elsewhere", "10.1.0.1"))
    await registry.put(POD, "bank", pod("here", "10.1.0.2"))
    said = await stream.line()
    assert said["object"]["metadata"]["name"] == "here"


async def test_it_goes_on_after_a_revision_without_the_state(follow, registry):
    stream = await follow("kinds=services,pods")
    await stream.until("SYNCED")
    stream.answer.close()
    await registry.put(POD, "shop", pod("meanwhile", "10.1.0.1"))
    again = await follow(f"kinds=services,pods&resourceVersion={stream.revision}")
    said = await again.line()
    assert (said["kind"], said["object"]["metadata"]["name"]) == ("pods", "meanwhile")


async def test_changes_in_quick_succession_are_one(follow, registry, client, monkeypatch):
    monkeypatch.setattr(stream_route, "PAUSE", 2.0)  # in which a busy machine takes many of them
    stream = await follow("kinds=pods")
    await stream.until("SYNCED")
    await registry.put(POD, "shop", pod("one", "10.1.0.1"))
    await stream.until("BOOKMARK")
    path = "/api/v1/namespaces/shop/pods/one"
    merge = {"Content-Type": "application/merge-patch+json"}
    for number in range(50):
        patch = {"metadata": {"labels": {"n": str(number)}}}
        assert (await client.patch(path, data=json.dumps(patch), headers=merge)).status == 200
    lines = 0
    while stream.table[("pods", "shop", "one")]["metadata"]["labels"].get("n") != "49":
        await stream.line()
        lines += 1
    assert lines < 50


async def test_who_falls_behind_what_is_remembered_gets_the_state_again(follow, registry):
    stream = await follow("kinds=pods")
    await stream.until("SYNCED")
    refused = stream_route.StatusError(410, "Expired", "too old resource version: 1")
    registry.fail = refused
    await registry.put(POD, "shop", pod("one", "10.1.0.1"))
    await stream.until("RESET")
    registry.fail = None
    await stream.until("SYNCED")
    assert [key[2] for key in stream.table] == ["one"]


async def test_what_goes_wrong_inside_ends_it_by_a_line(follow, registry, caplog):
    stream = await follow("kinds=pods")
    await stream.until("SYNCED")
    registry.fail = ZeroDivisionError("planted")
    await registry.put(POD, "shop", pod("one", "10.1.0.1"))
    said = await stream.until("ERROR")
    assert said["object"]["code"] == 500 and "planted" not in said["object"]["message"]
    assert await stream.answer.content.read() == b""
    assert "a stream of pods failed" in caplog.text


async def test_kinds_may_be_said_one_by_one(follow, registry):
    stream = await follow("kinds=pods&kinds=services")
    assert (await stream.line())["kind"] == "services"


async def test_a_revision_that_is_too_old_is_refused_before_it_begins(client, registry, monkeypatch):
    monkeypatch.setattr("svcdns.store.log.floor", lambda *_: 10**6)
    answer = await client.get(f"{PATH}?kinds=pods&resourceVersion=1")
    assert answer.status == 410
    assert registry.watchers == 0


async def test_a_client_that_leaves_ends_its_watches(follow, registry):
    stream = await follow("kinds=pods,services,events,endpointslices")
    await stream.until("SYNCED")
    assert registry.watchers == 4
    stream.answer.close()
    async with asyncio.timeout(60):
        while registry.watchers:
            await asyncio.sleep(0.01)


async def test_there_are_only_so_many(client, follow, monkeypatch):
    monkeypatch.setattr(stream_route, "MOST_STREAMS", 2)
    streams = [await follow("kinds=pods") for _ in range(2)]
    refused = await client.get(f"{PATH}?kinds=pods")
    assert refused.status == 429 and "Retry-After" in refused.headers
    for stream in streams:
        stream.answer.close()


async def test_silence_is_broken(follow, monkeypatch):
    monkeypatch.setattr(stream_route, "SILENCE", 0.05)
    stream = await follow("kinds=pods")
    await stream.until("SYNCED")
    for _ in range(3):
        assert (await stream.line())["type"] == "BOOKMARK"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "kinds"),
        ("kinds=", "kinds"),
        ("kinds=pods,nothing", "kinds"),
        ("kinds=pods&namespace=" + "x" * 64, "namespace"),
        ("kinds=pods&namespace=%00", "namespace"),
        ("kinds=pods&resourceVersion=x", "resourceVersion"),
        ("kinds=pods&resourceVersion=-1", "resourceVersion"),
        ("kinds=pods&resourceVersion=" + "9" * 30, "resourceVersion"),
    ],
)
async def test_what_is_wrong_is_named(client, query, field):
    answer = await client.get(f"{PATH}?{query}")
    assert answer.status == 400
    assert (await answer.json())["message"].startswith(f"{field}:")


async def test_nothing_is_written_there_and_a_head_is_short(client):
    assert (await client.post(f"{PATH}?kinds=pods")).status == 405
    assert (await client.head(f"{PATH}?kinds=pods")).status == 200


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "delete"]), st.sampled_from(["services", "pods"]), st.integers(0, 3)),
    max_size=30,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS)
def test_whatever_happens_the_client_knows_what_there_is(loop, client, registry, operations):
    async def run():
        answer = await client.get(f"{PATH}?kinds=services,pods&namespace=other")
        stream = Following(answer)
        await stream.until("SYNCED")
        for what, plural, number in operations:
            path = f"/api/v1/namespaces/other/{plural}"
            if what == "delete":
                await client.delete(f"{path}/x{number}")
                continue
            body = (
                service(f"x{number}", clusterIP="None")
                if plural == "services"
                else pod(f"x{number}", "10.1.1.1")
            )
            body["metadata"].pop("namespace", None)
            await client.post(path, json=body)
        last = max(registry.last_change(kind) for kind in (SERVICE, POD))
        await stream.until_revision(last)
        listed = {}
        for plural in ("services", "pods"):
            found = await (await client.get(f"/api/v1/namespaces/other/{plural}")).json()
            for one in found["items"]:
                listed[plural, "other", one["metadata"]["name"]] = one["metadata"]["resourceVersion"]
        assert {key: one["metadata"]["resourceVersion"] for key, one in stream.table.items()} == listed
        answer.close()
        for plural in ("services", "pods"):
            await client.delete(f"/api/v1/namespaces/other/{plural}")

    loop.run_until_complete(run())
