"""events.k8s.io/v1: the Events of core/v1 under other names, with one store behind both."""

from __future__ import annotations

import json
from typing import Any

import pytest
from toolbox.builders import newer_event

from svcdns.objects.kinds import EVENT

NEWER = "/apis/events.k8s.io/v1/namespaces/shop/events"
OLDER = "/api/v1/namespaces/shop/events"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


def event(name: str = "a", **more: Any) -> dict[str, Any]:
    return newer_event(name, regarding={"kind": "Pod", "namespace": "shop", "name": "web-1"}, **more)


def older_event(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-2"},
        "reason": "Pulled",
        "message": "an image",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "count": 3,
        "type": "Normal",
    }


async def sent(client, method, path, body=None, status=200, content_type="application/json"):
    data = None if body is None else json.dumps(body)
    async with client.request(method, path, data=data, headers={"Content-Type": content_type}) as answer:
        text = await answer.text()
        assert answer.status == status, text
        return json.loads(text)


async def test_what_is_written_in_one_is_read_in_the_other(client) -> None:
    made = await sent(client, "POST", NEWER, event(), 201)
    assert (made["apiVersion"], made["note"]) == ("events.k8s.io/v1", "it starts")
    older = await sent(client, "GET", f"{OLDER}/a")
    assert (older["apiVersion"], older["message"]) == ("v1", "it starts")
    assert older["involvedObject"] == made["regarding"]
    assert older["reportingComponent"] == "example.org/controller"
    assert {"note", "regarding", "reportingController"}.isdisjoint(older)
    await sent(client, "POST", OLDER, older_event("b"), 201)
    newer = await sent(client, "GET", f"{NEWER}/b")
    assert (newer["note"], newer["deprecatedCount"]) == ("an image", 3)
    assert newer["regarding"]["name"] == "web-2"


async def test_lists_select_by_its_own_names(client) -> None:
    await sent(client, "POST", NEWER, event(), 201)
    await sent(client, "POST", OLDER, older_event("b"), 201)
    found = await sent(client, "GET", "/apis/events.k8s.io/v1/events")
    assert (found["kind"], found["apiVersion"]) == ("EventList", "events.k8s.io/v1")
    assert {item["apiVersion"] for item in found["items"]} == {"events.k8s.io/v1"}
    for selector, names in (
        ("regarding.name=web-1", ["a"]),
        ("regarding.kind=Pod,reportingController!=example.org/controller", ["b"]),
        ("reason=Starting,type=Normal", ["a"]),
    ):
        query = selector.replace("=", "%3D")
        found = await sent(client, "GET", f"{NEWER}?fieldSelector={query}")
        assert [item["metadata"]["name"] for item in found["items"]] == names
    refused = await sent(client, "GET", f"{NEWER}?fieldSelector=involvedObject.name%3Da", status=400)
    assert "regarding.name" in refused["message"]


async def test_a_series_grows_and_nothing_else_changes(client) -> None:
    await sent(client, "POST", NEWER, event(), 201)
    series = {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}
    patched = await sent(client, "PATCH", f"{NEWER}/a", {"series": series}, content_type=MERGE)
    assert patched["series"] == series and patched["note"] == "it starts"
    replaced = await sent(client, "PUT", f"{NEWER}/a", {**patched, "series": {**series, "count": 3}})
    assert replaced["series"]["count"] == 3
    refused = await sent(client, "PATCH", f"{NEWER}/a", {"note": "x"}, 422, MERGE)
    assert refused["details"]["causes"][0]["field"] == "note"
    assert refused["details"]["group"] == "events.k8s.io"
    older = await sent(client, "PATCH", f"{OLDER}/a", {"message": "x"}, content_type=MERGE)
    assert older["message"] == "x", "core/v1 is as free as ever"
    strategic = "application/strategic-merge-patch+json"
    labelled = await sent(
        client, "PATCH", f"{NEWER}/a", {"metadata": {"labels": {"a": "b"}}}, content_type=strategic
    )
    assert labelled["metadata"]["labels"] == {"a": "b"}


async def test_an_older_event_can_be_labelled_here(client, registry) -> None:
    made = await sent(client, "POST", OLDER, older_event("b"), 201)
    patch = {"metadata": {"labels": {"a": "b"}}}
    await sent(client, "PATCH", f"{NEWER}/b", patch, content_type=MERGE)
    stored = registry.stored(EVENT, "shop", "b")
    assert stored.keys() == made.keys(), "what is only shown has not been stored"


async def test_server_side_apply(client) -> None:
    path = f"{NEWER}/a?fieldManager=x"
    made = await sent(client, "PATCH", path, event(), 201, APPLY)
    [entry] = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("x", "Apply")
    labelled = event()
    labelled["metadata"]["labels"] = {"a": "b"}
    again = await sent(client, "PATCH", path, labelled, content_type=APPLY)
    assert again["metadata"]["labels"] == {"a": "b"}
    await sent(client, "PATCH", path, event(note="x"), 422, APPLY)
    await sent(client, "PATCH", f"{NEWER}/b?fieldManager=x", {**event("b"), "action": ""}, 422, APPLY)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_it_needs_the_newer_form(client, method) -> None:
    body = event()
    for field in ("eventTime", "reportingController", "action", "reason"):
        del body[field]
    path = NEWER if method == "POST" else f"{NEWER}/a"
    refused = await sent(client, method, path, body, 422)
    fields = {cause["field"] for cause in refused["details"]["causes"]}
    assert fields == {"eventTime", "reportingController", "action", "reason"}
    refused = await sent(client, "POST", NEWER, {**event(), "message": "x", "note": 5}, 400)
    assert "note" in refused["message"]


async def test_it_may_stand_elsewhere_than_its_object(client) -> None:
    """As in Kubernetes: only an object without a namespace binds it, to `default` and kube-system."""
    await sent(client, "POST", NEWER, newer_event("a", regarding={"kind": "Pod", "namespace": "bank"}), 201)
    for namespace, status in (("default", 201), ("kube-system", 201), ("shop", 422)):
        path = NEWER.replace("shop", namespace)
        await sent(client, "POST", path, newer_event("b"), status)


async def test_watch_tables_and_deletion(client) -> None:
    answer = await client.get(f"{NEWER}?watch=true&allowWatchBookmarks=true&sendInitialEvents=true"
                              "&resourceVersionMatch=NotOlderThan")  # fmt: skip
    lines = answer.content
    first = json.loads(await lines.readline())
    assert (first["type"], first["object"]["apiVersion"]) == ("BOOKMARK", "events.k8s.io/v1")
    await sent(client, "POST", OLDER, older_event("b"), 201)
    seen = json.loads(await lines.readline())
    assert (seen["type"], seen["object"]["note"]) == ("ADDED", "an image")
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with client.get(NEWER, headers=table) as shown:
        [row] = (await shown.json())["rows"]
        assert row["cells"][1:4] == ["Normal", "Pulled", "pod/web-2"]
    deleted = await sent(client, "DELETE", f"{NEWER}/b")
    assert deleted["details"]["group"] == "events.k8s.io"
    gone = json.loads(await lines.readline())
    assert (gone["type"], gone["object"]["regarding"]["name"]) == ("DELETED", "web-2")
    answer.close()
    missing = await sent(client, "GET", f"{NEWER}/b", status=404)
    assert missing["message"] == 'events.events.k8s.io "b" not found'
    await sent(client, "POST", NEWER, event(), 201)
    collected = await sent(client, "DELETE", NEWER)
    assert [item["note"] for item in collected["items"]] == ["it starts"]
    assert (await sent(client, "GET", OLDER))["items"] == []
