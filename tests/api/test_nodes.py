"""Nodes over HTTP: whoever plays kubelet registers one with its status, and reports what changes."""

from __future__ import annotations

import json
from typing import Any

from toolbox.builders import node

NODES = "/api/v1/nodes"
MERGE = "application/merge-patch+json"


async def sent(client, method, path, body=None, status=200, content_type="application/json"):
    data = None if body is None else json.dumps(body)
    async with client.request(method, path, data=data, headers={"Content-Type": content_type}) as answer:
        text = await answer.text()
        assert answer.status == status, text
        return json.loads(text)


def addresses(obj: dict[str, Any]) -> list[str]:
    return [entry["address"] for entry in obj["status"]["addresses"]]


async def test_the_status_comes_with_the_creation_and_then_by_itself(client) -> None:
    made = await sent(client, "POST", NODES, node(), 201)
    assert addresses(made) == ["192.0.2.1", "here"]
    body = {**made, "status": {}, "spec": {"podCIDR": "10.244.0.0/24"}}
    replaced = await sent(client, "PUT", f"{NODES}/here", body)
    assert replaced["status"] == made["status"], "a PUT of the Node leaves its status alone"
    assert replaced["spec"] == {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]}
    report = {"spec": {"unschedulable": True}, "status": node(address="192.0.2.2")["status"]}
    patched = await sent(client, "PATCH", f"{NODES}/here/status", report, content_type=MERGE)
    assert addresses(patched) == ["192.0.2.2", "here"]
    assert patched["spec"] == replaced["spec"], "a status changes nothing else"
    assert (await sent(client, "GET", f"{NODES}/here/status")) == patched


async def test_conditions_and_addresses_are_merged_by_their_types(client) -> None:
    """As kubelet reports: by strategic merge patches of the status."""
    await sent(client, "POST", NODES, node(), 201)
    pressure = {"type": "MemoryPressure", "status": "False"}
    report = {
        "status": {
            "$setElementOrder/conditions": [{"type": "Ready"}, {"type": "MemoryPressure"}],
            "conditions": [pressure],
            "addresses": [{"type": "InternalIP", "address": "192.0.2.2"}],
        }
    }
    kind = "application/strategic-merge-patch+json"
    patched = await sent(client, "PATCH", f"{NODES}/here/status", report, content_type=kind)
    assert [entry["type"] for entry in patched["status"]["conditions"]] == ["Ready", "MemoryPressure"]
    assert addresses(patched) == ["192.0.2.2", "here"]


async def test_one_is_watched_by_its_name(client) -> None:
    """As kube-proxy does."""
    for name in ("here", "there"):
        await sent(client, "POST", NODES, node(name), 201)
    query = "fieldSelector=metadata.name%3Dhere"
    [found] = (await sent(client, "GET", f"{NODES}?{query}"))["items"]
    answer = await client.get(
        f"{NODES}?watch=true&{query}&resourceVersion={found['metadata']['resourceVersion']}"
    )
    for name in ("there", "here"):
        patch = {"metadata": {"labels": {"a": "b"}}}
        await sent(client, "PATCH", f"{NODES}/{name}", patch, content_type=MERGE)
    seen = json.loads(await answer.content.readline())
    assert (seen["type"], seen["object"]["metadata"]["name"]) == ("MODIFIED", "here")
    answer.close()


async def test_those_that_take_pods_are_selected(client) -> None:
    await sent(client, "POST", NODES, node("a"), 201)
    await sent(client, "POST", NODES, node("b", unschedulable=True), 201)
    for value, name in (("false", "a"), ("true", "b")):
        found = await sent(client, "GET", f"{NODES}?fieldSelector=spec.unschedulable%3D{value}")
        assert [item["metadata"]["name"] for item in found["items"]] == [name]


async def test_nodes_are_in_no_namespace(client) -> None:
    async with client.post("/api/v1/namespaces/shop/nodes", json=node()) as answer:
        assert answer.status == 404
    await sent(client, "POST", NODES, {**node(), "metadata": {"name": "a", "namespace": "shop"}}, 400)
    refused = await sent(client, "POST", NODES, {**node("A"), "spec": {"podCIDRs": ["x"]}}, 422)
    assert {cause["field"] for cause in refused["details"]["causes"]} == {"metadata.name", "spec.podCIDRs[0]"}
    deleted = await sent(client, "POST", NODES, node(), 201)
    told = await sent(client, "DELETE", f"{NODES}/here")
    assert told["details"]["uid"] == deleted["metadata"]["uid"]


async def test_all_of_a_kind_of_node_can_be_deleted(client) -> None:
    for name, pool in (("a", "old"), ("b", "old"), ("c", "new")):
        body = node(name)
        body["metadata"]["labels"] = {"pool": pool}
        await sent(client, "POST", NODES, body, 201)
    gone = await sent(client, "DELETE", f"{NODES}?labelSelector=pool%3Dold")
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "b"]
    assert [item["metadata"]["name"] for item in (await sent(client, "GET", NODES))["items"]] == ["c"]
