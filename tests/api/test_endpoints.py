"""Endpoints over HTTP: stored ones and views in one collection, and what is said of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from toolbox.builders import endpoints, pod, service, without_selector

from svcdns.objects.kinds import ENDPOINTS, POD, SERVICE

ENDPOINTS_PATH = "/api/v1/namespaces/shop/endpoints"


async def names(client: Any, path: str) -> tuple[list[str], str]:
    """The names on a page, and where to go on."""
    answer = await client.get(path)
    assert answer.status == 200, await answer.text()
    page = await answer.json()
    assert page["kind"] == "EndpointsList"
    assert "remainingItemCount" not in page["metadata"], "nobody counts what the others would show"
    return [item["metadata"]["name"] for item in page["items"]], page["metadata"].get("continue", "")


async def status(answer: Any, code: int) -> dict[str, Any]:
    found: dict[str, Any] = await answer.json()
    assert (answer.status, found["kind"], found["code"]) == (code, "Status", code), found
    return found


async def test_pages_go_through_stored_ones_and_views(client, registry):
    for name in ("a", "c"):
        await registry.put(ENDPOINTS, "shop", endpoints(name, "192.0.2.1"))
    for name in ("b", "d"):
        await registry.put(SERVICE, "shop", service(name))
    await registry.put(SERVICE, "shop", without_selector("c"))
    await registry.put(SERVICE, "shop", without_selector("nothing"))
    await registry.put(ENDPOINTS, "other", endpoints("z", "192.0.2.1"))
    everything = ["a", "b", "c", "d", "web"]
    assert await names(client, ENDPOINTS_PATH) == (everything, "")
    found, path = [], f"{ENDPOINTS_PATH}?limit=2"
    while path:
        page, token = await names(client, path)
        assert len(page) <= 2
        found += page
        path = token and f"{ENDPOINTS_PATH}?limit=2&continue={token}"
    assert found == everything
    assert sorted((await names(client, "/api/v1/endpoints"))[0]) == [*everything, "z"]
    by_name = "fieldSelector=metadata.name%3Dc"
    assert await names(client, f"{ENDPOINTS_PATH}?{by_name}") == (["c"], "")
    assert await names(client, f"/api/v1/endpoints?{by_name}") == (["c"], "")
    one = "?limit=1&labelSelector=kubernetes.io%2Fservice-name%3Dd"
    assert await names(client, ENDPOINTS_PATH + one) == (["d"], "")


@pytest.mark.parametrize("token", ["xyz", "a", "k6U="])
async def test_a_token_that_nobody_gave_out(client, token):
    found = await status(await client.get(f"{ENDPOINTS_PATH}?continue={token}"), 400)
    assert found["message"].startswith("continue: ")


async def test_a_token_of_another_list(client, registry):
    await registry.put(SERVICE, "shop", service("a"))
    _, token = await names(client, f"{ENDPOINTS_PATH}?limit=1")
    await status(await client.get(f"/api/v1/namespaces/shop/services?continue={token}"), 400)


async def test_writes_and_their_answers(client, registry):
    await registry.put(SERVICE, "shop", without_selector("db"))
    body = endpoints("db", "2001:DB8::1")
    made = await client.post(ENDPOINTS_PATH, json=body)
    assert made.status == 201
    (warning,) = made.headers.getall("Warning")
    assert "subsets[0].addresses[0].ip" in warning and "2001:db8::1" in warning
    await status(await client.post(ENDPOINTS_PATH, json=body), 409)
    again = await client.put(f"{ENDPOINTS_PATH}/db", json=body)
    assert (again.status, "Warning" in again.headers) == (200, False), "said once"
    stored = await again.json()
    assert (await (await client.get(f"{ENDPOINTS_PATH}/db")).json()) == stored
    stale = {**body, "metadata": {"name": "db", "resourceVersion": "1"}}
    await status(await client.put(f"{ENDPOINTS_PATH}/db", json=stale), 409)
    assert (await client.put(f"{ENDPOINTS_PATH}/new", json=endpoints("new", "192.0.2.1"))).status == 201
    gone = await (await client.delete(f"{ENDPOINTS_PATH}/db")).json()
    assert (gone["status"], gone["details"]["kind"]) == ("Success", "endpoints")
    await status(await client.get(f"{ENDPOINTS_PATH}/db"), 404)
    await status(await client.delete(f"{ENDPOINTS_PATH}/db"), 404)
    await status(await client.patch(f"{ENDPOINTS_PATH}/db", json={}, headers=MERGE), 404)


MERGE = {"Content-Type": "application/merge-patch+json"}


async def test_a_view_says_what_to_write_instead(client, registry):
    await registry.put(POD, "shop", pod("web-1", "10.1.0.1"))
    body = endpoints("web", "192.0.2.1")
    for answer in (
        await client.post(ENDPOINTS_PATH, json=body),
        await client.put(f"{ENDPOINTS_PATH}/web", json=body),
        await client.patch(f"{ENDPOINTS_PATH}/web", json={"subsets": []}, headers=MERGE),
        await client.delete(f"{ENDPOINTS_PATH}/web"),
    ):
        found = await status(answer, 403)
        assert "register Pods, or take the selector away" in found["message"]
    gone = await (await client.delete(ENDPOINTS_PATH)).json()
    assert gone["items"] == []


@pytest.mark.parametrize(
    ("subsets", "field"),
    [
        ([{}], "subsets[0]"),
        ([{"addresses": [{"ip": "1.2.3"}]}], "subsets[0].addresses[0].ip"),
        ([{"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 0}]}], "subsets[0].ports[0].port"),
    ],
)
async def test_wrong_ones_are_named(client, subsets, field):
    body = {"metadata": {"name": "db"}, "subsets": subsets}
    found = await status(await client.post(ENDPOINTS_PATH, json=body), 422)
    assert [cause["field"] for cause in found["details"]["causes"]] == [field]


@pytest.mark.parametrize("subsets", [5, "x", {}, [5], [{"addresses": 5}], [{"addresses": [{"ip": 5}]}]])
async def test_wrong_types_are_400(client, subsets):
    body = json.dumps({"metadata": {"name": "db"}, "subsets": subsets})
    headers = {"Content-Type": "application/json"}
    await status(await client.post(ENDPOINTS_PATH, data=body, headers=headers), 400)


async def test_null_is_nothing(client):
    body = {"metadata": {"name": "db"}, "subsets": None}
    answer = await client.post(ENDPOINTS_PATH, json=body)
    assert answer.status == 201 and "subsets" not in await answer.json()
